"""Look at all servers of a group of connections at once."""
