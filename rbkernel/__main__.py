"""Run the command line as ``python -m rbkernel``, also if the script `rbkernel` is not on PATH."""

from rbkernel.cli import main

main()
