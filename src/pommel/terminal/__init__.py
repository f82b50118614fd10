"""Shells on pseudo-terminals, for viewers: starts them, moves bytes in both directions, ends them."""
