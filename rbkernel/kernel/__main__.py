"""``python -m rbkernel.kernel``: the command that the kernelspec runs."""

from rbkernel.kernel.app import main

main()
