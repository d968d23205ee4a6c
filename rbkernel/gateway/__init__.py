"""Alerts in, runs out. For now: one run at a time, from the command line."""
