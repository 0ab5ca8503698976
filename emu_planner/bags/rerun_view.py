"""A session in the Rerun viewer: pictures, keyframes, and words on a timeline.

Needs the package rerun-sdk, which nothing else here does.
"""

from typing import Any

from emu_planner.bags import topics
from emu_planner.bags.read import Bag
from emu_planner.bags.session import Session
from emu_planner.bags.timeline import lines_of
from emu_planner.ros.convert import image_to_frame

_PNG_MAGIC = b"\x89PNG"
_TIMELINE = "received"


def view(bag: Bag, session: Session, file: str) -> None:
    """Open the viewer, or write a file for it.

    Args:
        bag: an open one.
        session: what was read from it.
        file: name of the file, .rrd; empty: open the viewer.

    Raises:
        ValueError: rerun-sdk is not installed.
    """
    try:
        import rerun as rr
    except ModuleNotFoundError as error:
        if error.name != "rerun":
            raise  # it is there, and lacks something itself
        raise ValueError("--rerun needs the package rerun-sdk; run: pip install rerun-sdk") from error
    rr.init("emu_planner", spawn=not file)
    if file:
        rr.save(file)
    for entry in lines_of(session):
        _at(rr, entry.stamp_ns)
        rr.log(f"words/{entry.what}", rr.TextLog(entry.words, level=rr.TextLogLevel.INFO))
    pictures = {
        session.topic(camera.image_topic): camera.name
        for goal in session.goals[:1]
        for camera in session.parameters(goal.stamp_ns).cameras
    }
    keyframe = session.topic(f"{topics.NODE}/keyframe/compressed")
    for topic, stamp_ns, message in bag.messages([*pictures, keyframe]):
        _at(rr, stamp_ns)
        name = "keyframe" if topic == keyframe else f"cameras/{pictures[topic]}"
        rr.log(name, _picture(rr, message))
    rr.disconnect()


def _at(rr: Any, stamp_ns: int) -> None:
    rr.set_time(_TIMELINE, timestamp=stamp_ns * 1e-9)


def _picture(rr: Any, message: Any) -> Any:
    if hasattr(message, "encoding"):
        return rr.Image(image_to_frame(message, "").rgb)
    data = bytes(message.data)
    kind = "image/png" if data.startswith(_PNG_MAGIC) else "image/jpeg"
    return rr.EncodedImage(contents=data, media_type=kind)
