"""Version 1: the tables of the first stores, which rbkernel made without a script."""

revision = "0001"
down_revision = None
