"""One machine: its spec, its command line, its life."""
