"""What a person does with Pommel, one file each. This is also the Python API."""
