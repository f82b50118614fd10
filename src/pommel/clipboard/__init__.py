"""One clipboard for two desktops: this host's, and that of a machine reached by SSH."""
