"""Throw-away machines: a linked clone for one command, or one job of a CI system. Band: app."""
