"""How PostgreSQL is spoken to: driver, login, sessions, time limits, and what can go wrong."""
