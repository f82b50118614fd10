"""A machine's screen, keyboard, mouse and clipboard on a local page."""
