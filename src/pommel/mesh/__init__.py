"""The screen of a machine or a session as a device of a MeshCentral server. Of the other rooms it uses only `wire`."""
