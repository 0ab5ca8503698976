"""The robots: one file each, one registry. A scene names its robot; nothing else about it differs."""

from sim.robots.base import Robot
from sim.robots.kuka import Kuka
from sim.robots.mobile import Mobile
from sim.robots.panda import Panda
from sim.robots.xarm import XArm

ROBOTS: dict[str, type[Robot]] = {robot.name: robot for robot in (Panda, Kuka, XArm, Mobile)}
DEFAULT = "panda"


def known(name: str) -> str:
    """The name, if there is a robot called so.

    Raises:
        ValueError: there is none.
    """
    if name not in ROBOTS:
        raise ValueError(f"unknown robot {name!r}; expected one of {', '.join(ROBOTS)}")
    return name


def chosen(word: str) -> tuple[str, ...]:
    """The robots that a command's word asks for: one by its name, or "all".

    Raises:
        ValueError: no such robot.
    """
    return tuple(ROBOTS) if word == "all" else (known(word),)
