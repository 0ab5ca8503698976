"""Draw the simulator's robots side by side, each with something in its gripper: docs/robots.png.

python tools/draw_robots.py
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import pybullet
from numpy.typing import NDArray

from sim import robots
from sim.oracle import next_skill
from sim.world import World

_FAMILY, _SEED = "container", 12
_EYE, _TARGET, _FOV_DEG = (1.35, -1.15, 0.85), (0.12, 0.0, 0.26), 46.0  # m, m
_SIZE = 360  # px, each portrait is square
_FINER = 2  # drawn so many times larger, then averaged


def portrait(world: World, name: str) -> NDArray[np.uint8]:
    """One robot after its first skill in a scene: [_SIZE, _SIZE, 3] uint8 RGB."""
    scene = world.reset(_FAMILY, _SEED, name)
    skill = next_skill(scene.goal, world.state())
    if skill is None or not world.execute(skill).ok:
        raise RuntimeError(f"{name} cannot begin {scene.instruction!r}")
    size = _SIZE * _FINER
    image = world.bullet.getCameraImage(
        size,
        size,
        pybullet.computeViewMatrix(_EYE, _TARGET, (0, 0, 1)),
        pybullet.computeProjectionMatrixFOV(_FOV_DEG, 1.0, 0.1, 6.0),
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
    )
    rgb = np.asarray(image[2], dtype=np.uint8).reshape(size, size, 4)[:, :, :3]
    return np.asarray(cv2.resize(rgb, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def main(argv: list[str] | None = None) -> int:
    """Draw all robots in a row."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "robots.png")
    args = parser.parse_args(argv)
    with World() as world:
        row = np.concatenate([portrait(world, name) for name in robots.ROBOTS], axis=1)
    if not cv2.imwrite(str(args.out), row[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9]):
        raise OSError(f"cannot write {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
