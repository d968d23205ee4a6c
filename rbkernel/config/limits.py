"""Limits of settings that the help of the command line shows, too. Loads no library."""

from __future__ import annotations

#: The longest time that a signed link may be valid, in hours: a single link cannot be revoked.
LONGEST_LINK_H = 24 * 30
