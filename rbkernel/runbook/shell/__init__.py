"""Parse the shell text of runbooks, and decide whether a command changes something. Pure."""
