"""TLS certificates: what a server sends, and what is in a file."""
