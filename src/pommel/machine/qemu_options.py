"""The list of QEMU's options that take a value; values are not checked. Band: core, no I/O.

QEMU decides by its own table (`HAS_ARG` in qemu-options.def): an option of that kind takes the next word in any case,
the others take none. This is that table for x86_64 targets, 4.2 to 9.x, with options that were removed, because
upstreams are used for years. A test compares it with the help text of the installed QEMU.
"""

from __future__ import annotations

_NO_VALUE = """
h help version audio-help usb nographic portrait full-screen no-fd-bootchk no-acpi no-hpet win2k-hack
mem-prealloc snapshot singlestep preconfig S s enable-kvm enable-hax no-kvm xen-attach xen-domid-restrict
no-reboot no-shutdown daemonize only-migratable nodefaults no-user-config nouserconfig async-teardown
enable-sync-profile enable-fips semihosting old-param alt-grab ctrl-grab no-frame no-quit sdl curses
show-cursor perfmap jitdump no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection tdf xen-create
"""

_TAKES_VALUE = """
machine M cpu accel smp numa add-fd set global boot m mem-path k audio audiodev soundhw device name uuid
fda fdb hda hdb hdc hdd cdrom blockdev drive mtdblock sd pflash hdachs fsdev virtfs virtfs_synth iscsi
usbdevice display spice rotate vga g vnc acpitable smbios netdev nic net chardev tpmdev bios kernel append
initrd dtb shim compat fw_cfg serial parallel monitor qmp qmp-pretty mon debugcon pidfile overcommit gdb d D
dfilter seed L xen-domid action loadvm option-rom rtc icount watchdog watchdog-action echr incoming
virtioserial prom-env chroot runas sandbox readconfig writeconfig trace plugin qtest qtest-log msg
dump-vmstate object realtime tb-size bt semihosting-config run-with balloon clock
"""

NO_VALUE = frozenset(_NO_VALUE.split())
TAKES_VALUE = frozenset(_TAKES_VALUE.split())
ALIASES = {"M": "machine"}


def name_of(option: str) -> str:
    """The option's canonical name: `-M` and `--machine` are `machine`. Empty for a word that is not an option."""
    bare = option[2:] if option.startswith("--") else option[1:]
    return ALIASES.get(bare, bare)


def takes_value(option: str, following: str | None) -> bool:
    """Whether `option` takes the next word as its value.

    For an option that is not in QEMU's table, the next word decides: if it begins with "-", it is the next option.
    """
    name = name_of(option)
    if name in NO_VALUE:
        return False
    if name in TAKES_VALUE:
        return True
    return following is not None and not following.startswith("-")
