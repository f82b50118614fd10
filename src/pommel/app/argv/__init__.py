"""What QEMU is started with, and where each word comes from."""
