#!/usr/bin/env bash
# A stand-in for an older OSX-KVM: the same devices and ids, of our own writing. Penryn, firmware of the 2 MiB build.

flags=+ssse3,+sse4.2,+popcnt,+avx,+aes,+xsave,+xsaveopt,check
ram=4096
sockets=1 cores=2 threads=4
here=.

machine=(
  -enable-kvm
  -m "$ram"
  -cpu "Penryn,kvm=on,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on,$flags"
  -machine q35
  -device qemu-xhci,id=xhci
  -device usb-kbd,bus=xhci.0
  -device usb-tablet,bus=xhci.0
  -smp "$threads,cores=$cores,sockets=$sockets"
  -device usb-ehci,id=ehci
  -device isa-applesmc,osk=this-is-a-placeholder-of-sixty-four-characters-and-opens-nothing
  -drive "if=pflash,format=raw,readonly=on,file=$here/OVMF_CODE.fd"
  -drive "if=pflash,format=raw,file=$here/OVMF_VARS-1920x1080.fd"
  -smbios type=2
  -device ich9-intel-hda
  -device hda-duplex
  -device ich9-ahci,id=sata
)
disks=(
  -drive "id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=$here/OpenCore/OpenCore.qcow2"
  -device ide-hd,bus=sata.2,drive=OpenCoreBoot
  -device ide-hd,bus=sata.3,drive=InstallMedia
  -drive "id=InstallMedia,if=none,file=$here/BaseSystem.img,format=raw"
  -drive "id=MacHDD,if=none,file=$here/mac_hdd_ng.img,format=qcow2"
  -device ide-hd,bus=sata.4,drive=MacHDD
)
outside=(
  -netdev user,id=net0,hostfwd=tcp::2222-:22
  -device virtio-net-pci,netdev=net0,id=net0,mac=52:54:00:c9:18:27
  -monitor stdio
  -device vmware-svga
)

qemu-system-x86_64 "${machine[@]}" "${disks[@]}" "${outside[@]}"
