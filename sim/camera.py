"""The two calibrated cameras and the light: what a scene looks like from `front` and from `side`.

TinyRenderer only (no GL), no shadows: the same scene gives the same bytes on every machine.
Knows bodies only through the Bullet client.
"""

import math
from dataclasses import dataclass

import numpy as np
import pybullet
from numpy.typing import NDArray

from emu_planner.plan.frame import Camera, Frame
from sim.bullet import Bullet

SIZE = 192  # px, each view is square
VIEWS = ("front", "side")
_NEAR, _FAR = 0.1, 4.0  # m
# Name, eye and target in metres, angle in degrees: the workspace and the carried object, no more
_NOMINAL = (
    ("front", (1.40, 0.0, 0.90), (0.485, 0.0, 0.078), 27.0),
    ("side", (0.50, -1.10, 0.78), (0.50, -0.02, 0.073), 25.5),
)


@dataclass(frozen=True)
class View:
    """A pinhole camera that stands still. World frame: see scene.py."""

    name: str
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    # full angle of view, degrees, the same in both directions
    fov_deg: float

    @property
    def camera(self) -> Camera:
        """The camera as a plan noun, with its intrinsics K in pixels."""
        focal = SIZE / 2 / math.tan(math.radians(self.fov_deg) / 2)
        k = (focal, 0.0, SIZE / 2, 0.0, focal, SIZE / 2, 0.0, 0.0, 1.0)
        return Camera(self.name, SIZE, SIZE, f"{self.name}_optical", k)

    def world_from_optical(self) -> NDArray[np.float64]:
        """Pose [4, 4] of the optical frame (z forward, x right, y down) in the world frame."""
        eye, target = np.array(self.eye), np.array(self.target)
        forward = (target - eye) / np.linalg.norm(target - eye)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        pose[:3, 3] = eye
        return pose

    def project(self, point: tuple[float, float, float]) -> tuple[float, float]:
        """Pixel (column, row) of a world point in metres, by the pinhole model."""
        pose, k = self.world_from_optical(), self.camera.k
        x, y, z = pose[:3, :3].T @ (np.array(point) - pose[:3, 3])
        return float(k[0] * x / z + k[2]), float(k[4] * y / z + k[5])


@dataclass(frozen=True)
class Look:
    """Everything about a scene's pictures that is no object."""

    views: tuple[View, ...]
    table_rgb: tuple[float, float, float]
    light_direction: tuple[float, float, float]
    light_rgb: tuple[float, float, float]
    ambient: float
    diffuse: float


def nominal_views() -> tuple[View, ...]:
    """The two cameras without jitter: what is known of a picture of which nothing is known."""
    return tuple(View(*nominal) for nominal in _NOMINAL)


def draw_look(rng: np.random.Generator) -> Look:
    """A random look: camera poses jitter by about a centimetre, light and table vary widely."""
    views = []
    for name, eye, target, fov_deg in _NOMINAL:
        eye_jitter, target_jitter = rng.uniform(-0.015, 0.015, 3), rng.uniform(-0.008, 0.008, 3)
        views.append(
            View(
                name,
                tuple(float(v) for v in np.array(eye) + eye_jitter),  # type: ignore[arg-type]
                tuple(float(v) for v in np.array(target) + target_jitter),  # type: ignore[arg-type]
                fov_deg + float(rng.uniform(-0.4, 0.4)),
            )
        )
    grey = rng.uniform(0.40, 0.80)
    tint = rng.uniform(-0.07, 0.07, 3)
    warmth = rng.uniform(-0.05, 0.05)
    bearing, height = rng.uniform(-math.pi, math.pi), rng.uniform(0.8, 1.6)
    return Look(
        tuple(views),
        tuple(float(v) for v in np.clip(grey + tint, 0.3, 0.85)),  # type: ignore[arg-type]
        (math.cos(bearing), math.sin(bearing), float(height)),
        (1.0 + min(warmth, 0.0), 1.0 - abs(warmth) / 2, 1.0 - max(warmth, 0.0)),
        float(rng.uniform(0.50, 0.65)),
        float(rng.uniform(0.30, 0.45)),
    )


def render(bullet: Bullet, view: View, look: Look, stamp_s: float = 0.0) -> Frame:
    """What one camera sees now: a Frame of [192, 192, 3] uint8."""
    view_matrix = pybullet.computeViewMatrix(view.eye, view.target, (0, 0, 1))
    projection = pybullet.computeProjectionMatrixFOV(view.fov_deg, 1.0, _NEAR, _FAR)
    image = bullet.getCameraImage(
        SIZE,
        SIZE,
        view_matrix,
        projection,
        lightDirection=look.light_direction,
        lightColor=look.light_rgb,
        lightAmbientCoeff=look.ambient,
        lightDiffuseCoeff=look.diffuse,
        lightSpecularCoeff=0.0,
        shadow=0,
        renderer=pybullet.ER_TINY_RENDERER,
        flags=pybullet.ER_NO_SEGMENTATION_MASK,
    )
    rgba = np.asarray(image[2], dtype=np.uint8).reshape(SIZE, SIZE, 4)
    return Frame(np.ascontiguousarray(rgba[:, :, :3]), view.name, stamp_s)
