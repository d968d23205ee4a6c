"""Connections to PostgreSQL: driver, login, sessions, time limits, and errors."""
