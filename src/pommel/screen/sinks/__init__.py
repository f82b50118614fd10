"""The sinks of keys and pointer: one module for each kind of machine or session."""
