"""Connect to PostgreSQL: log in, run queries within time limits, and explain errors."""
