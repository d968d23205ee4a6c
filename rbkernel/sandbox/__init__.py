"""The sandbox: a throw-away PostgreSQL primary and standby, the example service "shop", and faults.

The command line and the tests call the functions of `control`: up, status, inject, heal, down.
"""
