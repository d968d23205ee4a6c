"""One runbook, run headless: the engine, the caller, and the outcome of an attempt."""
