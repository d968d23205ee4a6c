"""Rules, findings' provenance and the contract of a frame, whatever the source. Pure."""
