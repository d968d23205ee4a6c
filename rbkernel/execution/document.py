"""The canonical form of an action, whose digest is approved. Pure.

The form is JSON with sorted keys, an indent of 2, and a line feed at the end, in UTF-8. People can
read it, and ``sha256sum`` of the file is the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rbkernel import strictjson

FORMAT = 1
Facts = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What an action would do to a server at this moment.

    ``targets`` are the objects that change, with everything that identifies them. ``effect`` is
    the effect in words; ``foretold`` are the same facts for the check afterwards. ``statement`` is
    the SQL, which is sent once with each of the ``values`` and a time of the server's clock after
    which it does nothing. ``at`` is that clock at the preview. ``refusal`` says why the action must
    not be executed; empty if it may. ``undo`` says how it can be undone; empty if it cannot.
    """

    at: datetime
    server: Facts
    targets: tuple[Facts, ...] = ()
    effect: str = ""
    loss: str = ""
    undo: str = ""
    foretold: Facts = field(default_factory=dict)
    statement: str = ""
    values: tuple[Facts, ...] = ()
    refusal: str = ""


def canonical(facts: Facts) -> str:
    """Return the text of a document.

    >>> canonical({"b": [1, None], "a": "é"})
    '{\\n  "a": "é",\\n  "b": [\\n    1,\\n    null\\n  ]\\n}\\n'
    """
    plain = strictjson.normal(facts, str)
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, indent=2, allow_nan=False)
    return f"{text}\n"


def digest(document: str) -> str:
    """Return the SHA-256 of a document, in hex.

    >>> digest("")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(document.encode()).hexdigest()
