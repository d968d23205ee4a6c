"""The pages: what a run found, the console, an incident; for `rbkernel serve` and for Jupyter."""
