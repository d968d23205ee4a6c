"""List tokens with a recognizable form: a prefix, and a regular expression for the rest.

The issuers document these forms. Each expression begins at a word boundary, so that a long word is
searched only once, and its repeats are possessive.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_WORD = r"[\w-]{20,255}+"
_UPPER_16 = r"[A-Z2-7]{16}(?!\w)"
_LETTERS = r"[A-Za-z0-9]{30,255}+"

TOKENS: Mapping[str, Mapping[str, str]] = {
    "jwt": {"eyJ": r"[\w-]{8,8192}+\.[\w-]{8,8192}+(?:\.[\w-]{0,8192}+){1,3}"},
    "cloud key": {
        **dict.fromkeys(("AKIA", "ASIA", "AROA", "ABIA", "ACCA"), _UPPER_16),
        "AIza": r"[\w-]{35}",
        "ya29.": r"[\w.-]{20,400}+",
        "GOCSPX-": _WORD,
        # the beginning of a private key in base64, as in a kubeconfig
        "LS0tLS1CRUdJTi": (
            r"(?:BSU0EgUFJJ|BQUklWQ|BFQyBQUkl|BPUEVOU1NI|BFTkNSWVBU)[\w+/=]{20,16384}+"
        ),
        "dop_v1_": r"[0-9a-f]{64}",
        "doo_v1_": r"[0-9a-f]{64}",
    },
    "git host token": {
        **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), _LETTERS),
        "github_pat_": r"\w{22,255}+",
        **dict.fromkeys(
            ("glpat-", "gloas-", "gldt-", "glrt-", "glcbt-", "glptt-"), r"[\w.-]{20,255}+"
        ),
        **dict.fromkeys(("glft-", "glimt-", "glagent-", "glsoat-", "glffct-"), r"[\w.-]{20,255}+"),
        **dict.fromkeys(("sqp_", "squ_", "sqa_"), r"[0-9a-f]{40}"),
        "GR1348941": r"[\w-]{20,64}+",
        "ATATT3": r"[\w=-]{24,255}+",
        "ATBB": r"[\w=-]{24,255}+",
        "ATCTT3x": r"[\w=-]{24,255}+",
    },
    "chat token": {
        "xox": r"[abceoprs](?:\.xox[abp])?-[\w-]{10,255}+",
        "xapp-": r"[\w-]{10,255}+",
        "xwfp-": r"[\w-]{10,255}+",
    },
    "api key": {
        "sk-": r"(?:proj-|svcacct-|admin-|ant-\w{3,12}-|or-v1-|lf-)?[\w-]{20,255}+",
        **dict.fromkeys(("sk_live_", "sk_test_", "rk_live_", "rk_test_"), r"[0-9A-Za-z]{16,255}+"),
        "whsec_": r"[\w+/=]{20,100}+",
        "SG.": r"[\w-]{16,32}+\.[\w-]{16,64}+",
        **dict.fromkeys(("hf_", "npm_", "lin_api_", "r8_"), _LETTERS),
        "pypi-": r"[\w-]{40,400}+",
        "dapi": r"[0-9a-f]{32}(?:-\d)?",
        **dict.fromkeys(("shpat_", "shpca_", "shppa_", "shpss_"), r"[0-9a-fA-F]{32}"),
        "NRAK-": r"[A-Z0-9]{27}",
        **dict.fromkeys(("sntrys_", "sntryu_"), r"[\w+/=-]{30,255}+"),
        **dict.fromkeys(("dckr_pat_", "dckr_oat_", "pdus+"), _WORD),
        **dict.fromkeys(("glsa_", "glc_"), r"[\w=+/-]{20,255}+"),
        "key-": r"[0-9a-f]{32}(?!\w)",
        "pul-": r"[0-9a-f]{40}",
        **dict.fromkeys(("hvs.", "hvb.", "hvr."), _WORD),
        "AGE-SECRET-KEY-1": r"[0-9A-Z]{50,64}+",
        "access_token$production$": r"[A-Za-z0-9]{8,32}+\$[0-9a-f]{32}",
        "rubygems_": r"[0-9a-f]{48}",
        "ops_eyJ": r"[\w-]{40,8192}+",
    },
}
# URLs that grant access to anybody who knows them; their host is not masked
WEB_HOOKS: Mapping[str, str] = {
    "hooks.slack.com/": r"(?:services|workflows|triggers)/[\w/-]{10,255}+",
    "/api/webhooks/": r"\d{10,25}/[\w-]{20,255}+",
    "webhook.office.com/": r"webhookb2/[\w@/-]{20,400}+",
    "hooks.zapier.com/": r"hooks/catch/[\w/]{6,100}+",
    "chat.googleapis.com/": r"v1/spaces/[\w/]{4,100}+/messages\?[\w=&%.-]{10,400}+",
    "api.telegram.org/bot": r"\d{8,10}:[\w-]{35}",
}


def token_expression(forms: Mapping[str, str]) -> str:
    """Return one regular expression that matches a token of any of these forms.

    ``forms`` maps the first characters of a token to a regular expression for the rest of it.

    >>> token_expression({"hvs.": "[a-z]+"})
    '(?<![\\\\w-])(?:hvs\\\\.[a-z]+)'
    """
    return r"(?<![\w-])(?:" + "|".join(re.escape(head) + rest for head, rest in forms.items()) + ")"


def hook_expression(forms: Mapping[str, str]) -> str:
    """Return one regular expression that matches only the rest of a token, after its prefix.

    ``forms`` maps each prefix to a regular expression for the rest.

    >>> hook_expression({"a/": "b"})
    '(?<=a/)b'
    """
    return "|".join(f"(?<={re.escape(head)}){rest}" for head, rest in forms.items())
