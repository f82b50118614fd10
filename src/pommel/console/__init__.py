"""The web server of one console, and its page."""
