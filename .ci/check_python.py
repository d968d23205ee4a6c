"""What `make` checks in a Python before it makes a venv with it: prints the problem, or nothing.

It must run on every Python, Python 2 included.
"""

import sys

OLDEST = (3, 11)
ANOTHER = "name another Python, such as `make demo PYTHON=python3.12`"


def problem():
    """Return why this Python cannot be used, with the next step; empty when it can."""
    found = "{} is Python {}".format(sys.executable, sys.version.split()[0])
    if sys.version_info[:2] < OLDEST:
        return "{}, and rbkernel needs 3.11 or later. Next: {}".format(found, ANOTHER)
    for module in ("venv", "ensurepip"):
        if not _has(module):
            package = "python{}.{}-venv".format(*sys.version_info[:2])
            step = "on Debian or Ubuntu run `apt install {}`; else {}".format(package, ANOTHER)
            return "{} without the module {}. Next: {}".format(found, module, step)
    for module in ("ssl", "sqlite3", "ctypes"):
        if not _has(module):
            return "{}, built without the module {}. Next: {}".format(found, module, ANOTHER)
    return ""


def _has(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    print(problem())
