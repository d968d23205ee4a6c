"""Version 1 of the store: the first tables, which rbkernel created without a script."""

revision = "0001"
down_revision = None
