"""What is done inside a guest, over SSH."""
