"""Compare runbooks with alert rules: which alert has a runbook, and which must-haves exist."""
