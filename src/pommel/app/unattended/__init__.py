"""An installation of macOS without a person, as far as it goes: the disk whose scripts run in Recovery."""
