"""The formats in which a run or an incident can be exported."""

from enum import StrEnum


class Format(StrEnum):
    """A format of an export; the value is also the extension of the file."""

    HTML = "html"
    PDF = "pdf"
    MARKDOWN = "md"
    ZIP = "zip"
