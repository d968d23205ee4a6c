"""``python -m rbkernel.kernel``: what the kernelspec runs."""

from rbkernel.kernel.app import main

main()
