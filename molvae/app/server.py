"""The server of ``molvae app``: Streamlit on this machine alone.

Only 127.0.0.1 is served. A request with a foreign ``Host`` (a name of the internet that an attacker
lets point to 127.0.0.1) or a foreign ``Origin`` (another page of the same browser) is refused,
whatever it asks for; Streamlit itself checks these for its web socket only.
"""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from molvae.app.settings import Settings, use
from molvae.app.storage import sweeping
from molvae.errors import ConfigError, RunError

__all__ = ["ADDRESS", "Guard", "free_port", "serve"]

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
FIRST_PORT, PORTS = 8501, 100  # tried one after the other
UPLOAD_MB = 200  # of one file
SCRIPT = Path(__file__).with_name("script") / "start.py"
# The colors of the HTML reports.
THEMES = {
    "light": {"primaryColor": "#1d5f96", "backgroundColor": "#ffffff", "textColor": "#1b2430",
              "secondaryBackgroundColor": "#f5f6f8", "borderColor": "#dde2e8"},
    "dark": {"primaryColor": "#4a9bd9", "backgroundColor": "#14181d", "textColor": "#e6eaef",
             "secondaryBackgroundColor": "#1e242b", "borderColor": "#38414b"},
}  # fmt: skip
# What a page may load: nothing but from this server. Streamlit and the sketcher make scripts and
# styles in the page itself.
POLICY = "; ".join((
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:",
    "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:", "font-src 'self' data:",
    "connect-src 'self' ws://{place} blob: data:", "frame-src 'self' blob:",
    "worker-src 'self' blob:", "object-src 'none'", "base-uri 'self'", "form-action 'self'",
    "frame-ancestors 'none'",
))  # fmt: skip


def serve(
    settings: Settings,
    *,
    port: int | None = None,
    browser: bool = True,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C; ``browser`` opens it, and ``ready`` gets its address.

    Raises:
        ConfigError: the port is none.
        RunError: the port is in use.
    """
    use(settings)
    port = free_port(port)
    url = f"http://{ADDRESS}:{port}"

    @asynccontextmanager
    async def started(_: object) -> AsyncIterator[None]:
        if ready is not None:
            ready(url)
        if browser:
            webbrowser.open(url)
        with sweeping():
            yield

    app = st.App(SCRIPT, middleware=[Middleware(Guard, port=port)], lifespan=started)
    app.run(config=_options(port))


def _options(port: int) -> dict[str, Any]:
    """Streamlit's settings; they win over files of the user's other Streamlit pages."""
    return {
        "server.address": ADDRESS,
        "server.port": port,
        # A collection of all garbage takes half a second with torch loaded, in which no work is
        # done; a page that looks at its work would ask for one every second.
        "runner.postScriptGC": False,
        "server.headless": True,  # it asks for no e-mail address and opens nothing itself
        "server.fileWatcherType": "none",
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.allowedHosts": list(NAMES),
        "server.enableAgentApi": False,
        "server.enableStaticServing": False,
        "server.maxUploadSize": UPLOAD_MB,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "global.disableWidgetStateDuplicationWarning": True,  # choices are kept on purpose
        "client.toolbarMode": "minimal",
        "logger.hideWelcomeMessage": True,
        "logger.level": "warning",
        "theme.headingFontSizes": ["1.75rem", "1.4rem", "1.15rem"],
        **{
            f"theme.{n}.{key}": color
            for n, colors in THEMES.items()
            for key, color in colors.items()
        },
    }


def free_port(port: int | None = None) -> int:
    """``port`` if it is free; without one, the first free port from 8501 on."""
    if port is not None and not 1 <= port <= 65_535:
        raise ConfigError(f"port: got {port}, expected 1 to 65,535")
    tried = (port,) if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS)
    for number in tried:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, number))
            except OSError:
                continue
            return number
    which = f"{port} is" if port is not None else f"{tried[0]} to {tried[-1]} are"
    raise RunError(f"port {which} in use; end the other program, or choose one with --port")


class Guard:
    """Refuses requests that do not come from a page of this server itself."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._places = {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403; a web socket is closed before it opens."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        reason = self._refusal(scope)
        if not reason:
            await self._app(scope, receive, _with_policy(scope, send))
        elif scope["type"] == "http":
            await PlainTextResponse(reason, 403)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reason})

    def _refusal(self, scope: Scope) -> str:
        """Why a request is refused; empty if it is not."""
        given: dict[str, list[str]] = {"host": [], "origin": []}
        for name, value in scope["headers"]:
            if (key := name.decode("latin-1").lower()) in given:
                given[key].append(value.decode("latin-1").lower())
        if len(given["host"]) != 1 or given["host"][0] not in self._places:
            return "molvae app: this Host is not served"
        for origin in given["origin"]:
            parts = urlsplit(origin)
            if parts.scheme != "http" or parts.netloc not in self._places:
                return "molvae app: this Origin is not served"
        return ""


def _with_policy(scope: Scope, send: Send) -> Send:
    """``send`` that adds the headers which keep a page from loading anything from elsewhere."""
    place = next(value for name, value in scope["headers"] if name.lower() == b"host")
    policy = POLICY.format(place=place.decode("latin-1")).encode("latin-1")
    more = [(b"content-security-policy", policy), (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff")]  # fmt: skip

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *more]
        await send(message)

    return sent
