"""Snapshots and looks for tests of what is recorded and shown."""

import numpy as np

from emu_planner.console.hub import Look
from emu_planner.console.robot import (
    Ending,
    Note,
    Phase,
    Snapshot,
    StepState,
    StepView,
    Views,
    encode_jpeg,
    encode_png,
)

PLAN_ID = "3f2a91c4" * 4


def views(level: int, encode=encode_jpeg) -> Views:
    rgb = np.full((8, 8, 3), level, np.uint8)
    return (("front", encode(rgb)), ("side", encode(rgb // 2)))


def step(index: int = 0, state: StepState = StepState.PENDING_REVIEW, **fields) -> StepView:
    return StepView(
        index, 5, "pick up the cup", state, before=views(10), keyframe=views(200, encode_png), **fields
    )


def look(level: int = 10, **fields) -> Look:
    values = {
        "plan_id": PLAN_ID,
        "task": "tidy up",
        "asked_by": "Anna",
        "phase": Phase.WAITING_REVIEW,
        "steps": (step(),),
        "journal": (Note(100.0, "Anna", "asked: tidy up"),),
        **fields,
    }
    return Look(Snapshot("ROBOT", "a planner", **values), views(level))


def ended(level: int = 10) -> Look:
    done = step(state=StepState.SUCCEEDED, decided_by="Anna", decision="approve", confidence=0.5)
    return look(level, phase=None, steps=(done,), ending=Ending.COMPLETE)
