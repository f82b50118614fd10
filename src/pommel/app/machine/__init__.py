"""A machine's life: made, started, seen, typed into, cloned, deleted."""
