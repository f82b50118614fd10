"""Images of machines for transport: stored by content, written to files, pushed to registries and pulled from them."""
