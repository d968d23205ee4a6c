"""The formats of exports."""

from enum import StrEnum


class Format(StrEnum):
    """A format of an export; the value is also the extension of the file."""

    HTML = "html"
    PDF = "pdf"
    MARKDOWN = "md"
    ZIP = "zip"
