"""Rules, provenance of answers and the contract of a frame, for every source. Pure."""
