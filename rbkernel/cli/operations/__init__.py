"""Commands for those who look after the on-call: statistics, maintenance, notifications."""
