"""Sources: the systems that runbooks query."""
