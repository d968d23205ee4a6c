"""The drill ground: a throw-away PostgreSQL primary and standby, the service "shop", its faults.

`control` is what the command line and the tests call: up, status, inject, heal, down.
"""
