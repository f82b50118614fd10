"""What other tools keep of a Mac that is installed already, read as data. Band: core, no I/O.

One module a tool. Each is given texts and names and says what it found; none executes anything of what it reads, and
what it cannot read it refuses by name. Files are opened, and machines made, elsewhere.
"""
