"""Query PostgreSQL through read-only connections, and find the causes of a server's problems."""
