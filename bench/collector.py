"""Takes spans by OTLP and forgets them: `python -m bench.collector HTTP_PORT GRPC_PORT`.

An answer without fields is an empty message, so nothing needs to be decoded: the collector stays cheap.
Whether all spans were taken is what Meter's own metrics tell.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no types
from aiohttp import web


class Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # it has no types
    """Answers every call with an empty message."""

    def service(self, handler_call_details: object) -> Any:  # noqa: ARG002 - gRPC's signature
        """Return how a call is answered."""
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"")


async def takes(request: web.Request) -> web.Response:
    """Take an export by HTTP."""
    await request.read()
    return web.Response(content_type="application/x-protobuf")


def main(http_port: int, grpc_port: int) -> None:
    """Serve until killed."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2), handlers=[Anything()])
    server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    server.start()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/{path:.*}", takes)
    web.run_app(app, host="127.0.0.1", port=http_port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
