"""``python -m rbkernel``: the command line, also where the script is not on the path."""

from rbkernel.cli import main

main()
