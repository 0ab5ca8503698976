"""Imagined keyframes beside a recording of the real scene: figures that need no simulator's state.

What each figure is stands at its field in `Figures`. What they are not:

- The camera must stand still and the light must not change; a recording in which too little stays
  still is refused. What moved in the recording is not background, be it arm or person.
- Nothing is recognised. An "object" is a distinct patch around a corner of the first picture; a patch
  that turns, is lit differently or is covered counts as lost. In the recording itself some are lost
  too: hence the row of the recording, and only differences from it say something.
- A plan that copies the first picture has the best background, permanence and sharpness there is. The
  row of the copy shows that; `changed_share` and `nearest_error` against `nearest_copy_error` are
  the figures it loses.
- No figure says whether a step is right, possible or safe. No threshold here was fitted to real
  scenes; the tests use pictures of the simulator. Figures of different recordings do not compare.

Pictures are [H, W, 3] uint8 RGB of one size; differences are in grey levels, 0 to 255.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Of a blurred pixel over the recording: less than that is noise, so the pixel stands still
STILL_LEVEL = 16
# A pixel that differs by more has changed
CHANGED_LEVEL = 24
_LEAST_STILL = 0.1  # share of pixels
_LEAST_FRAMES = 3
_PATCH = 15  # px, odd
_MOST_PATCHES = 60
_LEAST_PATCHES = 5
_SAME = 0.8  # normalised correlation from which a patch counts as found
_NEAR = 3  # px: found there, a patch has not moved


@dataclass(frozen=True)
class Figures:
    """One keyframe. None: it cannot be said."""

    # mean difference from the first recorded picture where the recording stands still
    background_error: float
    # shift of the whole picture against the first, px, by phase correlation of the still part
    shift_px: float
    # share of the first picture's patches found in place, found elsewhere, found nowhere
    kept: float | None
    moved: float | None
    lost: float | None
    # share of the patches found in place that are also found at a new place
    doubled: float | None
    # variance of the Laplacian of the still part, as a ratio to the first picture's
    sharpness: float
    # share of pixels that differ from the first picture
    changed_share: float
    # the recorded picture that is nearest, and the mean difference from it where it differs from the first
    nearest_frame: int
    nearest_error: float | None
    # the same difference for a copy of the first picture
    nearest_copy_error: float | None


@dataclass(frozen=True)
class Recording:
    """A recording made ready: `prepare` makes one."""

    frames: tuple[Picture, ...]
    # [H, W]: where every second picture, the first among them, shows no change
    still: Mask
    # centres (column, row) of distinct patches of the first picture
    patches: tuple[tuple[int, int], ...]
    # mean difference from the first picture in the still part, over the pictures that did not choose it
    floor: float

    @property
    def first(self) -> Picture:
        """What the planner saw."""
        return self.frames[0]


@dataclass(frozen=True)
class Comparison:
    """A series of keyframes against a recording."""

    steps: tuple[Figures, ...]
    # growth of background_error a step, by least squares; None with one keyframe
    background_drift: float | None
    # each keyframe's nearest recorded picture is not before that of the keyframe before it
    in_order: bool

    def mean(self, name: str) -> float | None:
        """Mean of a figure over the keyframes that have it."""
        values = [value for step in self.steps if (value := getattr(step, name)) is not None]
        return float(np.mean(values)) if values else None


NAMES = tuple(field.name for field in fields(Figures) if field.name != "nearest_frame")


def prepare(frames: Sequence[Picture]) -> Recording:
    """Find what stands still and what can be followed.

    Raises:
        ValueError: too few pictures, or the camera moved.
    """
    if len(frames) < _LEAST_FRAMES:
        raise ValueError(f"{len(frames)} recorded pictures; expected {_LEAST_FRAMES} or more")
    soft = [cv2.GaussianBlur(frame, (3, 3), 0).astype(np.int16) for frame in frames[::2]]
    span = np.max(soft, axis=0) - np.min(soft, axis=0)
    still = (span.max(axis=2) <= STILL_LEVEL).astype(np.uint8)
    still = cv2.erode(still, np.ones((5, 5), np.uint8)).astype(bool)
    if still.mean() < _LEAST_STILL:
        raise ValueError(
            f"only {still.mean():.0%} of the recording stands still, expected {_LEAST_STILL:.0%} or more: "
            f"the camera moved, or the light changed"
        )
    floor = float(np.mean([_difference(frame, frames[0])[still].mean() for frame in frames[1::2]]))
    return Recording(tuple(frames), still, tuple(_distinct_patches(frames[0])), floor)


def compare(recording: Recording, keyframes: Sequence[Picture]) -> Comparison:
    """Figures of keyframes, in the order of the plan. ValueError: none, or one of another size."""
    if not keyframes:
        raise ValueError("no keyframe to compare")
    for number, keyframe in enumerate(keyframes, 1):
        if keyframe.shape != recording.first.shape:
            raise ValueError(
                f"keyframe {number} has the shape {keyframe.shape}, the recording {recording.first.shape}"
            )
    steps = tuple(_measure(recording, keyframe) for keyframe in keyframes)
    errors, nearest = [step.background_error for step in steps], [step.nearest_frame for step in steps]
    drift = float(np.polyfit(np.arange(len(errors)), errors, 1)[0]) if len(errors) > 1 else None
    return Comparison(steps, drift, nearest == sorted(nearest))


def controls(recording: Recording, count: int) -> dict[str, Comparison]:
    """What stands beside a plan of `count` keyframes: a copy, and the recording as if it were imagined."""
    places = np.linspace(0, len(recording.frames) - 1, count + 1).round().astype(int)[1:]
    return {
        "copy of the first picture": compare(recording, [recording.first] * count),
        "the recording itself": compare(recording, [recording.frames[place] for place in places]),
    }


def _measure(recording: Recording, keyframe: Picture) -> Figures:
    first, still = recording.first, recording.still
    errors = [float(_difference(frame, keyframe).mean()) for frame in recording.frames]
    nearest = int(np.argmin(errors))
    region = _changed(recording.frames[nearest], first)
    found = _find_patches(recording, keyframe)
    return Figures(
        background_error=float(_difference(keyframe, first)[still].mean()),
        shift_px=_shift(first, keyframe, still),
        **found,
        sharpness=_sharpness(keyframe, still) / max(_sharpness(first, still), 1e-9),
        changed_share=float(_changed(keyframe, first).mean()),
        nearest_frame=nearest,
        nearest_error=_mean_in(region, recording.frames[nearest], keyframe),
        nearest_copy_error=_mean_in(region, recording.frames[nearest], first),
    )


def _difference(one: Picture, other: Picture) -> NDArray[np.int16]:
    return np.abs(one.astype(np.int16) - other)


def _changed(one: Picture, other: Picture) -> Mask:
    changed: Mask = _difference(one, other).max(axis=2) > CHANGED_LEVEL
    return changed


def _mean_in(region: Mask, one: Picture, other: Picture) -> float | None:
    return float(_difference(one, other)[region].mean()) if region.any() else None


def _grey(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def _sharpness(picture: Picture, still: Mask) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) in the still part."""
    return float(cv2.Laplacian(_grey(picture), cv2.CV_32F)[still].var())


