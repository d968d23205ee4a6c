"""The recorder's kernel, started by Jupyter as ``python -m rbkernel.kernel -f …``."""
