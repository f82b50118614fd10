"""Images of machines: saved, listed, sent, fetched, and made machines of."""
