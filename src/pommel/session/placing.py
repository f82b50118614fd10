"""The shell script by which root installs a bundle in a guest, or removes it. Band: core, no I/O.

It is in sh, for both Linux and macOS. The new bundle is unpacked beside the old one, then renamed. If this is
interrupted, the old bundle is unchanged, and the next run removes what is left.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pommel.session.guest_system import PREFIX

# It prints only errors. $1 is the bundle, $2 its SHA-256, $3 the Python to download if the bundle has uv.
_PLACE = """\
set -eu
umask 022
place={prefix}
fail() {{ echo "$1" >&2; exit 1; }}
mkdir -p "$(dirname "$place")"
rm -rf "$place".new.*
new=$place.new.$$
trap 'rm -rf "$new"' EXIT
mkdir "$new"
# A copy that is root's alone: what is checked is what is unpacked.
cp "$1" "$new/bundle"
sum=$(sha256sum "$new/bundle" 2>/dev/null || shasum -a 256 "$new/bundle")
[ "${{sum%% *}}" = "$2" ] || fail "the bundle did not arrive whole"
mkdir "$new/tree"
tar -xzf "$new/bundle" -C "$new/tree"
chown -R 0:0 "$new/tree"
if [ -x "$new/tree/bin/uv" ]; then
    UV_PYTHON_INSTALL_DIR="$new/tree/python" UV_CACHE_DIR="$new/cache" \\
        "$new/tree/bin/uv" python install --quiet --no-bin "$3" || fail "no Python could be fetched into the guest"
    found=$(cd "$new/tree" && ls python/*/bin/python3 | head -n 1)
    [ -n "$found" ] || fail "uv fetched no Python"
    ln -s "../$found" "$new/tree/python/this"
    rm -f "$new/tree/bin/uv"
fi
if [ -e "$place" ]; then mv "$place" "$new/old"; fi
mv "$new/tree" "$place"
"""
_REMOVE = """\
set -u
place={prefix}
status=0
if [ -x "$place/bin/pommel" ]; then "$place/bin/pommel" kvm uninstall {words} >&2 || status=1; fi
[ "$status" = 0 ] || exit 1
rm -rf "$place" "$place".new.*
"""


def place_script(bundle: str, sha256: str, python: str, *, prefix: str = PREFIX) -> str:
    """The script that installs the file `bundle`; `python` is the one to download if the guest has none."""
    words = " ".join(map(shlex.quote, (bundle, sha256, python)))
    return f"set -- {words}\n" + _PLACE.format(prefix=shlex.quote(prefix))


def remove_script(words: Sequence[str] = (), *, prefix: str = PREFIX) -> str:
    """The script that removes service and bundle; `words` go to `pommel kvm uninstall`."""
    return _REMOVE.format(prefix=shlex.quote(prefix), words=shlex.join(words))
