"""From a source of pixels to any number of viewers, and back from their hands to a sink."""
