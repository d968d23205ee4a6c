"""Other tools on the scenarios of `rbkernel drill --exec`: one adapter a tool, and our own.

An adapter of another tool imports nothing of rbkernel: it runs with the Python of that tool.
"""
