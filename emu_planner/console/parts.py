"""The parts of the page: each draws its share of a Look, and changes only what differs.

Knows what is shown; not who shows it, nor what a button does.
"""

from collections.abc import Callable, Sequence

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from emu_planner.console import words
from emu_planner.console.hub import Look
from emu_planner.console.robot import Phase, Snapshot, StepState, StepView, Views

# a picture's key to its address
Address = Callable[[str], str]


class Text(TextElement):
    """An element of any tag, with text; escaped by the browser's framework."""

    def __init__(self, tag: str, text: str = "", classes: str = "", props: str = "") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes).props(props)


def box(tag: str, classes: str = "", props: str = "") -> ui.element:
    """An element that holds others."""
    return ui.element(tag).classes(classes).props(props)


def show(element: ui.element, *, visible: bool) -> None:
    """Draw an element, or leave it out."""
    element.classes(remove="hidden") if visible else element.classes(add="hidden")


def switch(element: ui.element, name: str, *, on: bool) -> None:
    """A class that is there or not."""
    element.classes(add=name) if on else element.classes(remove=name)


def attribute(element: ui.element, name: str, value: object) -> None:
    """Set an HTML attribute if it differs; not through props(), which would parse the value.

    Never `value` of a field that a person changes: each redraw would set it again.
    """
    if element.props.get(name) != value:
        element.props[name] = value
        element.update()


class Cameras:
    """The live pictures, side by side."""

    def __init__(self, address: Address, tag: str = "LIVE") -> None:
        self._address, self._tag = address, tag
        self._names: tuple[str, ...] | None = None
        self._images: list[ui.element] = []
        self.box = box("div", "cameras", 'role=group aria-label="cameras"')

    def update(self, frames: Views) -> None:
        """Draw the newest pictures."""
        names = tuple(name for name, _ in frames)
        if names != self._names:
            self._names = names
            self.box.clear()
            self._images = []
            with self.box:
                for name in names:
                    with box("figure"):
                        image = box("img")
                        attribute(image, "alt", f"what camera {name} sees")
                        self._images.append(image)
                        Text("figcaption", f"{self._tag} {name}", "tag")
        for image, (_, picture) in zip(self._images, frames, strict=True):
            attribute(image, "src", self._address(picture.key))


