"""Who may come in: an ASGI wrapper around the whole page, web sockets included.

With a sign-in, everything but /sign-in asks for the cookie that it gave. Without one the page is for
this machine, and a request that names another host, or comes from another site's page, is refused:
so no web site can reach the page through the operator's own browser. Knows no token file and no page.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# a token to the name of its holder; None: it is not known
SignIn = Callable[[str], str | None]

COOKIE = "emu_planner_console"
SIGN_IN = "/sign-in"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
# a person signs in again after this, s
_LIFETIME_S = 12 * 3600.0
# wrong tokens in a minute after which nobody may try for the rest of it
_TRIES = 10
_MINUTE_S = 60.0
_MOST_BYTES = 4096
_MOST_VISITS = 1000

_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>emu_planner: sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:20px/1.4 system-ui,sans-serif;max-width:34em;margin:10vh auto;padding:0 16px;color:#000;
background:#fff}}
input,button{{font:inherit;min-height:60px;width:100%;border:3px solid #000;border-radius:8px;
padding:0 14px;box-sizing:border-box;margin-top:10px}}button{{background:#000;color:#fff;font-weight:800}}
p{{color:#b00000;font-weight:700}}</style>
<h1>emu_planner console</h1><form method="post" action="/sign-in"><label for="token">Your token</label>
<input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Sign in</button></form><p role="alert">{words}</p></html>"""


class Gate:
    """See the module's text.

    Args:
        sign_in: who holds a token; None: nobody is asked.
        hosts: names under which the page may be asked for; empty: any.
        secure: the cookie goes over TLS only.
        clock_s: monotonic seconds.
    """

    def __init__(
        self,
        app: App,
        *,
        sign_in: SignIn | None = None,
        hosts: frozenset[str] = _LOCAL,
        secure: bool = False,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._sign_in, self._hosts, self._secure = app, sign_in, hosts, secure
        self._clock_s = clock_s
        self._visits: dict[str, tuple[str, float]] = {}  # cookie: token, end of its life
        self._wrong_s: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if reason := self._foreign(headers):
            await _refuse(scope, receive, send, 403, reason)
        elif self._sign_in is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == SIGN_IN:
            await self._answer_sign_in(scope, receive, send)
        elif self.holder(cookie_of(headers.get("cookie", ""))) is not None:
            await self._app(scope, receive, send)
        elif (
            scope["type"] == "http" and scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        ):
            await _respond(send, 303, b"", [(b"location", SIGN_IN.encode())])
        else:
            await _refuse(scope, receive, send, 401, "sign in first")

    def holder(self, cookie: str) -> str | None:
        """Who signed in with that cookie, if the token is still known. None: nobody."""
        if self._sign_in is None:
            return None
        token, until_s = self._visits.get(cookie, ("", 0.0))
        if not token or self._clock_s() > until_s:
            return None
        return self._sign_in(token)

    def _foreign(self, headers: dict[str, str]) -> str:
        """Why a request is not one of this page's own; empty: it is."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._hosts and name not in self._hosts:
            return f"this page is not {name!r}; open it as {' or '.join(sorted(self._hosts))}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "the request comes from another site's page"
        return ""

    async def _answer_sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._sign_in is not None
        if scope["method"] != "POST":
            await _respond(send, 200, _FORM.format(words="").encode())
            return
        now_s = self._clock_s()
        self._wrong_s = [s for s in self._wrong_s if now_s - s < _MINUTE_S]
        if len(self._wrong_s) >= _TRIES:
            await _respond(send, 429, _FORM.format(words="Too many wrong tokens. Wait a minute.").encode())
            return
        token = parse_qs((await _body(receive)).decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not token or self._sign_in(token) is None:
            self._wrong_s.append(now_s)
            await _respond(send, 401, _FORM.format(words="This token is not known here.").encode())
            return
        self._visits = {key: visit for key, visit in self._visits.items() if visit[1] > now_s}
        while len(self._visits) >= _MOST_VISITS:
            self._visits.pop(next(iter(self._visits)))
        cookie = secrets.token_urlsafe(32)
        self._visits[cookie] = (token, now_s + _LIFETIME_S)
        value = f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self._secure else "")
        await _respond(send, 303, b"", [(b"location", b"/"), (b"set-cookie", value.encode())])


def cookie_of(header: str) -> str:
    """The page's cookie out of a Cookie header; empty when it is not there."""
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= _MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[:_MOST_BYTES]


async def _respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    fixed = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    await _respond(send, status, reason.encode())
