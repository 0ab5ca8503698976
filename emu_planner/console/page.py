"""The page of a robot that lives: what is shown, and what each button does.

Every decision names the step and the epoch that stood in this browser when the button was pressed,
so whoever decides about something that has changed since is refused. Knows the hub; neither ROS nor
gRPC nor simulator.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any

from nicegui import events, run, ui

from emu_planner.console.hub import Hub, Look
from emu_planner.console.parts import Cameras, Journal, Now, Plan, Text, attribute, box, show, switch
from emu_planner.console.robot import Decision, Refused, Snapshot

_REDRAW_S = 0.08
_BEAT_S = 0.5
# what was decided longer ago, by the last beat that its page had heard, came over a link that was
# lost in between; less than console.js waits before it says so, s
_LATE_S = 3.0
# how long an answer stands, s
_SAID_S = 6.0
_operators = itertools.count(1)

_ACTIONS = (
    # id, key, label, classes, decision
    ("approve", "a", "Approve", "go", Decision.APPROVE),
    ("edit-open", "e", "Edit", "edit", None),
    ("skip", "s", "Skip", "", Decision.SKIP),
    ("regenerate", "r", "Regenerate", "", Decision.REGENERATE),
)
_TITLES = {
    "approve": "the robot may do this step",
    "edit-open": "change the words, then approve",
    "skip": "pass over this step",
    "regenerate": "let the planner make this step again",
}


class RobotPage:
    """One browser's view of the hub.

    Args:
        operator: the name of who signed in; empty: the page asks for one.
        who: raises Refused when that person may not act any more.
        has_history: whether sessions are recorded, and may be looked at.
    """

    def __init__(self, hub: Hub, operator: str, who: Callable[[], None], *, has_history: bool) -> None:
        self._hub, self._operator, self._who = hub, operator, who
        self._shown: Look | None = None
        self._said_until_s = 0.0
        self._buttons: dict[str, Text] = {}
        self._page = box("div", props="id=page")
        with self._page:
            self._draw_top(has_history)
            self._draw_banners()
            with box("main", "parts"):
                with box("div"):
                    self._cameras = Cameras(_address)
                    self._draw_sentence()
                    self._now = Now(_address)
                with box("div"):
                    self._plan = Plan(_address)
                    self._journal = Journal()
            self._draw_bar()
            self._draw_edit()
        self._say_box = Text("div", "", "say hidden", "id=say role=alert")
        self._draw_offline()
        self._beat = box("span", "sr", "id=beat aria-hidden=true")
        self._show_beat()
        self._redraw()
        ui.timer(_REDRAW_S, self._redraw)
        ui.timer(_BEAT_S, self._show_beat)

    # -- drawing ------------------------------------------------------------------------------

    def _draw_top(self, has_history: bool) -> None:  # noqa: FBT001
        with box("header", "top") as self._top:
            Text("span", "emu_planner", "brand")
            self._robot = Text("span", "", "badge", "id=robot")
            self._planner = Text("span", "", "what")
            self._link = Text("span", "", "link", "id=link role=status")
            self._recording = Text("span", "", "badge hidden", "role=alert")
            box("span", "space")
            with box("label"):
                Text("span", "Operator")
                name = box("input", props="id=operator maxlength=40 autocomplete=off")
                attribute(name, "data-name", self._operator or f"operator {next(_operators)}")
                if self._operator:
                    attribute(name, "readonly", "readonly")
            if has_history:
                Text("a", "History", props="href=/history")

    def _draw_banners(self) -> None:
        with box("div", "banner held hidden", "id=held role=alert") as self._held:
            self._held_text = Text("span", "")
            box("span", "space")
            with box("label"):
                self._clear = box("input", props="type=checkbox id=clear")
                Text("span", "I looked: all is clear")
            Text("button", "Re-arm", props="id=rearm type=button").on(
                "click", self._rearm, js_handler=_emit("{clear: document.getElementById('clear').checked}")
            )
        with box("div", "banner trouble hidden", "id=trouble role=alert") as self._trouble:
            self._trouble_text = Text("span", "")

    def _draw_sentence(self) -> None:
        with box("form", "ask", 'aria-label="the task"') as form:
            self._form = form
            self._sentence = box("input", props="id=sentence maxlength=2000 autocomplete=off")
            attribute(self._sentence, "aria-label", "what the robot shall do, in one sentence")
            attribute(self._sentence, "placeholder", "What shall the robot do?   ( / )")
            self._plan_button = Text("button", "Plan", "go", "id=plan type=submit")
            with self._plan_button:
                Text("kbd", "Enter")
        sentence = "{text: document.getElementById('sentence').value}"
        form.on("submit", self._ask, js_handler=_emit(sentence))

    def _draw_bar(self) -> None:
        with box("footer", "bar", 'role=toolbar aria-label="decisions"'):
            for name, key, label, classes, decision in _ACTIONS:
                button = self._button(name, key, label, classes, _TITLES[name])
                if decision is None:
                    button.on("click", js_handler="() => window.openEdit()")
                else:
                    button.on("click", self._review, js_handler=_emit(f"{{decision: '{decision.value}'}}"))
            stop = self._button("stop", "x", "Reject, stop plan", "stop", "reject the step and end the plan")
            stop.on("click", self._stop, js_handler=_emit("{}"))
            hold = self._button("hold", "Escape", "HOLD", "", "stop the robot at once")
            hold.on("click", self._hold, js_handler=_emit("{}"))

    def _button(self, name: str, key: str, label: str, classes: str, title: str) -> Text:
        button = Text("button", label, classes, f"type=button id={name} data-key={key}")
        attribute(button, "title", title)
        attribute(button, "aria-keyshortcuts", key)
        attribute(button, "aria-label", f"{label}: {title}")
        with button:
            Text("kbd", "Esc" if key == "Escape" else key.upper())
        self._buttons[name] = button
        return button

    def _draw_edit(self) -> None:
        with box("dialog", props="id=edit aria-labelledby=edit-title"), box("form") as form:
            Text("h2", "Other words for this step; they are approved with it", props="id=edit-title")
            box("textarea", props="id=edit-text rows=3 maxlength=2000 aria-labelledby=edit-title")
            with box("div", "row"):
                cancel = Text("button", "Cancel", props="type=button id=edit-cancel")
                cancel.on("click", js_handler="() => document.getElementById('edit').close()")
                Text("button", "Approve these words", "go", "type=submit id=edit-send")
            form.on(
                "submit",
                self._review,
                js_handler="() => emit({decision: 'edit', ...window.editSeen()})",
            )

    def _draw_offline(self) -> None:
        with box("div", props="id=offline role=alertdialog"):
            Text("strong", "NO CONNECTION")
            Text("span", "This page cannot reach the console, and HOLD does not work from here.")
            Text("span", "Use the robot's own stop button. The page comes back by itself.")

    def _show_beat(self) -> None:
        attribute(self._beat, "data-beat", f"{time.monotonic():.2f}")

    def _redraw(self) -> None:
        if self._said_until_s and time.monotonic() > self._said_until_s:
            self._said_until_s = 0.0
            show(self._say_box, visible=False)
        look = self._hub.look()
        if look is self._shown:
            return
        before, self._shown = self._shown, look
        self._cameras.update(look.frames)
        self._now.update(look)
        if before is None or before.snapshot is not look.snapshot:
            self._update(look.snapshot)

    def _update(self, now: Snapshot) -> None:
        self._robot.set_text(now.robot)
        self._planner.set_text(now.planner)
        lost = bool(now.trouble)
        self._link.set_text("NO LINK" if lost else "connected")
        for part in (self._top, self._cameras.box):
            switch(part, "lost", on=lost)
        show(self._trouble, visible=lost)
        self._trouble_text.set_text(f"ROBOT LOST: {now.trouble}. Controls are off until it is back.")
        show(self._held, visible=bool(now.hold))
        self._held_text.set_text(f"HELD by {now.held_by or 'somebody'}: nothing starts until re-armed")
        self._buttons["hold"].set_text("HELD" if now.hold else "HOLD")
        switch(self._buttons["hold"], "latched", on=bool(now.hold))
        pending = now.pending is not None and not lost
        for name in ("approve", "edit-open", "skip", "regenerate"):
            attribute(self._buttons[name], "disabled", not pending)
        attribute(self._buttons["stop"], "disabled", not now.is_busy or lost)
        may_ask = not (now.is_busy or now.hold or lost)
        attribute(self._plan_button, "disabled", not may_ask)
        attribute(self._sentence, "disabled", not may_ask)
        show(self._form, visible=not now.is_busy)
        switch(self._page, "busy", on=now.is_busy)
        self._plan.update(now)
        self._journal.update(now)
        trouble = self._hub.recording_trouble
        show(self._recording, visible=bool(trouble))
        self._recording.set_text(trouble)

    # -- doing --------------------------------------------------------------------------------

    async def _ask(self, event: events.GenericEventArguments) -> None:
        if await self._do(lambda: self._hub.plan(str(event.args["text"]), self._name(event)), event):
            ui.run_javascript("document.getElementById('sentence').value = ''")

    async def _review(self, event: events.GenericEventArguments) -> None:
        seen = event.args
        decision = Decision(seen["decision"])
        await self._do(
            lambda: self._hub.review(
                int(seen["step"]), int(seen["epoch"]), decision, str(seen.get("text", "")), self._name(event)
            ),
            event,
        )

    async def _stop(self, event: events.GenericEventArguments) -> None:
        seen, name = event.args, self._name(event)
        if int(seen["step"]) < 0:
            await self._do(lambda: self._hub.stop(name))
            return
        step, epoch = int(seen["step"]), int(seen["epoch"])
        await self._do(lambda: self._hub.review(step, epoch, Decision.REJECT, "", name))

    async def _hold(self, event: events.GenericEventArguments) -> None:
        await self._do(lambda: self._hub.hold(self._name(event)))

    async def _rearm(self, event: events.GenericEventArguments) -> None:
        if not event.args.get("clear"):
            self._say("Look at the robot first, and tick the box beside Re-arm.")
            return
        await self._do(lambda: self._hub.rearm(self._name(event)), event)
        ui.run_javascript("document.getElementById('clear').checked = false")

    async def _do(self, act: Callable[[], None], begins: events.GenericEventArguments | None = None) -> bool:
        """Do it in another thread; False when it was refused, which is said.

        Args:
            begins: the event, of what lets the robot begin something.
        """
        try:
            self._who()
            if begins is not None:
                _refuse_late(begins)
            await run.io_bound(act)
        except Refused as refusal:
            self._say(str(refusal))
            return False
        return True

    def _name(self, event: events.GenericEventArguments) -> str:
        given: Any = event.args.get("operator", "")
        return self._operator or str(given).strip()[:40] or "somebody"

    def _say(self, words: str) -> None:
        self._say_box.set_text(words)
        show(self._say_box, visible=True)
        self._said_until_s = time.monotonic() + _SAID_S


def _refuse_late(event: events.GenericEventArguments) -> None:
    """Refuse what was kept back by a lost link; hold and stop are never late."""
    if time.monotonic() - float(event.args.get("beat") or 0.0) > _LATE_S:
        raise Refused("Not done: it came late, over a link that was lost. Look again.")


def _emit(extra: str) -> str:
    """JavaScript that sends what the operator saw, and more."""
    return f"() => emit(window.seen({extra}))"


def _address(key: str) -> str:
    return f"/picture/{key}"
