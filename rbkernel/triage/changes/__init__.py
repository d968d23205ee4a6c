"""What cells call around a change of a database: judge it before, and watch the server after it."""
