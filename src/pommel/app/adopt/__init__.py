"""Machines that other tools have made, taken over."""
