"""What a model is, which versions it has, whence they come, and which reference holds which."""
