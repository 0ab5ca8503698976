"""The pages of what was: the list of sessions, and a session shown again. Nothing can be decided here.

Knows recorded sessions; no robot.
"""

from collections.abc import Callable, Sequence

from nicegui import events, ui

from emu_planner.console import words
from emu_planner.console.hub import Look
from emu_planner.console.parts import Cameras, Journal, Now, Plan, Text, attribute, box
from emu_planner.console.record import Summary
from emu_planner.console.replay import Replay

_REDRAW_S = 0.08
_SPEEDS = (1.0, 4.0, 16.0)


def draw_history(sessions: Sequence[Summary]) -> None:
    """The list of sessions, newest first."""
    _draw_top("History", "/", "Back to the robot")
    with box("main", "history"):
        Text("h2", f"Recorded sessions: {len(sessions)}" if sessions else "No session is recorded yet")
        for session in sessions:
            ending = words.ENDINGS[session.ending] if session.ending else "not ended"
            with box("a", "session") as link:
                attribute(link, "href", f"/history/{session.folder.name}")
                Text("span", words.day(session.begun_s))
                Text("b", session.task)
                Text("span", f"{session.steps} steps, {words.duration(session.seconds)}")
                Text("span", session.robot)
                Text("span", ending)


class ReplayPage:
    """A session as it was seen, with a playhead of this browser's own.

    Args:
        address: of a picture by its key.
        back: where the link at the head leads; empty: there is none.
    """

    def __init__(self, replay: Replay, address: Callable[[str], str], back: str = "") -> None:
        self._replay = replay
        self._shown: Look | None = None
        with box("div", props="id=page"):
            _draw_top("Replay", back, "All sessions")
            self._draw_player()
            with box("main", "parts"):
                with box("div"):
                    self._cameras = Cameras(address, "RECORDED")
                    self._now = Now(address, "RECORDED")
                with box("div"):
                    self._plan = Plan(address)
                    self._journal = Journal()
        self._redraw()
        ui.timer(_REDRAW_S, self._redraw)

    def _draw_player(self) -> None:
        replay = self._replay
        with box("div", "banner replay", 'role=group aria-label="player"'):
            Text("span", "REPLAY")
            self._play = self._button("play", "p", "Play", self._toggle)
            previous = self._button("previous", "b", "Before", lambda: replay.next_decision(-1))
            following = self._button("next", "n", "Next", lambda: replay.next_decision(1))
            attribute(previous, "title", "to the decision before")
            attribute(following, "title", "to the next decision")
            self._speed = self._button("speed", "f", "1x", self._faster)
            self._place = box("input", props="type=range id=place min=0 step=any")
            attribute(self._place, "aria-label", "place in the session")
            attribute(self._place, "max", round(replay.length_s, 3))
            self._place.on("input", self._seek, js_handler="(e) => emit({place: Number(e.target.value)})")
            self._time = Text("span", "", props="id=time")

    def _button(self, name: str, key: str, label: str, act: Callable[[], None]) -> Text:
        button = Text("button", label, props=f"type=button id={name} data-key={key}")
        with button:
            Text("kbd", key.upper())
        button.on("click", lambda: act())
        return button

    def _toggle(self) -> None:
        self._replay.pause() if self._replay.playing else self._replay.play()

    def _faster(self) -> None:
        speed = _SPEEDS[(_SPEEDS.index(self._replay.speed) + 1) % len(_SPEEDS)]
        self._replay.set_speed(speed)
        self._speed.set_text(f"{speed:g}x")

    def _seek(self, event: events.GenericEventArguments) -> None:
        self._replay.seek(float(event.args["place"]))

    def _redraw(self) -> None:
        replay = self._replay
        if replay.playing and replay.position_s >= replay.length_s:
            replay.pause()
        self._play.set_text("Pause" if replay.playing else "Play")
        place = f"{words.duration(replay.position_s)} of {words.duration(replay.length_s)}"
        self._time.set_text(f"{words.clock(replay.clock)}  {place}")
        attribute(self._place, "value", round(replay.position_s, 2))
        look = replay.look()
        if look is self._shown:
            return
        self._shown = look
        self._cameras.update(look.frames)
        self._now.update(look)
        self._plan.update(look.snapshot)
        self._journal.update(look.snapshot)


def _draw_top(title: str, back: str, back_words: str) -> None:
    with box("header", "top"):
        Text("span", "emu_planner", "brand")
        Text("span", title, "what")
        box("span", "space")
        if back:
            with Text("a", back_words) as link:
                attribute(link, "href", back)
