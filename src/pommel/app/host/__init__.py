"""This host: made ready, checked, served by systemd, cleaned up."""
