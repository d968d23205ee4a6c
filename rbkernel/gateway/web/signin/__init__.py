"""Sign-in to the pages of `rbkernel serve`: providers, sessions, and their addresses (ADR 0046)."""
