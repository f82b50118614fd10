# shellcheck shell=sh
# Sourced by ./pommel and ./test. POSIX sh.
#
# make_venv HERE VENV LOCK [WORDS...]: a virtual environment in VENV with the libraries of lock/LOCK.txt, each checked
# against its hashes, and Pommel from HERE in it.
# Safe to interrupt and to run twice at once: the stamps are written last, a lock keeps two from mixing.

# What is closed is /dev/null: else the next file to be opened takes its place, and a message is a failure.
(true <&0) 2>/dev/null || exec </dev/null
(true >&1) 2>/dev/null || exec >/dev/null
(true >&2) || exec 2>/dev/null

# A standard error that is full is no reason to stop.
say() { printf 'pommel: %s\n' "$*" >&2 || :; }
die() {
    printf 'error: %s\n' "$1" >&2 || :
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2 || :
    exit 1
}

find_python() {
    for candidate in "${POMMEL_PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        if "$candidate" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    die "Pommel needs Python 3.11 or newer, and none was found" "on Debian or Ubuntu: sudo apt-get install python3 python3-venv"
}

# as_root WORDS...: run a command as root, or say what to type. $consent is 1 when --yes was given.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        ask_first "$*" && "$@"
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || [ "$consent" = 1 ]; }; then
        ask_first "sudo $*" && sudo "$@"
    else
        die "root is needed for: $*" "sudo $*"
    fi
}

ask_first() {
    say "$1"
    if [ "$consent" = 1 ] || [ ! -t 0 ]; then return 0; fi
    printf 'Run it? [Y/n] ' >&2
    IFS= read -r answer
    case $answer in [nN]*) die "not installed" "$1" ;; esac
}

install_venv_package() {
    command -v apt-get >/dev/null 2>&1 || die "this Python cannot make virtual environments (no ensurepip)" \
        "install your distribution's package for python venv"
    version=$("$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "python$version-venv is needed: Pommel's libraries live in a virtual environment of their own"
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' 2>/dev/null | head -n 1)" ] || as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv"
}

# Whatever pip.conf and PIP_… say of where packages go; -I: whatever the current folder and PYTHON… bring.
kept_pip() { "$mv_venv/bin/python" -I "$mv_here/tools/pip_kept.py" "$@"; }

make_venv() {
    mv_here=$1 mv_venv=$2 mv_lock=$3
    shift 3
    consent=0
    for word in "$@"; do case $word in --yes | -y) consent=1 ;; esac; done
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$mv_venv.lock"
        flock -n 9 || { say "waiting for another pommel that is installing"; flock 9; }
    fi
    python=$(find_python) || exit 1
    if ! { IFS= read -r place <"$mv_venv/.pommel-installed"; } 2>/dev/null || [ "$place" != "$mv_here" ] ||
        [ ! -x "$mv_venv/bin/python" ]; then
        say "making $(basename "$mv_venv") with $python"
        rm -rf "$mv_venv"
        "$python" -I -c 'import ensurepip' 2>/dev/null || install_venv_package "$python"
        "$python" -I -m venv "$mv_venv" || die "$python could not make a virtual environment in $mv_venv"
    fi
    say "installing Pommel and its libraries"
    # Nothing is fetched for Pommel itself: what builds it is in the lock too.
    if ! { kept_pip install --quiet --require-hashes -r "$mv_here/lock/$mv_lock.txt" &&
        kept_pip install --quiet --no-index --no-deps --no-build-isolation -e "$mv_here"; }; then
        die "pip could not install Pommel" "look at pip's message above; run the same command again when it is mended"
    fi
    cp "$mv_here/pyproject.toml" "$mv_venv/.pommel-pyproject"
    cp "$mv_here/lock/$mv_lock.txt" "$mv_venv/.pommel-lock"
    printf '%s\n' "$mv_here" >"$mv_venv/.pommel-installed"
    if command -v flock >/dev/null 2>&1; then exec 9>&-; fi
}
