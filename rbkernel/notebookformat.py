"""Read the bytes of a notebook in format 4, the format that Jupyter writes. Pure.

Other formats are refused. In an older notebook, cells have no ids and outputs have another form, so
it cannot be compared with a record. A newer format is unknown.
"""

from __future__ import annotations

import json
from typing import Any

from rbkernel import strictjson

_FORMAT = 4


def load(data: bytes) -> dict[str, Any]:
    """Return the JSON of a notebook of format 4.

    Raises
    ------
    ValueError
        The bytes are not such a notebook; the message gives the reason as part of a sentence.

    >>> load(b'{"nbformat": 3, "worksheets": []}')
    Traceback (most recent call last):
    ...
    ValueError: the notebook has format 3, and format 4 is needed: open the notebook ...
    """
    document = _json(data)
    if not isinstance(document, dict) or "nbformat" not in document:
        raise ValueError("the file is JSON, but not a notebook")
    given = document["nbformat"]
    if given != _FORMAT or isinstance(given, bool):
        kind = f"format {given}" if isinstance(given, int) else "an unknown format"
        newer = isinstance(given, int) and given > _FORMAT
        advice = "save it as format 4" if newer else "open the notebook in JupyterLab and save it"
        raise ValueError(f"the notebook has {kind}, and format {_FORMAT} is needed: {advice}")
    if not isinstance(document.get("cells"), list):
        raise ValueError("the file is not a notebook: it has no list of cells")  # noqa: TRY004  # of bytes
    return document


def _json(data: bytes) -> Any:
    if not data.strip():
        raise ValueError("the file is empty")
    try:
        return strictjson.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"the file is not UTF-8 text (byte {error.start + 1})") from error
    except json.JSONDecodeError as error:
        whole = data.rstrip().endswith(b"}")
        cut = "" if whole else ", perhaps because its end is missing"
        raise ValueError(f"the file is not JSON (line {error.lineno}){cut}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(
            "the JSON of the file cannot be read: it is nested too deep, or a number is too long"
        ) from error
