"""A chat in the terminal, on the gateway itself."""
