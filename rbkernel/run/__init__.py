"""Execute one runbook headless, and determine the outcome from its evidence."""
