"""Who may come in, tried as a browser and as a stranger would."""

import asyncio

import pytest

from emu_planner.console.gate import COOKIE, Gate, cookie_of

LOCAL = {"host": "127.0.0.1:8080"}


async def inside(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(gate, path="/", headers=None, method="GET", body=b"", kind="http"):
    """(status or close code, headers, body)."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    pairs = [(k.encode(), v.encode()) for k, v in {**LOCAL, **(headers or {})}.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": pairs}
    asyncio.run(gate(scope, receive, send))
    first = sent[0]
    if first["type"] == "websocket.close":
        return first["code"], {}, b""
    return first["status"], dict(first["headers"]), b"".join(m.get("body", b"") for m in sent)


def signed_in(gate) -> str:
    status, headers, _ = ask(gate, "/sign-in", method="POST", body=b"token=good")
    assert status == 303
    return headers[b"set-cookie"].decode().partition(";")[0]


def gate_with_tokens(known=None, **more) -> Gate:
    known = {"good": "anna"} if known is None else known
    return Gate(inside, sign_in=known.get, **more)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_this_machine_is_let_in(host: str):
    assert ask(Gate(inside), headers={"host": host})[2] == b"inside"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8080"},  # a name that was bent to this address
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8080"},  # not what was asked for, though the same machine
        {"origin": "null"},
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_sites_page_is_not(headers, kind: str):
    assert ask(Gate(inside), headers=headers, kind=kind)[0] in (403, 1008)


def test_its_own_page_may_open_a_web_socket():
    assert ask(Gate(inside), headers={"origin": "http://127.0.0.1:8080"}, kind="websocket")[0] == 200


def test_without_the_cookie_nothing_is_served():
    gate = gate_with_tokens()
    assert ask(gate)[0] == 401
    assert ask(gate, "/picture/0")[0] == 401
    assert ask(gate, kind="websocket")[0] == 1008
    assert ask(gate, headers={"cookie": f"{COOKIE}=guess"})[0] == 401
    status, headers, _ = ask(gate, headers={"accept": "text/html"})
    assert (status, headers[b"location"]) == (303, b"/sign-in")
    assert b"Your token" in ask(gate, "/sign-in")[2]


def test_a_token_gives_a_cookie_that_scripts_and_other_sites_do_not_get():
    gate = gate_with_tokens(secure=True)
    _, headers, _ = ask(gate, "/sign-in", method="POST", body=b"token=good")
    cookie = headers[b"set-cookie"].decode()
    for word in ("HttpOnly", "SameSite=Strict", "Secure"):
        assert word in cookie
    assert "good" not in cookie
    pair = cookie.partition(";")[0]
    assert ask(gate, headers={"cookie": pair})[2] == b"inside"
    assert ask(gate, headers={"cookie": pair}, kind="websocket")[0] == 200
    assert gate.holder(cookie_of(pair)) == "anna"


def test_a_withdrawn_token_and_an_old_visit_end():
    known, clock = {"good": "anna"}, [0.0]
    gate = gate_with_tokens(known, clock_s=lambda: clock[0])
    pair = signed_in(gate)
    del known["good"]
    assert ask(gate, headers={"cookie": pair})[0] == 401
    known["good"] = "anna"
    assert ask(gate, headers={"cookie": pair})[0] == 200
    clock[0] = 13 * 3600.0
    assert ask(gate, headers={"cookie": pair})[0] == 401


def test_guessing_is_slowed_down():
    clock = [0.0]
    gate = gate_with_tokens(clock_s=lambda: clock[0])
    answers = [ask(gate, "/sign-in", method="POST", body=b"token=guess")[0] for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    assert ask(gate, "/sign-in", method="POST", body=b"token=good")[0] == 429
    clock[0] = 61.0
    assert ask(gate, "/sign-in", method="POST", body=b"token=good")[0] == 303


@pytest.mark.parametrize("header", ["", "a=b", f"{COOKIE}", "\x00=;;"])
def test_a_cookie_that_is_none(header: str):
    assert cookie_of(header) == ""
