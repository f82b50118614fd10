"""Where a guest is reached, and which ports lead into it and out of it."""
