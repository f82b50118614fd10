"""Where pixels come from: one module a kind of screen."""
