"""The menu: all machines on one screen, each a key away. Band: face.

Imports nothing by itself, so that no other command pays for Textual: `start.run` shows the screen.
"""
