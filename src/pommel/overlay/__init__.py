"""The upstream, and what we lay over it."""
