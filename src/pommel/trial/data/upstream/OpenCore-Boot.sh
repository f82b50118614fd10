#!/usr/bin/env bash
#
# Boots the trial machine: a small Debian desktop on the devices that a macOS virtual machine has.
# Pommel runs this with a stand-in for QEMU and takes the arguments as data; with KVM it runs by hand too, once
# mac_hdd_ng.img lies beside it:
#
#     ./OpenCore-Boot.sh

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

MEMORY_MIB="4096"
SOCKETS="1"
CORES="2"
THREADS="4"
REPO_PATH="."
FIRMWARE_DIR="."
CPU_FLAGS="+ssse3,+sse4.2,+popcnt,+avx,+aes,+xsave,+xsaveopt,check"

args=(
  # Processor and memory
  -enable-kvm
  -m "$MEMORY_MIB"
  -cpu "Penryn,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,$CPU_FLAGS"
  -machine q35
  -smp "$THREADS,cores=$CORES,sockets=$SOCKETS"

  # Keyboard and pointer
  -device qemu-xhci,id=xhci
  -device usb-kbd,bus=xhci.0
  -device usb-tablet,bus=xhci.0
  -device usb-ehci,id=ehci

  # A Mac asks its system controller for a phrase. This is not Apple's, and the trial machine asks for none.
  -device isa-applesmc,osk="placeholder-of-64-characters:the-trial-machine-needs-no-such-key"
  -smbios type=2

  # Firmware: code that nobody writes, and variables that the machine does
  -drive "if=pflash,format=raw,readonly=on,file=$FIRMWARE_DIR/OVMF_CODE_4M.fd"
  -drive "if=pflash,format=raw,file=$FIRMWARE_DIR/OVMF_VARS-1280x800.fd"

  # Sound
  -device ich9-intel-hda
  -device hda-duplex

  # Disks: boot picker, installer, the machine's own
  -device ich9-ahci,id=sata
  -drive "id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=$REPO_PATH/OpenCore/OpenCore.qcow2"
  -device ide-hd,bus=sata.2,drive=OpenCoreBoot
  -drive "id=InstallMedia,if=none,file=$REPO_PATH/BaseSystem.img,format=raw"
  -device ide-hd,bus=sata.3,drive=InstallMedia
  -drive "id=MacHDD,if=none,file=$REPO_PATH/mac_hdd_ng.img,format=qcow2"
  -device ide-hd,bus=sata.4,drive=MacHDD

  # Network, with the guest's ssh at port 2222 of the host
  -netdev user,id=net0,hostfwd=tcp::2222-:22
  -device virtio-net-pci,netdev=net0,id=net0,mac=52:54:00:7a:1a:01

  # Control and screen
  -monitor stdio
  -device vmware-svga
)

qemu-system-x86_64 "${args[@]}"