class Compare:
    """What the cameras showed or show, and what is imagined, under one slider."""

    def __init__(self, address: Address, tag: str) -> None:
        self._address, self._tag = address, tag
        self._names: tuple[str, ...] = ()
        self._images: list[tuple[ui.element, ui.element]] = []
        self._box = box("div", "compare hidden")
        with self._box:
            self._views = box("div", "views")
            with box("div", "ends"):
                self._left = Text("span", "as planned from")
                Text("span", "imagined afterwards (no camera picture)")
            slider = box("input", props="type=range id=cut min=0 max=100")
            attribute(slider, "aria-label", "from the camera picture to the imagined one")

    def update(self, step: StepView | None, frames: Views) -> None:
        """Draw a step's pictures; while the robot does it, the live ones stand on the left."""
        keyframe = step.keyframe if step is not None else ()
        show(self._box, visible=bool(keyframe))
        if step is None or not keyframe:
            return
        live = step.state in (StepState.ACTIVE, StepState.APPROVED) or not step.before
        self._left.set_text(self._tag if live else "when it was planned")
        left = dict(frames if live else step.before)
        names = tuple(name for name, _ in keyframe)
        if names != self._names:
            self._build(names)
        for (before, after), (name, picture) in zip(self._images, keyframe, strict=True):
            if name in left:
                attribute(before, "src", self._address(left[name].key))
            attribute(after, "src", self._address(picture.key))

    def _build(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._views.clear()
        self._images = []
        with self._views:
            for name in names:
                with box("figure"):
                    before = box("img")
                    after = box("img", "after")
                    attribute(before, "alt", f"camera {name}")
                    attribute(after, "alt", f"{name} as imagined after the step")
                    box("div", "edge")
                    Text("figcaption", name, "tag")
                self._images.append((before, after))


class Now:
    """The step in work: its words, its pictures, and the numbers that a decision must name."""

    def __init__(self, address: Address, tag: str = "LIVE") -> None:
        self._card = box("section", "now", 'id=now aria-label="the step in work"')
        with self._card:
            self._heading = Text("h2", props="id=heading")
            self._words = Text("p", classes="words", props="id=words aria-live=polite")
            self._progress = box("progress", "hidden", 'id=progress max=1 aria-label="keyframe"')
            self._compare = Compare(address, tag)

    def update(self, look: Look) -> None:
        """Draw it."""
        snapshot = look.snapshot
        pending, step = snapshot.pending, words.shown_step(snapshot)
        attribute(self._card, "data-plan", snapshot.plan_id)
        attribute(self._card, "data-step", pending.index if pending else -1)
        attribute(self._card, "data-epoch", pending.epoch if pending else -1)
        switch(self._card, "waits", on=pending is not None)
        self._heading.set_text(words.heading(snapshot))
        self._words.set_text(words.main_words(snapshot))
        switch(self._words, "typing", on=snapshot.phase is Phase.GENERATING_TEXT)
        imagining = snapshot.phase is Phase.GENERATING_KEYFRAME
        show(self._progress, visible=imagining)
        attribute(self._progress, "value", snapshot.share)
        self._compare.update(step, look.frames)


class Plan:
    """The timeline: each step with its state, who decided, and its imagined pictures."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._rows: list[tuple[tuple[StepView, bool], ui.element]] = []
        Text("h2", "Plan")
        self._task = Text("p", "", "task")
        self._empty = Text("p", "The steps will stand here.", "empty")
        self._list = box("ol", "steps", 'id=steps aria-label="steps of the plan"')

    def update(self, snapshot: Snapshot) -> None:
        """Draw it; rows that are as they were stay."""
        self._task.set_text(snapshot.task)
        show(self._empty, visible=not snapshot.steps)
        while len(self._rows) > len(snapshot.steps):
            self._rows.pop()[1].delete()
        for place, step in enumerate(snapshot.steps):
            drawn = (step, snapshot.ending is not None)
            if place == len(self._rows):
                with self._list:
                    self._rows.append((drawn, box("li")))
            elif self._rows[place][0] == drawn:
                continue
            row = self._rows[place][1]
            self._rows[place] = (drawn, row)
            self._draw(row, *drawn)

    def _draw(self, row: ui.element, step: StepView, plan_ended: bool) -> None:  # noqa: FBT001
        row.clear()
        works = step.state in (StepState.PENDING_REVIEW, StepState.ACTIVE) and not plan_ended
        here = " here" if works else ""
        row.classes(replace=f"{step.state.value}{here}")
        attribute(row, "data-epoch", step.epoch)
        with row:
            Text("span", words.SIGNS[step.state], "dot", "aria-hidden=true")
            with box("div"):
                Text("div", f"{step.index + 1}. {step.words}", "said")
                if step.original:
                    Text("div", step.original, "was")
                Text("div", words.step_meta(step, plan_ended=plan_ended), "meta")
            with box("div", "thumbs"):
                for name, picture in step.keyframe:
                    image = box("img")
                    attribute(image, "alt", f"imagined, {name}")
                    attribute(image, "src", self._address(picture.key))


class Journal:
    """What people did, newest first."""

    def __init__(self) -> None:
        self._shown: Sequence[object] | None = None
        self._title = Text("h2", "Who decided")
        self._list = box("ul", "journal", 'id=journal aria-label="who decided" tabindex=0')

    def update(self, snapshot: Snapshot) -> None:
        """Draw it."""
        if self._shown == snapshot.journal:
            return
        self._shown = snapshot.journal
        self._list.clear()
        show(self._title, visible=bool(snapshot.journal))
        with self._list:
            for note in reversed(snapshot.journal):
                with box("li"):
                    Text("time", words.clock(note.at_s))
                    Text("span", words.journal_line(note))
