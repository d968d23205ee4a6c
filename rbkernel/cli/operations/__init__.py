"""Commands for those who look after the on-call: statistics and maintenance windows."""
