"""A machine's screen, or a session's, as a device of a real MeshCentral server. It leans on `wire` alone."""
