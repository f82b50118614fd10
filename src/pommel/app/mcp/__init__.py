"""Machines for programs that speak the Model Context Protocol: what they may do, and doing it. Band: app."""
