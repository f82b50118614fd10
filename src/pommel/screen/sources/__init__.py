"""The sources of pixels: one module for each kind of screen."""
