"""The embedded upstream and the small guest that stands in for a Mac.

requirements    what building takes from the host (data)
recipe          the guest's packages, and the command that builds it (core)
apt             reads the host's own apt sources and proxy (core)
steps           mmdebstrap's output as progress (core)
base            the base image: built once, in a cache, named after its inputs
picker          the disk with the boot picker
upstream        a folder shaped like OSX-KVM
provision       one machine's own disk and keys
base_system     the disk with a stand-in for macOS Recovery, made only on request
injecting       puts files into a file system image
data/           the guest's files, the picker's menu, the boot script, the stand-in for Recovery

It needs neither GitHub nor Apple, and is an upstream like any other: other rooms know nothing of the guest.
"""
