"""Fuzzers: one for each parser of bytes that somebody else wrote. `python fuzz/all.py --list` names them."""
