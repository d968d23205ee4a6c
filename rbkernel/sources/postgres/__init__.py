"""PostgreSQL: a guarded connection, diagnostics, and plans that change nothing."""
