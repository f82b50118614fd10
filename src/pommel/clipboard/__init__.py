"""Keeps the clipboard of this host and the clipboard of a machine that SSH reaches the same."""
