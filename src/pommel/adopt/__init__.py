"""Parsers for the files of other tools with an installed Mac. Band: core, no I/O.

One module for each tool. Each gets texts and names and returns what it found; none executes anything that it reads, and
it refuses by name what it cannot parse. Other rooms open files and make machines.
"""
