"""What `make test` runs: the tests, then the few that failed once more, alone.

The tests start servers, kernels and browsers, several at a time. A test that passes only alone is
printed by name, as unsteady: it is a defect, of the test or of rbkernel, to be mended next. The
options are pytest's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# more failures than these do not come by chance
FEW = 3
FAILED = 1  # pytest's status: it ran to its end, and tests failed
CACHE = Path(".pytest_cache/v/cache/lastfailed")


def main(options: list[str]) -> int:
    """Run the tests, and return pytest's status."""
    CACHE.unlink(missing_ok=True)
    status = _pytest(options)
    failed = sorted(json.loads(CACHE.read_text())) if CACHE.exists() else []
    if status != FAILED or not 0 < len(failed) <= FEW:
        return status
    print(f"\nonce more, alone: {', '.join(failed)}", flush=True)
    status = _pytest(["--last-failed", "--last-failed-no-failures=none"])
    if status == 0:
        for test in failed:
            print(f"UNSTEADY: {test} failed beside other tests and passed alone: mend it")
    return status


def _pytest(options: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
