"""The functions that the cells of a runbook call; `rbkernel` re-exports them."""
