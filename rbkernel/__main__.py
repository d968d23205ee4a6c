"""Run the command line with ``python -m rbkernel``, also if the script is not on the path."""

from rbkernel.cli import main

main()
