"""The upstream, what is laid over it, and the recovery images."""
