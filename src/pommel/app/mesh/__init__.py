"""Machines and sessions as devices of a MeshCentral server."""
