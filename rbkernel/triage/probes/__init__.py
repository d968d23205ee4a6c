"""Calls that ask something other than a database: `rb.http` and `rb.shell`."""
