"""Shell text of runbooks: what a line runs, and whether it only looks. Pure."""
