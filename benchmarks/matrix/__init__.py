"""Every scenario of the sandbox × every runbook that looks at a database, against the truth."""
