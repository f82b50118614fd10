"""Folders of this host that a guest sees."""
