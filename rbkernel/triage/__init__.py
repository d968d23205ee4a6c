"""What the cells of a runbook call; `rbkernel` re-exports it."""
