"""One PyBullet client, headless; every call through it names that client. Knows no robot and no scene."""

import functools
from typing import Any

import pybullet


class Bullet:
    """`bullet.stepSimulation()` is `pybullet.stepSimulation(physicsClientId=...)`, and so for every call."""

    def __init__(self) -> None:
        self.client: int = pybullet.connect(pybullet.DIRECT)
        if self.client < 0:
            raise RuntimeError("PyBullet gave no client: too many worlds are open; close some")

    def __getattr__(self, name: str) -> Any:
        value = getattr(pybullet, name)
        if callable(value):
            value = functools.partial(value, physicsClientId=self.client)
        self.__dict__[name] = value
        return value

    def close(self) -> None:
        """End the client; the object is of no use afterwards."""
        if self.client >= 0:
            pybullet.disconnect(physicsClientId=self.client)
            self.client = -1
