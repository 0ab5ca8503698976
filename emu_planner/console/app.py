"""The web server of the page: addresses, sign-in, static files; everything comes from this machine.

Knows a hub or a recorded session, whichever it is given; no robot.
"""

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import ui

from emu_planner.console.gate import Gate, SignIn, cookie_of
from emu_planner.console.history import ReplayPage, draw_history
from emu_planner.console.hub import Hub
from emu_planner.console.page import RobotPage
from emu_planner.console.parts import Text
from emu_planner.console.record import RecordingError, list_sessions, read_session
from emu_planner.console.replay import Replay
from emu_planner.console.robot import Picture, Refused

_STATIC = Path(__file__).parent / "static"
_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
_KEY = re.compile(r"[0-9a-f]{24}")
# a browser that comes back within this goes on where it was, s
_RECONNECT_S = 10.0


@dataclass(frozen=True)
class WebConfig:
    """How the page is served."""

    # a socket that listens already
    listener: socket.socket
    # host names under which the page may be asked for; empty: any
    hosts: frozenset[str]
    # who holds a token; None: nobody is asked
    sign_in: SignIn | None = None
    # PEM files; None: plain HTTP
    tls_certificate: Path | None = None
    tls_key: Path | None = None


def serve(config: WebConfig, hub: Hub | None, sessions: Path | None, replay: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        hub: the robot that lives; None: only what is recorded is shown.
        sessions: folder of recorded sessions; None: there is no history.
        replay: the one session to show, without a hub.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    secure = config.tls_certificate is not None
    gate = Gate(app, sign_in=config.sign_in, hosts=config.hosts, secure=secure)
    _add_pictures(app, hub, sessions if hub is not None else replay)
    if hub is not None:
        _add_robot_page(hub, gate, has_sign_in=config.sign_in is not None, has_history=sessions is not None)
        if sessions is not None:
            _add_history_pages(sessions)
    elif replay is not None:
        _add_replay_page(replay)
    ui.run_with(
        app,
        title="emu_planner",
        tailwind=False,
        language="en-US",
        reconnect_timeout=_RECONNECT_S,
        show_welcome_message=False,
    )
    server = uvicorn.Server(
        uvicorn.Config(
            gate,
            log_level="warning",
            ssl_certfile=config.tls_certificate,
            ssl_keyfile=config.tls_key,
            timeout_graceful_shutdown=2,
        )
    )
    server.run(sockets=[config.listener])


def _add_robot_page(hub: Hub, gate: Gate, *, has_sign_in: bool, has_history: bool) -> None:
    @ui.page("/")
    def robot_page(request: Request) -> None:
        cookie = cookie_of(request.headers.get("cookie", ""))

        def who() -> None:
            if has_sign_in and gate.holder(cookie) is None:
                raise Refused("Not done: you are signed out. Load the page again.")

        _dress()
        RobotPage(hub, gate.holder(cookie) or "", who, has_history=has_history)


def _add_history_pages(sessions: Path) -> None:
    @ui.page("/history")
    def history_page() -> None:
        _dress()
        draw_history(list_sessions(sessions))

    @ui.page("/history/{name}")
    def session_page(name: str) -> None:
        _dress()
        if not _NAME.fullmatch(name):
            Text("p", "There is no such session.")
            return
        _draw_replay(sessions / name, f"/history/{name}/picture", "/history")


def _add_replay_page(session: Path) -> None:
    @ui.page("/")
    def replay_page() -> None:
        _dress()
        _draw_replay(session, "/picture", "")


def _draw_replay(session: Path, pictures: str, back: str) -> None:
    try:
        replay = Replay(read_session(session))
    except RecordingError as error:
        Text("p", str(error))
        return
    ReplayPage(replay, lambda key: f"{pictures}/{key}", back)


def _add_pictures(app: FastAPI, hub: Hub | None, recorded: Path | None) -> None:
    """Pictures by their keys, of what lives and of what is recorded; and the two static files."""

    @app.get("/picture/{key}")
    def picture(key: str) -> Response:
        if hub is not None:
            return _answer(hub.picture(key))
        return _answer(_read(recorded, key))

    @app.get("/history/{name}/picture/{key}")
    def recorded_picture(name: str, key: str) -> Response:
        if recorded is None or not _NAME.fullmatch(name):
            return Response(status_code=404)
        return _answer(_read(recorded / name, key))

    def static(name: str, media_type: str) -> Callable[[], Response]:
        def answer() -> Response:
            return Response((_STATIC / name).read_bytes(), media_type=media_type)

        return answer

    app.get("/console.css")(static("console.css", "text/css"))
    app.get("/console.js")(static("console.js", "text/javascript"))


def _read(session: Path | None, key: str) -> Picture | None:
    """A picture of a session's folder."""
    if session is None or not _KEY.fullmatch(key):
        return None
    folder = (session if session.is_dir() else session.parent) / "pictures"
    for suffix, media_type in ((".jpg", "image/jpeg"), (".png", "image/png")):
        path = folder / f"{key}{suffix}"
        if path.is_file():
            return Picture(path.read_bytes(), media_type)
    return None


def _answer(picture: Picture | None) -> Response:
    if picture is None:
        return Response(status_code=404)
    # the key is the hash of the bytes: it never means another picture
    headers = {"cache-control": "private, max-age=86400, immutable"}
    return Response(picture.data, media_type=picture.media_type, headers=headers)


def _dress() -> None:
    """The page's own style and script."""
    ui.add_head_html(
        '<link rel="stylesheet" href="/console.css"><script src="/console.js" defer></script>'
        '<meta name="color-scheme" content="light">'
    )
