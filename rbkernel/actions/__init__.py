"""What can be done about a finding, as plans that a human reads and runs: ``rb.actions``."""

from rbkernel.actions.plans import (
    cancel_queries,
    command,
    repair_rows,
    resume_replay,
    statement,
    terminate_sessions,
)

__all__ = [
    "cancel_queries",
    "command",
    "repair_rows",
    "resume_replay",
    "statement",
    "terminate_sessions",
]
