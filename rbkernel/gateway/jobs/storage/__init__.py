"""The gateway's store: SQLite or PostgreSQL, its tables, and the steps from older versions."""
