#!/bin/sh
# Turns a fresh Debian tree into the trial machine's system. mmdebstrap runs it outside the tree:
#   setup.sh early ROOT   before the packages, so that they find their configuration (one small initrd, one host key)
#   setup.sh late ROOT    after them
# Everything here serves one aim: a quick boot under emulation to a desktop that behaves like a Mac's.
set -eu
phase=$1
root=$2
here=$(dirname "$0")

# Owner and modes are set here: an installed Python package keeps neither.
(cd "$here/root" && tar --create --owner=0 --group=0 --mode='u=rwX,go=rX' .) | tar --extract --no-overwrite-dir --directory "$root"
chmod 0755 "$root"/usr/local/bin/* "$root"/usr/local/lib/trial/desktop "$root"/usr/local/lib/trial/session "$root"/usr/local/lib/trial/windows \
    "$root/etc/initramfs-tools/scripts/init-top/trial"
[ "$phase" = late ] || exit 0

chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash --password '*' --comment 'Trial User' trial
echo trial > "$root/etc/hostname"
chroot "$root" systemctl --quiet set-default graphical.target
chroot "$root" systemctl --quiet enable trial-desktop.service systemd-networkd.service ssh.service
chroot "$root" systemctl --quiet disable getty@tty1.service

# What a machine that lives for an afternoon does not need, and an emulated CPU pays for at every start.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    e2scrub_reap.service remote-fs.target systemd-pstore.service systemd-tmpfiles-clean.timer \
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-journal-flush.service \
    systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount systemd-repart.service systemd-firstboot.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    systemd-machine-id-commit.service systemd-networkd-persistent-storage.service \
    systemd-network-generator.service rc-local.service serial-getty@ttyS0.service modprobe@drm.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# Every machine brings its own identity and keys (provision.py).
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
mkdir -p -m 0700 "$root/root/.ssh" "$root/home/trial/.ssh"
chroot "$root" chown trial:trial /home/trial/.ssh
# The builder's apt settings (its proxy, say) are not the guest's.
echo 'Acquire::Languages "none";' > "$root/etc/apt/apt.conf.d/99mmdebstrap"
rm -rf "$root/boot"/System.map-* "$root"/var/log/*.log "$root"/initrd.img.old "$root"/vmlinuz.old
