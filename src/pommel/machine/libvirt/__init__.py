"""QEMU's command line as a libvirt domain. Band: core, no I/O.

`domain.export` is the one way in. Each argument becomes an element, stays as it is (`qemu:commandline`), or is
something that libvirt does itself; the account says which, and why.
"""
