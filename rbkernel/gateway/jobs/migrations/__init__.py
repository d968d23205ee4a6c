"""Scripts of alembic, one for each version of the store: the step from the version before.

A change of `tables` needs a script here, a higher `tables.VERSION`, and a frozen store of the
version before in `tests/corpora` (`tests/freeze.py` makes it). Scripts are never changed once a
release has them. They import nothing of rbkernel, whose tables go on changing.
"""
