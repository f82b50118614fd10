"""The guest's packages, and the command line that builds it. Band: core.

Pure: names and argument lists. `base` runs them, and the guest's own files are in data/guest.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LABEL = "TrialHD"  # data/picker/grub.cfg and the guest's fstab find the root file system by this label
IMAGE_BYTES = 1536 << 20  # of the base's file system, of which about 530 MB are used
# The maximum for the two copies (tree, image) and the packages.
SCRATCH_BYTES = 2 << 30

PACKAGES = (
    *("linux-image-amd64", "initramfs-tools", "lz4", "zstd"),
    *("systemd", "systemd-sysv", "libpam-systemd", "udev", "dbus", "dbus-user-session"),
    *("openssh-server", "iproute2", "procps", "python3", "less", "nano", "curl"),
    *("xserver-xorg-core", "xserver-xorg-legacy", "xserver-xorg-video-fbdev", "xserver-xorg-input-libinput"),
    *("xinit", "xauth", "x11-xserver-utils", "x11-xkb-utils", "xclip"),
    *("blackbox", "xterm", "fonts-dejavu-core"),
)

_KERNEL = "/lib/modules/*/kernel/"
# Half the size, and under emulation a large part of the boot time: drivers for devices that QEMU does not have, or that
# the guest does not use, would still be loaded and tested. LLVM and the GL drivers are only for GPUs.
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
    """The command that builds the guest's tree in the directory `tree`.

    `setup` is data/guest/setup.sh at a path that the build can read; `sources` are lines of sources.list(5), or none
    for mmdebstrap's own default; `apt_options` are settings such as a proxy.
    """
    hook = f'sh {shlex.quote(setup)} {{}} "$1"'
    return [
        *("mmdebstrap", "--verbose", f"--mode={mode}", "--format=directory", "--variant=minbase"),
        *(f"--aptopt={option}" for option in ('Acquire::Languages "none"', *apt_options)),
        # The tree is removed after any error, so single files need no sync.
        *("--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in EXCLUDES)),
        f"--include={','.join(PACKAGES)}",
        f"--essential-hook={hook.format('early')}",
        f"--customize-hook={hook.format('late')}",
        *(SUITE, tree, *sources),
    ]


def mke2fs_argv(tree: str, image: str) -> list[str]:
    """The command that makes the file system with the files of `tree` in `image`, a file of IMAGE_BYTES."""
    # Lazily, so that the image is only as large as its files. Few inodes and a small journal keep a grown disk small
    # too.
    lazy = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"
    return [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL, "-m", "0", "-i", "32768", "-J", "size=16"),
        *("-E", lazy, "-d", tree, image),
    ]
