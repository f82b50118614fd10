"""The embedded upstream and the small guest that stands in for a Mac.

requirements    what building takes from the host (data)
recipe          what goes into the guest, and the command that puts it together (core)
apt             the host's own apt sources and proxy, read (core)
steps           mmdebstrap's chatter as progress (core)
base            the base image: built once, in a cache, named after what goes into it
picker          the disk with the boot picker
upstream        a folder shaped like OSX-KVM
provision       one machine's own disk and keys
data/           the guest's files, the picker's menu, the boot script

It needs neither GitHub nor Apple, and is an upstream like any other: nobody else's module knows the guest.
"""
