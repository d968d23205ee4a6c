"""Which commands print secrets. Pure.

Such a command only reads, but the kernel records what it prints, and a secret without a known form
is not masked there. So its effect is `Effect.TELLS`: it is shown to a person, and not run. A
command whose output nobody sees, or that prints only facts about a secret, is none of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rbkernel.runbook.shell.programs import Phrase, named

# program → sub-commands that print a secret; `**` stands for any number of words
_PRINTS: Mapping[str, str] = {
    "vault": "read, kv get, print token, token lookup, unwrap",
    "aws": """secretsmanager get-secret-value, secretsmanager batch-get-secret-value,
      ecr get-login-password, ecr get-authorization-token, sts get-session-token, sts assume-role,
      kms decrypt, rds generate-db-auth-token, configure export-credentials""",
    "gcloud": "** print-access-token, ** print-identity-token, secrets versions access",
    "az": """keyvault secret show, keyvault secret download, account get-access-token,
      acr credential show, storage account keys list, cosmosdb keys list, redis list-keys""",
    "kubectl": "config view --raw, whoami -t",
    "oc": "whoami -t, whoami --show-token, config view --raw",
    "gh": "auth token",
    "heroku": "config",
    "terraform": "state pull",
    "argocd": "admin initial-password",
    "docker": "compose config",
}
_ALSO = {"bao": "vault", "k": "kubectl", "tofu": "terraform"}
# of these, some uses print it: the sub-commands, and an option that makes them do so
_PRINTS_WITH = (
    (
        "kubectl oc",
        r"get secrets?\b|get \S*\bsecrets?\b",
        r"-o(?!(?:[ =]?)(?:name|wide)\b)|--output(?!=(?:name|wide))|--template",
    ),
    ("aws", r"ssm get-parameters?", r"--with-decryption"),
    ("terraform", r"output", r"-json|-raw"),
    ("openssl", r"(?:rsa|pkey|ec|pkcs12|enc)\b", r"^(?!.*-noout)(?!.*-pubout)|-nodes|-text"),
    ("gpg", r"", r"-d\b|--decrypt|--export-secret-keys?"),
    ("redis-cli", r"config get requirepass|config get masterauth|config get \*", r""),
)
_FILES = re.compile(
    r"(?:^|/)(?:\.pgpass|\.netrc|\.my\.cnf|\.vault-token|\.env|id_(?:rsa|dsa|ecdsa|ed25519)|shadow"
    r"|gshadow|userlist\.txt|credentials|pgpass)$"
    r"|/\.aws/|/\.kube/config$|/\.docker/config\.json$|/(?:run|etc)/secrets/|/ssl/private/|/private/\S+\.pem$"
    r"|\.(?:key|p12|pfx|jks|keystore)$|(?:^|/)admin\.conf$|(?:^|[/_.-])secrets?\.(?:ya?ml|json|env|txt)$"
)
# what prints parts of the files that it is given
_SHOWS_FILES = frozenset(
    [
        *("cat", "tac", "head", "tail", "less", "more", "zless", "grep", "egrep", "fgrep", "zgrep"),
        *("rg", "ag", "awk", "gawk", "sed", "base64", "base32", "xxd", "od", "hexdump", "strings"),
        *("cut", "jq", "yq", "nl", "sort", "uniq", "zcat", "bat", "column", "paste", "tr", "diff"),
    ]
)
_SECRET_WORD = re.compile(r"pass|pwd|secret|token|key|cred|auth", re.IGNORECASE)
# what prints a figure, a digest, or a public part of its input
_HIDES = re.compile(
    r"(?:wc|md5sum|sha\d+sum|cksum|b2sum)\b|[ef]?grep (?:-\w+ )*-\w*[cq]|jq (?:-r )?(?:keys|length)"
    r"|openssl (?:x509|req|crl|verify|dgst|md5|sha\d+)\b"
)


def printed(name: str, arguments: Sequence[str]) -> str:
    """Return the words of a call that print a secret; empty if it prints none.

    >>> printed("kubectl", "-n shop get secret db -o yaml".split())
    'kubectl get secret'
    >>> printed("kubectl", ["get", "secrets"]), printed("cat", ["/root/.pgpass"])
    ('', 'cat /root/.pgpass')
    >>> printed("vault", ["kv", "get", "secret/db"]), printed("openssl", ["x509", "-noout"])
    ('vault kv get', '')
    """
    name = _ALSO.get(name, name)
    program = named(name)
    words = program.words(arguments) if program else [one for one in arguments if one[:1] != "-"]
    if name == "vault" and any(word.startswith("sys/") for word in words):
        return ""
    for own in (words, list(arguments)):
        if program and (said := program.phrase(_phrases(name), own)):
            return f"{name} {said}"
    if (name, *arguments) == ("env",) or (
        name == "printenv" and (not words or any(map(_SECRET_WORD.search, words)))
    ):
        return " ".join([name, *words[:1]])
    if name in _SHOWS_FILES and (file := next(filter(_FILES.search, words), "")):
        return f"{name} {file}"
    for of, phrase, option in _PRINTS_WITH:
        found = re.match(phrase, " ".join(words)) if name in of.split() else None
        if found and re.search(option, " ".join(arguments)):
            return " ".join(filter(None, [name, found[0]]))
    return ""


def hidden_by(words: Sequence[str]) -> bool:
    """Tell whether a command prints nothing of the secrets that it reads from a pipe.

    >>> [hidden_by(one.split()) for one in ("wc -c", "grep -q x", "base64 -d", "grep -i region")]
    [True, True, False, False]
    """
    return _HIDES.match(" ".join(words).removeprefix("sudo ")) is not None


def filtered_by(words: Sequence[str]) -> bool:
    """Tell whether grep leaves lines of an environment that are no secrets.

    >>> filtered_by(["grep", "-i", "region"]), filtered_by(["grep", "TOKEN"])
    (True, False)
    """
    patterns = [one for one in words[1:] if not one.startswith("-")]
    plain = "".join(words[:1]) == "grep"
    inverts = any(re.fullmatch(r"-\w*v\w*|--invert-match", one) for one in words[1:])
    return plain and bool(patterns) and not inverts and not _SECRET_WORD.search(patterns[0])


def _phrases(name: str) -> list[Phrase]:
    found = _PRINTS.get(name, "").replace("\n", " ")
    return [tuple(one.split()) for one in found.split(",") if one.strip()]