def _shift(first: Picture, keyframe: Picture, still: Mask) -> float:
    """Length in px of the displacement by phase correlation; what moved is flat in both."""
    one, other = (
        np.where(still, _grey(p), _grey(p)[still].mean()).astype(np.float32) for p in (first, keyframe)
    )
    window = cv2.createHanningWindow((one.shape[1], one.shape[0]), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(one, other, window)
    return float(np.hypot(x, y))


def _distinct_patches(first: Picture) -> list[tuple[int, int]]:
    """Corners whose patch is found once in the picture: there, and nowhere else."""
    grey, half = _grey(first).astype(np.uint8), _PATCH // 2
    corners = cv2.goodFeaturesToTrack(grey, _MOST_PATCHES, 0.02, _PATCH // 2)
    found = []
    for x, y in np.rint(corners[:, 0]).astype(int) if corners is not None else []:
        inside = half <= x < grey.shape[1] - half and half <= y < grey.shape[0] - half
        if inside and len(_peaks(_match(first, first, (x, y)))) == 1:
            found.append((int(x), int(y)))
    return found


def _find_patches(recording: Recording, keyframe: Picture) -> dict[str, float | None]:
    if len(recording.patches) < _LEAST_PATCHES:
        return dict.fromkeys(("kept", "moved", "lost", "doubled"))
    kept = moved = doubled = 0
    for x, y in recording.patches:
        peaks = _peaks(_match(recording.first, keyframe, (x, y)))
        near = [max(abs(px - x), abs(py - y)) <= _NEAR for px, py in peaks]
        kept += any(near)
        moved += bool(peaks) and not any(near)
        doubled += any(near) and not all(near)
    count = len(recording.patches)
    return {
        "kept": kept / count,
        "moved": moved / count,
        "lost": 1 - (kept + moved) / count,
        "doubled": doubled / kept if kept else None,
    }


def _match(first: Picture, picture: Picture, centre: tuple[int, int]) -> NDArray[np.float32]:
    """Normalised correlation of the first picture's patch with each place, [H - 14, W - 14]."""
    (x, y), half = centre, _PATCH // 2
    patch = first[y - half : y + half + 1, x - half : x + half + 1]
    return np.asarray(cv2.matchTemplate(picture, patch, cv2.TM_CCOEFF_NORMED), np.float32)


def _peaks(scores: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Centres (column, row) of the places that are best within a patch, and good enough."""
    best = cv2.dilate(scores, np.ones((_PATCH, _PATCH), np.uint8))
    rows, columns = np.nonzero((scores >= _SAME) & (scores == best))
    half = _PATCH // 2
    return [(int(x) + half, int(y) + half) for y, x in zip(rows, columns, strict=True)]
