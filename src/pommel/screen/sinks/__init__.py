"""Where hands go to: one module a kind of machine or session."""
