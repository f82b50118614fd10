"""The screens of login sessions: the reversed socket, here and in guests."""
