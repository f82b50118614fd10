"""`python -m pommel`. Band: face."""

from pommel.cli import main

main()
