"""A running proxy, asked by its admin port."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from meter.cli.parsing import WrongArgumentError
from meter.keys import masked

if TYPE_CHECKING:
    from meter.settings import Settings

__all__ = ["AskError", "asked"]

_SECONDS = 30
_STRANGER = "what answers there is not the admin port of this Meter"


class AskError(OSError):
    """A proxy that gave no answer; `str` of it says which and why, without any secret."""


class _Here(HTTPRedirectHandler):
    """Follows nobody elsewhere: the token would go there too."""

    def redirect_request(self, *_: object) -> None:
        return None


def asked(settings: Settings, url: str, path: str, **parameters: str) -> dict[str, Any]:
    """Return what the admin port at `url` answers, shown the token of the settings; raises AskError."""
    where = masked(url)
    if not _is_address(url):
        raise WrongArgumentError(f"--url: got {where!r}, expected one such as http://127.0.0.1:9464")
    token = settings.admin.token
    secret = "" if token is None else token.get_secret_value()
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    address = f"{url.rstrip('/')}{path}?{urlencode(parameters)}"
    try:
        question = Request(address, headers=headers)  # noqa: S310 - http(s)
        with build_opener(_Here, ProxyHandler({})).open(question, timeout=_SECONDS) as answer:
            told = json.load(answer)
    except HTTPError as error:
        said = _sentence(error)
        raise AskError(
            f"{where}: answered {error.code}: {said.replace(secret, '***') if secret else said}"
        ) from None
    except ValueError:
        raise AskError(f"{where}: {_STRANGER}") from None
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        what = (getattr(reason, "strerror", None) or type(reason).__name__).lower()
        raise AskError(f"{where}: gave no answer: {what}") from None
    if not isinstance(told, dict):
        raise AskError(f"{where}: {_STRANGER}")
    return told


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and url.isprintable() and " " not in url


def _sentence(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, LookupError, TypeError, OSError):
        return error.reason
