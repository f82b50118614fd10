"""USB devices of this host that a machine gets."""
