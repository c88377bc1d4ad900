"""A running proxy, asked by its admin port."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from meter.settings import Settings

__all__ = ["AskError", "asked"]

_SECONDS = 30


class AskError(OSError):
    """A proxy that gave no answer; `str` of it says which and why."""


def asked(settings: Settings, url: str, path: str, **parameters: str) -> dict[str, Any]:
    """Return what the admin port at `url` answers, shown the token of the settings; raises AskError."""
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"--url: got {url!r}, expected one such as http://127.0.0.1:9464")
    token = settings.admin.token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    question = Request(f"{url.rstrip('/')}{path}?{urlencode(parameters)}", headers=headers)  # noqa: S310 - http(s)
    try:
        with urlopen(question, timeout=_SECONDS) as answer:  # noqa: S310 - as above
            told = json.load(answer)
    except HTTPError as error:
        raise AskError(f"{url}: answered {error.code}: {_sentence(error)}") from None
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        what = getattr(reason, "strerror", None) or type(reason).__name__
        raise AskError(f"{url}: gave no answer: {what}") from None
    return dict(told)


def _sentence(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, LookupError, TypeError, OSError):
        return error.reason
