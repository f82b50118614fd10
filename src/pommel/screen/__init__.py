"""Brings pixels from a source to any number of viewers, and their keys and pointer to a sink."""
