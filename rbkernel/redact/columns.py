"""Column policies: show, hash, mask or drop a column of a query's result, by its name."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rbkernel.errors import ConfigError
from rbkernel.redact.names import is_secret_column

MASKED = "[masked]"
_TOKEN_DIGITS = 12
# used if the team has no key: equal values then have equal hashes in one process only
_KEY_OF_THIS_PROCESS = secrets.token_bytes(32)


class Policy(StrEnum):
    """How a column's values are shown: unchanged, hashed, masked or dropped."""

    KEEP = "keep"
    MASK = "mask"
    HASH = "hash"
    DROP = "drop"


class Redaction(BaseModel):
    """The settings of ``[redaction]`` in `rbkernel.toml`: a policy for each column name.

    ``columns`` maps a column name or a glob to a policy. An exact name comes first, then the globs
    in the order of the file; case is ignored. ``hash_key_env`` names the environment variable with
    the key of `hash`. ``environment`` names further variables whose values are secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Mapping[str, Policy] = Field(default_factory=dict)
    hash_key_env: str | None = None
    environment: tuple[str, ...] = ()

    def over(self, other: Redaction) -> Redaction:
        """Return these policies, completed with the policies of another `Redaction`."""
        return Redaction(
            columns={
                **self.columns,
                **{k: v for k, v in other.columns.items() if k not in self.columns},
            },
            hash_key_env=self.hash_key_env or other.hash_key_env,
            environment=(*self.environment, *other.environment),
        )

    def policy(self, column: str, *, text: bool = True) -> Policy:
        """Return the policy of a column; by default, a text column named like a secret is masked.

        >>> rules = Redaction(columns={"email": "hash", "*_iban": "mask"})
        >>> [rules.policy(name).value for name in ("Email", "from_iban", "rolpassword", "id")]
        ['hash', 'mask', 'mask', 'keep']
        """
        name = column.lower()
        named = {pattern.lower(): policy for pattern, policy in self.columns.items()}
        if name in named:
            return named[name]
        for pattern, policy in named.items():
            if fnmatchcase(name, pattern):
                return policy
        return Policy.MASK if text and is_secret_column(name) else Policy.KEEP

    def key(self) -> bytes:
        """Return the secret key for the policy `hash`.

        Raises
        ------
        ConfigError
            The environment variable of the key is not set.
        """
        if self.hash_key_env is None:
            return _KEY_OF_THIS_PROCESS
        if not (key := os.environ.get(self.hash_key_env)):
            raise ConfigError(
                f"the environment variable {self.hash_key_env} is not set, but columns must be"
                " hashed with it",
                where="[redaction] hash_key_env",
                next_step=f"export {self.hash_key_env} where the kernel is started",
            )
        return key.encode()


def token(value: Any, key: bytes) -> str:
    """Return the same short token for equal values; without the key, values cannot be guessed.

    >>> token("bob@example.org", b"k") == token("bob@example.org", b"k")
    True
    >>> token("bob@example.org", b"k")
    'hash:d66001ac1456'
    """
    digest = hmac.new(key, str(value).encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"hash:{digest.hexdigest()[:_TOKEN_DIGITS]}"
