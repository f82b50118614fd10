"""One clipboard for this desktop and a guest."""
