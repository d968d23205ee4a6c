"""Alerts in, runs out: senders, jobs, notifications and pages, and what puts them together."""
