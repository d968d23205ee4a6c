"""What evidence is exported to."""

from enum import StrEnum


class Format(StrEnum):
    """A format; the value is also the file's extension."""

    HTML = "html"
    PDF = "pdf"
    MARKDOWN = "md"
    ZIP = "zip"
