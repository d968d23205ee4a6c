"""The rbkernel kernel, which Jupyter starts as ``python -m rbkernel.kernel -f …``."""
