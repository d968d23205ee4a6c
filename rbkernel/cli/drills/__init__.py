"""The command `rbkernel drill`: runbooks on their faults, people, and any tool."""
