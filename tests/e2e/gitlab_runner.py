"""A stand-in of GitLab Runner for its custom executor, by what its documentation says of the contract.

docs.gitlab.com/runner/executors/custom: config, prepare (three tries), run SCRIPT STAGE for each stage, and cleanup even
after a failure; each by the program of config.toml, in a process group of its own, with the job's variables as
CUSTOM_ENV_…. The real runner is not to be had where the tests run.

    python gitlab_runner.py CONFIG.toml JOB_ID [VARIABLE=VALUE …] < the job's script

Exit status: 0 success, 10 the job failed, 20 the system failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BUILD, SYSTEM = 73, 74
STAGES = ("prepare_script", "get_sources", "step_script", "cleanup_file_variables")
OWN = {
    "prepare_script": "echo running on $(hostname)\n",
    "get_sources": "mkdir -p /tmp/builds && cd /tmp/builds && echo fetched >source\n",
    "cleanup_file_variables": "rm -rf /tmp/builds\n",
}


def main() -> int:
    """Play one job."""
    (runner,) = tomllib.loads(Path(sys.argv[1]).read_text())["runners"]
    custom = runner["custom"]
    env = dict(os.environ) | {"BUILD_FAILURE_EXIT_CODE": str(BUILD), "SYSTEM_FAILURE_EXIT_CODE": str(SYSTEM)}
    env |= {"CUSTOM_ENV_CI_JOB_ID": sys.argv[2], "CUSTOM_ENV_CI_JOB_TIMEOUT": "3600"}
    env |= {f"CUSTOM_ENV_{name}": value for name, _, value in (word.partition("=") for word in sys.argv[3:])}

    def call(stage: str, *words: str, capture: bool = False) -> subprocess.CompletedProcess[bytes]:
        print(f"stage {stage} {' '.join(words[1:])}".rstrip(), flush=True)
        argv = [custom[f"{stage}_exec"], *custom[f"{stage}_args"], *words]
        pipe = subprocess.PIPE if capture else None
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=pipe, check=False, start_new_session=True)

    with tempfile.TemporaryDirectory() as folder:
        response = Path(folder, "response.json")  # the same at every stage (gitlab-org/gitlab-runner!2912)
        response.write_text(json.dumps({"id": int(sys.argv[2]), "token": "secret", "job_info": {"name": "build"}}))
        env |= {"TMPDIR": folder, "BUILD_EXIT_CODE_FILE": f"{folder}/exit", "JOB_RESPONSE_FILE": str(response)}
        try:
            told = call("config", capture=True)
            env |= json.loads(told.stdout)["job_env"]
            for _ in range(3):
                status = call("prepare").returncode
                if status != SYSTEM:
                    break
            for stage in STAGES if status == 0 else ():
                text = OWN.get(stage) or sys.stdin.read()
                script = Path(folder, stage)
                script.write_text(f"set -eo pipefail\n{text}")
                if status := call("run", str(script), stage).returncode:
                    break
            written = Path(folder, "exit")
            print(f"status {status} {written.read_text() if written.exists() else '-'}", flush=True)
        finally:
            call("cleanup")
    return {0: 0, BUILD: 10}.get(status, 20)


if __name__ == "__main__":
    sys.exit(main())
