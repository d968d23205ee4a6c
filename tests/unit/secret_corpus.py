"""Read the corpora of secrets and look-alikes, and measure a redactor on them.

The format is described at the top of `corpora/secrets_public.txt`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rbkernel.redact.span import MASK

CORPORA = Path(__file__).parents[1] / "corpora"
_UPPER, _LOWER, _DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
_LETTERS = _UPPER + _LOWER + _DIGITS
_ALPHABETS = {
    "a": _LETTERS,
    "h": "0123456789abcdef",
    "u": _UPPER + "234567",
    "b": _LETTERS + "+/",
    "w": _LETTERS + "-_",
    "d": _DIGITS,
}
_MADE = re.compile(r"⟨([ahubwd])(\d{1,3})⟩")
_MARKED = re.compile("⟦(.*?)⟧", re.DOTALL)
_SIGNS = str.maketrans({"␤": "\n", "␉": "\t", "␛": "\x1b"})
_SEEN = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A text, and the secrets in it: none in a look-alike."""

    line: int
    text: str
    secrets: tuple[str, ...]
    masked: str
    """The text with a ※ in the place of each secret."""

    def leaked(self, redacted: str) -> bool:
        """Tell whether a piece of a secret is left that does not stand in the text around it."""
        left = MASK.sub("※", redacted)
        return any(
            piece in left and piece not in self.masked
            for secret in self.secrets
            for piece in _pieces(secret)
        )


def read(name: str) -> list[Sample]:
    """Return the samples of a corpus; the same ones each time."""
    lines = (CORPORA / name).read_text(encoding="utf-8").splitlines()
    return [
        _sample(number, text)
        for number, line in enumerate(lines, 1)
        if (parts := line.partition("\t"))[0] in {"secret", "keep"}
        for text in (parts[2],)
    ]


def _sample(number: int, template: str) -> Sample:
    chooser = random.Random(number)

    def made(match: re.Match[str]) -> str:
        return "".join(chooser.choices(_ALPHABETS[match[1]], k=int(match[2])))

    text = _MADE.sub(made, template).translate(_SIGNS)
    return Sample(
        line=number,
        text=re.sub("[⟦⟧]", "", text),
        secrets=tuple(_MARKED.findall(text)),
        masked=_MARKED.sub("※", text),
    )


def _pieces(secret: str) -> Iterable[str]:
    return (
        secret[at : at + _SEEN]
        for at in range(max(1, len(secret) - _SEEN + 1))
        if not secret[at : at + _SEEN].isspace()
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a redactor did to a corpus."""

    secrets: int
    look_alikes: int
    leaked: tuple[Sample, ...]
    harmed: tuple[Sample, ...]
    cut: tuple[Sample, ...]

    @property
    def recall(self) -> float:
        """The share of the secrets that vanished as a whole."""
        return 1 - len(self.leaked) / self.secrets

    @property
    def precision(self) -> float:
        """The share of secrets among all samples in which something was masked."""
        found = self.secrets - len(self.leaked)
        return found / (found + len(self.harmed))

    def __str__(self) -> str:
        return (
            f"secrets {self.secrets}, leaked {len(self.leaked)}, recall {self.recall:.3f};"
            f" look-alikes {self.look_alikes}, harmed {len(self.harmed)},"
            f" precision {self.precision:.3f}; text around a secret lost {len(self.cut)}"
        )


def measure(samples: Iterable[Sample], redact: Callable[[str], str]) -> Measured:
    """Redact each sample, and count what leaked and what was harmed."""
    done = [(sample, redact(sample.text)) for sample in samples]
    secrets = [(sample, text) for sample, text in done if sample.secrets]
    leaked = tuple(sample for sample, text in secrets if sample.leaked(text))
    return Measured(
        secrets=len(secrets),
        look_alikes=len(done) - len(secrets),
        leaked=leaked,
        harmed=tuple(s for s, text in done if not s.secrets and text != s.text),
        cut=tuple(s for s, text in secrets if s not in leaked and MASK.sub("※", text) != s.masked),
    )
