"""The upstream, and the patches and files that are applied to it."""
