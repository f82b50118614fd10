"""What goes into the guest, and the command line that puts it together. Band: core.

Pure: names and argument lists. Running them is `base`'s work, and the guest's own files lie in data/guest.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LABEL = "TrialHD"  # data/picker/grub.cfg and the guest's fstab find the root file system by it
IMAGE_BYTES = 1536 << 20  # of the base's file system, which is about 530 MB full
# What the two copies (tree, image) and the packages between them take at most.
SCRATCH_BYTES = 2 << 30

PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "lz4", "zstd"),
    *("systemd", "systemd-sysv", "libpam-systemd", "udev", "dbus", "dbus-user-session"),
    *("openssh-server", "iproute2", "procps", "python3", "less", "nano"),
    *("xserver-xorg-core", "xserver-xorg-legacy", "xserver-xorg-video-fbdev", "xserver-xorg-input-libinput"),
    *("xinit", "xauth", "x11-xserver-utils", "x11-xkb-utils", "xclip"),
    *("blackbox", "xterm", "fonts-dejavu-core"),
)

_KERNEL = "/lib/modules/*/kernel/"
# Half the size, and under emulation a good part of the boot: drivers for devices no QEMU has, or that the guest does
# not use, get loaded and self-tested all the same. LLVM and the GL drivers are there for GPUs only.
EXCLUDES = (
    *("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/lintian/*"),
    *("/usr/lib/gcc/*", "/usr/lib/x86_64-linux-gnu/dri/*"),
    *("/usr/lib/x86_64-linux-gnu/libLLVM*", "/usr/lib/x86_64-linux-gnu/libz3*"),
    *(_KERNEL + "arch/x86/kvm/*", _KERNEL + "arch/x86/crypto/*"),
    *(f"{_KERNEL}drivers/gpu/drm/{card}/*" for card in ("amd", "i915", "nouveau", "radeon")),
    *(f"{_KERNEL}drivers/{kind}/*" for kind in ("iio", "infiniband", "media", "parport", "staging", "watchdog")),
    *(f"{_KERNEL}drivers/{kind}*" for kind in ("char/ppdev", "firmware/efi/efi-pstore")),
    *(f"{_KERNEL}drivers/input/{kind}*" for kind in ("joydev", "misc/pcspkr", "mouse/")),
    *(f"{_KERNEL}drivers/net/{kind}/*" for kind in ("ethernet", "wireless")),
    *(f"{_KERNEL}net/{kind}/*" for kind in ("mac80211", "wireless")),
    _KERNEL + "sound/*",
)


def mmdebstrap_argv(
    *, mode: str, tree: str, setup: str, sources: Sequence[str], apt_options: Sequence[str]
) -> list[str]:
    """Build the command that makes the guest's tree in the directory `tree`.

    `setup` is data/guest/setup.sh where the build can read it; `sources` are lines of sources.list(5), or none for
    mmdebstrap's own default; `apt_options` are settings such as a proxy.
    """
    hook = f'sh {shlex.quote(setup)} {{}} "$1"'
    return [
        *("mmdebstrap", "--verbose", f"--mode={mode}", "--format=directory", "--variant=minbase"),
        *(f"--aptopt={option}" for option in ('Acquire::Languages "none"', *apt_options)),
        # The tree is thrown away if anything fails: no need to sync each file.
        *("--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDES)),
        f"--include={','.join(PACKAGES)}",
        f"--essential-hook={hook.format('early')}",
        f"--customize-hook={hook.format('late')}",
        *(SUITE, tree, *sources),
    ]


def mke2fs_argv(tree: str, image: str) -> list[str]:
    """Build the command that makes `image`, a file of IMAGE_BYTES, the file system with all that is in `tree`."""
    # Lazily: the image stays as small as its files. Few inodes and a small journal: a grown disk stays small too.
    lazy = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
    return [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-m", "0", "-i", "32768", "-J", "size=16"),
        *("-E", lazy, "-d", tree, image),
    ]
