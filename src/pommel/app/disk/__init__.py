"""A machine's disks, their snapshots and backups."""
