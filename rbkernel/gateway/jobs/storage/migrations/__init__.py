"""Alembic scripts: one for each version of the store, which upgrades the previous version.

A change of `tables` needs a script here, a higher `tables.VERSION`, and a frozen store of the
previous version in `tests/corpora` (`tests/freeze.py` makes it). A released script is never
changed. Scripts import nothing from rbkernel, because its tables keep changing.
"""
