"""Plans that fix what a finding reports; a human reads and runs them: ``rb.actions``."""

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
