"""The planner under test, in a process of its own that may crash, hang or lie.

What goes in is a Task, an observation and the history. What comes out is JSON and raw pixels, so that
nothing of the planner runs in the scorer. A planner that is late or gone is killed with all that it
started, and a fresh one answers the next question. Knows no world.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.errors import ErrorCode, PlanError
from emu_planner.plan.event import Event, FinishReason, PlanComplete, PlanStarted, StepComplete, TextDelta
from emu_planner.plan.frame import FrameSource, Observation, Still
from emu_planner.plan.planner import Planner, Task
from emu_planner.plan.step import Keyframe, Step, StepOutcome
from emu_planner.plan.stop import Stop
from sim.bench.plans import PlannerFault
from sim.lifeline import end_with

Picture = NDArray[np.uint8]
_T = TypeVar("_T")

_MOST_BYTES = 64 * 2**20  # of one message
_LEAVE_S = 2.0  # for a planner to end by itself when nothing is wanted of it any more


@dataclass(frozen=True)
class Limits:
    """How long a planner may take; all in seconds."""

    # to load
    start_s: float = 600.0
    # for one plan, open loop or one call of a closed loop: from the question, its pictures'
    # sending included, to the last event; a process that must start anew has start_s before that
    plan_s: float = 300.0
    # for one picture through its tokenizer
    picture_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("start_s", "plan_s", "picture_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected more than 0 s")


class StartError(RuntimeError):
    """The planner's process could not start, so there is nothing to measure."""


