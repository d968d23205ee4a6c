"""One runbook, run headless: the engine, the caller, and what an attempt came to."""
