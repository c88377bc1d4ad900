"""What a credential looks like in a text: keys of providers and code hosts, tokens, passwords by their name.

Rather one thing too many than one too few: who reads a prompt can do without a hash. Each expression takes
time in proportion to the text, whatever the text. Where one has a group, only the group is the credential.
"""

from __future__ import annotations

import re

__all__ = ["CREDENTIALS"]

# A letter of another script may stand right before one, which `\b` would take for the same word.
_ALONE = r"(?<![A-Za-z0-9])"

_LETTERS = "[-_A-Za-z0-9]"

_PREFIXES = (
    *("[prs]k[-_]", "csk-", "xai-", "gsk_", "hf_", "r8_", "pplx-", "fw_", "tgp_", "nvapi-", "jina_", "tvly-"),
    *("e2b_", "lsv2_", "gh[oprsu]_", "github_pat_", "glpat-", "npm_", "pypi-", "dop_v1_", "xox[abeprs]-"),
    *("xapp-", "whsec[-_]", "AIza", "AKIA", "ASIA", "ABSK", "bedrock-api-key-", r"AQ\.", r"ya29\."),
    *(r"hvs\.", r"SG\."),
)

_KEYS = (
    "api",
    "access",
    "account",
    "private",
    "secret",
    "shared",
    "subscription",
    "auth",
    "master",
    "encryption",
)
_NAMES = (
    f"key(?:{'|'.join(f'(?<={word}[-_ ]key)|(?<={word}key)' for word in _KEYS)})",
    *("secret", "token(?!s)", "passw(?:or)?d", "passphrase", "pwd", "credential", "authorization"),
)
"""Each looked for by itself, which is quicker than all at once."""

_IS = r"[\"'\]]{0,2}+\s{0,8}+(?:=>|:=|[:=])\s{0,8}+[\"']?+"
_VALUE = r"([^\s\"'`,;&<>(){}\[\]]{6,}+)"
_ODD = r"(?=[A-Za-z._~+/-]{0,256}?(?:[0-9=]|[a-z][A-Z]{2}|[A-Z][a-z][A-Z]))"
"""No word, not even one in the middle of which a capital stands."""

CREDENTIALS = tuple(
    re.compile(pattern)
    for pattern in (
        # By how it begins.
        rf"{_ALONE}(?:{'|'.join(_PREFIXES)}){_LETTERS}{{10,}}+(?:\.{_LETTERS}{{6,}}+)*+",
        # A JSON web token, or another JSON object in base64.
        rf"{_ALONE}eyJ{_LETTERS}{{12,}}+(?:\.{_LETTERS}*+)*+",
        # Digits and letters without any sense, with what may follow behind a dot.
        rf"{_ALONE}(?=[A-Za-z]*+[0-9])(?=[0-9]*+[A-Za-z])[A-Za-z0-9]{{32,}}+(?:\.{_LETTERS}{{6,}}+)*+",
        rf"{_ALONE}(?=[a-z0-9]*+[A-Z])(?=[A-Z0-9]*+[a-z])(?=[A-Za-z]*+[0-9]++[A-Za-z]++[0-9])[A-Za-z0-9]{{20,}}+",
        # By the scheme of an authorization header before it; there are longer words than 12 letters.
        r"(?i:bearer)[\s+]{1,8}+([A-Za-z0-9._~+/=-]{16,}+)",
        rf"(?i:bearer|basic)[\s+]{{1,8}}+({_ODD}[A-Za-z0-9._~+/=-]{{8,}}+)",
        # By its name.
        *(
            rf"(?i:{name}){_LETTERS}{{0,40}}+{_IS}(?:(?i:bearer|basic|token)[\s+]{{1,8}}+)?+{_VALUE}"
            for name in _NAMES
        ),
        r"(?i:cookie)[\"']?+\s{0,8}+[:=]\s{0,8}+[\"']?+([^\r\n\"']{6,}+)",
        r"[?&;](?i:key|sig|signature|code|state)=([^\s\"'&;<>]{6,}+)",
        # In a URL, before its host.
        r"://[^\s/@:\"']{0,128}+:([^\s/@\"']{3,256}+)@",
        # Keys and certificates as text; one that breaks off is one all the same.
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)",
        # A bot's.
        r"(?<![0-9])[0-9]{8,10}:[-_A-Za-z0-9]{35}",
    )
)
