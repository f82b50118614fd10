"""Recovery images: which there are, how Apple is asked for one, and why one may be trusted."""
