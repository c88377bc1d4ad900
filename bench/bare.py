"""A proxy on aiohttp that meters nothing: `python -m bench.bare PORT UPSTREAM_PORT`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_SESSION = web.AppKey("session", aiohttp.ClientSession)
_STAYS_HOME = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "host",
    "content-length",
}


def _travels(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name.lower() not in _STAYS_HOME}


async def passes(request: web.Request) -> web.StreamResponse:
    """Ask the upstream the same, and answer as it does."""
    body = await request.read()
    async with request.app[_SESSION].request(
        request.method, request.raw_path, data=body, headers=_travels(request.headers), allow_redirects=False
    ) as got:
        answer = web.StreamResponse(status=got.status, headers=_travels(got.headers))
        if got.content_length is not None:
            answer.content_length = got.content_length
        await answer.prepare(request)
        async for piece in got.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer


async def _with_session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{sys.argv[2]}",
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    ) as session:
        app[_SESSION] = session
        yield


def main() -> None:
    """Serve until killed."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", passes)
    app.cleanup_ctx.append(_with_session)
    loop = uvloop.new_event_loop()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
