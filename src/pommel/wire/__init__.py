"""MeshCentral KVM commands as bytes. Everything here is pure."""
