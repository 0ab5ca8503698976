"""The node on /diagnostics (REP 107): its link, its hold, the step in work, and each of its cameras.

Pure functions of what the node knows. A tool such as rqt_robot_monitor shows them.
"""

import math
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from emu_planner_msgs.msg import PlannerStatus

from emu_planner.goal.feed import CameraState
from emu_planner.goal.states import Look
from emu_planner.plan import ErrorCode, PlanError, Verdict

_LINKS = {
    PlannerStatus.LINK_DISCONNECTED: (DiagnosticStatus.WARN, "not connected, or not asked yet"),
    PlannerStatus.LINK_CONNECTING: (DiagnosticStatus.OK, "connecting"),
    PlannerStatus.LINK_MODEL_LOADING: (DiagnosticStatus.WARN, "the service loads its model"),
    PlannerStatus.LINK_READY: (DiagnosticStatus.OK, "ready"),
    PlannerStatus.LINK_DEGRADED: (DiagnosticStatus.WARN, "answers are late or pictures are missing"),
}
# what does not pass by itself
_LASTING = (ErrorCode.INCOMPATIBLE_SERVER, ErrorCode.UNAUTHENTICATED)


def diagnose(
    node: str,
    server: str,
    status: PlannerStatus,
    cameras: Sequence[CameraState],
    max_age_s: float,
    watched: Look | None = None,
    trouble: PlanError | None = None,
) -> DiagnosticArray:
    """One status each for the link, the hold, the step that is carried out, and one a camera.

    The caller stamps it.

    Args:
        node: its full name.
        server: the service's address, the hardware_id of the link.
        max_age_s: a camera silent for longer is not planned from.
        watched: the last look at the step that is carried out; None: none is watched.
        trouble: why the link is as it is; None: nothing is wrong, or nobody knows.
    """
    level, words = _LINKS[status.link]
    if trouble is not None:
        words = trouble.message
        level = DiagnosticStatus.ERROR if trouble.code in _LASTING else level
    link = _status(
        f"{node}: link",
        server,
        level,
        words,
        {
            "queue position": status.queue_position,
            "frames received": status.frames_received,
            "frames sent": status.frames_sent,
            "frames superseded": status.frames_superseded,
        },
    )
    hold = _status(
        f"{node}: hold",
        node,
        DiagnosticStatus.WARN if status.hold else DiagnosticStatus.OK,
        status.hold_reason if status.hold else "none",
        {},
    )
    own = [link, hold, _step(node, watched)]
    return DiagnosticArray(status=[*own, *(_camera(node, camera, max_age_s) for camera in cameras)])


def _step(node: str, look: Look | None) -> DiagnosticStatus:
    if look is None:
        return _status(f"{node}: step", node, DiagnosticStatus.OK, "none is watched", {})
    words = f"{look.verdict.value}: {look.reason}" if look.reason else look.verdict.value
    values = {
        "score": f"{look.score:.3f}",
        "share of strange pixels": f"{look.strange:.4f}",
        "drifting looks in a row": look.drifting,
    }
    # a hint is no error
    level = DiagnosticStatus.WARN if look.verdict is Verdict.DRIFTING else DiagnosticStatus.OK
    return _status(f"{node}: step", node, level, words, values)


def _camera(node: str, camera: CameraState, max_age_s: float) -> DiagnosticStatus:
    level, words = DiagnosticStatus.OK, f"{camera.rate_hz:.1f} pictures a second"
    if math.isinf(camera.age_s):
        level, words = DiagnosticStatus.ERROR, "no picture yet; is its topic mapped?"
    elif camera.age_s > max_age_s:
        level, words = DiagnosticStatus.ERROR, f"silent for {camera.age_s:.1f} s"
    elif camera.trouble:
        level, words = DiagnosticStatus.ERROR, camera.trouble
    values = {
        "pictures a second": f"{camera.rate_hz:.2f}",
        "age of the newest, s": f"{camera.age_s:.3f}",
        "jumps of its clock": camera.clock_jumps,
    }
    return _status(f"{node}: camera {camera.name}", camera.name, level, words, values)


def _status(
    name: str, hardware: str, level: bytes, words: str, values: dict[str, object]
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=words, hardware_id=hardware, values=pairs)