class Supervised:
    """A Planner whose work is done in another process. Use it as a context manager.

    Args:
        make: gives the planner, in that process; must be picklable. A planner that has a method
            `round_trip(picture) -> picture`, its tokenizer there and back, shows it here; so does one
            with `random_picture(picture, seed) -> picture`, random codes of it decoded.
        log: where its output goes; None: nowhere.
    """

    def __init__(
        self, make: Callable[[], Planner], limits: Limits | None = None, log: Path | None = None
    ) -> None:
        self._make, self._limits, self._log = make, limits or Limits(), log
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._started_once = False
        self.restarts = 0
        self.has_round_trip = self.has_random_picture = False

    def __enter__(self) -> "Supervised":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and wait until the planner is loaded. StartError: it cannot be."""
        if self._process is not None and self._process.is_alive():
            return
        self._kill()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._make, str(self._log or os.devnull), os.getpid()), daemon=True
        )
        process.start()
        self._process = process
        theirs.close()
        try:
            message = self._receive(time.monotonic() + self._limits.start_s, "start")
        except PlannerFault as fault:
            self._kill()
            raise StartError(f"the planner did not start: {fault}{self._where()}") from fault
        if message["is"] != "ready":
            self._kill()
            raise StartError(f"the planner did not start: {message.get('detail', '')}{self._where()}")
        self.has_round_trip = bool(message["round_trip"])
        self.has_random_picture = bool(message["random_picture"])
        self.restarts += self._started_once
        self._started_once = True

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            with contextlib.suppress(OSError):
                self._pipe.send(("leave",))
            self._process.join(_LEAVE_S)
        self._kill()

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,  # noqa: ARG002 - the process has no token to share
    ) -> Iterator[Event]:
        """See plan.Planner.

        Raises:
            PlanError: the planner's own.
            PlannerFault: it crashed, took too long or sent something else than a plan.
        """
        shown = frames.newest()
        until_s = self._ask(("plan", task, shown, tuple(history)), self._limits.plan_s)
        ended = False
        try:
            while True:
                message = self._receive(until_s, "plan")
                if message["is"] in ("end", "gave up", "raised"):
                    ended = True
                if message["is"] == "end":
                    return
                event = self._event(message, until_s, shown)
                if isinstance(event, PlanComplete):
                    # who reads a plan stops here, so the stream's own end is taken first
                    ended = self._receive(until_s, "end of the stream")["is"] == "end"
                yield event
                if isinstance(event, PlanComplete):
                    return
        finally:
            # a stream that the reader left half read would run into the next answer
            if not ended:
                self._kill()

    def round_trip(self, picture: Picture) -> Picture:
        """One picture through the planner's tokenizer. PlannerFault: as in plan."""
        return self._drawn("round_trip", picture)

    def random_picture(self, picture: Picture, seed: int) -> Picture:
        """What its tokenizer makes of random codes, as many as a picture has. PlannerFault: as in plan."""
        return self._drawn("random_picture", picture, seed)

    def _drawn(self, method: str, *arguments: Any) -> Picture:
        """What a method of the planner draws."""
        until_s = self._ask(("draw", method, *arguments), self._limits.picture_s)
        message = self._receive(until_s, "picture")
        if message["is"] != "picture":
            raise PlannerFault("raised", str(message.get("detail", message["is"])))
        return self._pixels(message, until_s)

    # ---- what comes out

    def _event(self, message: dict[str, Any], until_s: float, shown: Observation) -> Event:
        try:
            match message["is"]:
                case "started":
                    return PlanStarted(shown.seq, int(message["seed"]), shown.stamp_s)
                case "words":
                    return TextDelta(int(message["index"]), str(message["text"]))
                case "step":
                    keyframe = None
                    if message["views"] is not None:
                        keyframe = Keyframe(self._pixels(message, until_s), tuple(message["views"]))
                    return StepComplete(Step(int(message["index"]), str(message["subgoal"]), keyframe))
                case "complete":
                    return PlanComplete(FinishReason(message["reason"]))
                case "gave up":
                    raise PlanError(ErrorCode(message["code"]), str(message["detail"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PlannerFault("broken stream", f"a message that is no event: {error}") from error
        kind = "raised" if message["is"] == "raised" else "broken stream"
        raise PlannerFault(kind, str(message.get("detail", message["is"])))

    def _pixels(self, message: dict[str, Any], until_s: float) -> Picture:
        shape = [int(n) for n in message["shape"]]
        data = self._bytes(until_s, "picture")
        if len(data) != int(np.prod(shape)):
            raise PlannerFault("bad picture", f"{len(data)} bytes for shape {shape}")
        return np.frombuffer(data, np.uint8).reshape(shape)

    def _receive(self, until_s: float, what: str) -> dict[str, Any]:
        data = self._bytes(until_s, what)
        try:
            message = json.loads(data)
            message["is"]
        except (ValueError, KeyError, TypeError) as error:
            self._kill()
            raise PlannerFault("broken stream", f"a message that is no JSON: {error}") from error
        assert isinstance(message, dict)
        return message

    def _bytes(self, until_s: float, what: str) -> bytes:
        return self._until(until_s, f"no {what}", lambda pipe: pipe.recv_bytes(_MOST_BYTES))

    def _ask(self, question: tuple[Any, ...], limit_s: float) -> float:
        """Put a question to the planner, started anew if need be; until when it may take, monotonic."""
        if self._process is None or not self._process.is_alive():
            try:
                self.start()
            except StartError as error:
                if not self._started_once:
                    raise
                raise PlannerFault("crashed", f"and does not start again: {error}") from error
        until_s = time.monotonic() + limit_s
        self._until(until_s, "did not take the question", lambda pipe: pipe.send(question))
        return until_s

    def _until(self, until_s: float, late: str, use: Callable[[Connection], _T]) -> _T:
        """What a use of the pipe gives; when it is not done in time, the process is killed."""
        assert self._pipe is not None
        with _cut_at(self._pipe, until_s) as cut:
            try:
                value, broken = use(self._pipe), None
            except (EOFError, OSError) as error:
                broken = error
        if cut.is_set():
            self._kill()
            raise PlannerFault("too slow", f"{late} within the time limit; it was killed")
        if broken is not None:
            status = self._kill()
            raise PlannerFault("crashed", f"its process ended ({_how(status)}){self._where()}") from broken
        return value

    def _kill(self) -> int | None:
        """End the process and all of its session; its exit status, if it had ended by itself."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        if process is None or process.pid is None:
            return None
        process.join(0.2)
        status = process.exitcode
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # its own session, so that what it started goes too
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        return status

    def _where(self) -> str:
        return f"; its output is in {self._log}" if self._log is not None else ""


@contextlib.contextmanager
def _cut_at(pipe: Connection, until_s: float) -> Iterator[threading.Event]:
    """Shut a pipe at a moment, so that nothing in the block waits longer; the event says if it was.

    A pipe's own waits have no limit once a message has begun, and whoever else holds its other end
    could keep it open: so it is shut at this end.
    """
    cut = threading.Event()

    def shut() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    with socket.socket(fileno=os.dup(pipe.fileno())) as line:
        timer = threading.Timer(max(0.0, until_s - time.monotonic()), shut)
        timer.start()
        try:
            yield cut
        finally:
            timer.cancel()
            timer.join()


def _how(status: int | None) -> str:
    if status is None:
        return "killed"
    return f"signal {-status}" if status < 0 else f"status {status}"


# ---- in the planner's process


def _serve(pipe: Connection, make: Callable[[], Planner], log: str, parent: int) -> None:
    """Load the planner, answer questions until the pipe ends."""
    os.setsid()
    if not end_with(parent, signal.SIGKILL):
        return
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        planner = make()
    except BaseException as error:
        _send(pipe, {"is": "failed", "detail": f"{type(error).__name__}: {error}"})
        raise
    has = {name: callable(getattr(planner, name, None)) for name in ("round_trip", "random_picture")}
    _send(pipe, {"is": "ready", **has})
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        if question[0] == "leave":
            return
        if question[0] == "plan":
            _answer(pipe, planner, *question[1:])
        else:
            _draw(pipe, planner, *question[1:])


def _answer(
    pipe: Connection, planner: Planner, task: Task, shown: Observation, history: tuple[StepOutcome, ...]
) -> None:
    try:
        for event in planner.plan(task, Still(shown), history):
            _send_event(pipe, event)
        _send(pipe, {"is": "end"})
    except PlanError as error:
        _send(pipe, {"is": "gave up", "code": error.code.value, "detail": error.message[:2000]})
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        _send(pipe, {"is": "raised", "detail": f"{type(error).__name__}: {error}"[:2000]})


def _send_event(pipe: Connection, event: Event) -> None:
    match event:
        case PlanStarted():
            _send(pipe, {"is": "started", "seed": event.seed})
        case TextDelta():
            _send(pipe, {"is": "words", "index": event.index, "text": event.text})
        case StepComplete(step=step):
            head: dict[str, Any] = {"is": "step", "index": step.index, "subgoal": step.subgoal, "views": None}
            if step.keyframe is None:
                _send(pipe, head)
            else:
                _send_picture(pipe, {**head, "views": step.keyframe.views}, step.keyframe.rgb)
        case PlanComplete():
            _send(pipe, {"is": "complete", "reason": event.reason.value})
        case _:
            pass


def _draw(pipe: Connection, planner: Any, method: str, *arguments: Any) -> None:
    try:
        sent = getattr(planner, method)(*arguments)
        if sent.dtype != np.uint8:
            raise ValueError(f"{method} gave {sent.dtype}, expected uint8")
    except Exception as error:
        _send(pipe, {"is": "raised", "detail": f"{type(error).__name__}: {error}"[:2000]})
    else:
        _send_picture(pipe, {"is": "picture"}, sent)


def _send_picture(pipe: Connection, head: dict[str, Any], rgb: Picture) -> None:
    _send(pipe, {**head, "shape": rgb.shape})
    pipe.send_bytes(np.ascontiguousarray(rgb).tobytes())


def _send(pipe: Connection, message: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(message).encode())
