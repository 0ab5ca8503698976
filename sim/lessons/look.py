"""What stands where in a picture of which nothing is known: paint, blobs, places, kinds.

Paint is told by hue, a thing is a blob of one paint that both views show, its place is where the two
rays meet, its kind the outline that fits best. Good for things that stand apart; what another thing
hides is left out of the comparison. Cameras are the nominal ones: their jitter makes places uncertain
by about a centimetre. Knows no words and no simulator.
"""

import itertools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.camera import View, nominal_views
from sim.lessons import silhouettes
from sim.lessons.lesson import Picture
from sim.lessons.silhouettes import Mask
from sim.scene import COLOURS

# Paint: at least so much colour, 0 to 1, in something at least so bright
_SATURATION, _VALUE = 0.5, 0.12
# px: a blob of fewer is an edge or noise
LEAST_PX = 24
# px: and a thing has a square of that side in it; the edge between two paints, where they mix, has none
_CORE_PX = 5
# px: corners are as round as a painter's, in pictures and outlines alike
_ROUND_PX = 0.8
_MARGIN_PX = 7  # how far an outline may be shifted to fit
# things of a colour: more is no picture of ours, and pairings grow as the factorial
_MOST = 4
_MEET_M = 0.025  # how near two rays must pass
Point = tuple[float, float, float]

Paint = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Blob:
    """Pixels of one paint that hang together, in one view."""

    # [H, W]
    mask: Mask
    # column, row
    centre: tuple[float, float]

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Found:
    """A thing that both views show."""

    colour: str
    kind: str
    # its middle, world frame, m
    position: tuple[float, float, float]
    # how well its outline fits, 0 to 1
    fit: float


def _hues() -> NDArray[np.float32]:
    rgb = np.array([list(COLOURS.values())], np.float32)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[0, :, 0], np.float32)


_HUES = _hues()
_NAMES = tuple(COLOURS)


def paint_of(picture: Picture) -> Paint:
    """For each pixel the number of its paint in COLOURS; -1: none. [H, W]."""
    hsv = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    apart = np.abs(hue[..., None] - _HUES)
    nearest = np.minimum(apart, 360 - apart).argmin(axis=2)
    return np.where((saturation > _SATURATION) & (value > _VALUE), nearest, -1).astype(np.int8)


def split(paint: Paint) -> list[Paint]:
    """The two views of a picture, which stand side by side."""
    return np.split(paint, 2, axis=1)


def blobs(paint: Paint, colour: str) -> list[Blob]:
    """Blobs of a colour in one view, the largest first."""
    mask = (paint == _NAMES.index(colour)).astype(np.uint8)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    found = [
        Blob(labels == index, (float(centres[index][0]), float(centres[index][1])))
        for index in range(1, count)
        if stats[index, cv2.CC_STAT_AREA] >= LEAST_PX
    ]
    return sorted((blob for blob in found if _has_core(blob.mask)), key=lambda blob: -blob.area)


def _has_core(mask: Mask) -> bool:
    square = np.ones((_CORE_PX, _CORE_PX), np.uint8)
    return bool(cv2.erode(mask.astype(np.uint8), square).any())


def _rounded(mask: Mask) -> NDArray[np.float32]:
    """The mask without its sharp corners, 0 and 1."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), _ROUND_PX)
    return (soft > 0.5).astype(np.float32)


def whole(paint: Paint, colour: str) -> Blob | None:
    """All pixels of a colour as one blob: a container is split by what it holds. None: too few."""
    mask = paint == _NAMES.index(colour)
    if mask.sum() < LEAST_PX:
        return None
    rows, columns = np.nonzero(mask)
    return Blob(mask, (float(columns.mean()), float(rows.mean())))


def colours_in(picture: Picture) -> tuple[str, ...]:
    """Colours of which a view shows a blob."""
    views = split(paint_of(picture))
    return tuple(c for c in COLOURS if any(blobs(view, c) for view in views))


def find_items(picture: Picture, colour: str) -> list[Found] | None:
    """The blocks and cylinders of a colour; None: the views show different numbers of them or too many, or
    they do not meet.
    """
    paints = split(paint_of(picture))
    views = nominal_views()
    fronts, sides = (blobs(paint, colour) for paint in paints)
    if len(fronts) != len(sides) or len(fronts) > _MOST:
        return None
    best: list[tuple[float, Point]] | None = None
    for order in itertools.permutations(sides):
        met = [meet(views, (a.centre, b.centre)) for a, b in zip(fronts, order, strict=True)]
        if best is None or sum(m[0] for m in met) < sum(m[0] for m in best):
            best, paired = met, list(zip(fronts, order, strict=True))
    found = []
    for (apart, position), pair in zip(best or [], paired if best else [], strict=True):
        if apart > _MEET_M:
            return None
        foot = (position[0], position[1], position[2] - silhouettes.SIZE_M / 2)
        kind, fit = _best_kind(paints, pair, foot, silhouettes.KINDS)
        found.append(Found(colour, kind, position, fit))
    return found


def find_container(picture: Picture, colour: str) -> Found | None:
    """The tray, box, bowl or zone of a colour, all of its pixels taken together; None: there is none."""
    paints = split(paint_of(picture))
    parts = [whole(paint, colour) for paint in paints]
    if parts[0] is None or parts[1] is None:
        return None
    pair = (parts[0], parts[1])
    # hulls: what it holds makes holes, which would pull the middle aside
    middles = [_middle_of_box(blob.mask) for blob in pair]
    _, (x, y, _) = meet(nominal_views(), (middles[0], middles[1]))
    kind, fit = _best_kind(paints, pair, (x, y, 0.0), silhouettes.KINDS)
    return Found(colour, kind, (x, y, 0.0), fit)


def meet(
    views: tuple[View, ...], pixels: tuple[tuple[float, float], tuple[float, float]]
) -> tuple[float, tuple[float, float, float]]:
    """Where the rays through two pixels (column, row) pass nearest: how far apart, and the middle, m."""
    (o1, d1), (o2, d2) = (_ray(view, pixel) for view, pixel in zip(views, pixels, strict=True))
    system = np.column_stack((d1, -d2))
    (s, t), *_ = np.linalg.lstsq(system, o2 - o1, rcond=None)
    a, b = o1 + s * d1, o2 + t * d2
    middle = (a + b) / 2
    return float(np.linalg.norm(a - b)), (float(middle[0]), float(middle[1]), float(middle[2]))


def _ray(view: View, pixel: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pose, k = view.world_from_optical(), view.camera.k
    # a pixel's middle is half a pixel from its corner
    own = np.array([(pixel[0] + 0.5 - k[2]) / k[0], (pixel[1] + 0.5 - k[5]) / k[4], 1.0])
    return pose[:3, 3], pose[:3, :3] @ own


def _middle_of_box(mask: Mask) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.min() + columns.max()) / 2, float(rows.min() + rows.max()) / 2


def _best_kind(
    paints: list[Paint], pair: tuple[Blob, Blob], foot: Point, kinds: tuple[str, ...]
) -> tuple[str, float]:
    """The kind whose outline fits the blobs of both views best, and how well."""
    crops = [_Crop(paint, blob) for paint, blob in zip(paints, pair, strict=True)]
    best = ("", -math.inf)
    for kind in kinds:
        sizes = silhouettes.SIZES_M if kind in silhouettes.ITEMS else (0.0,)
        for yaw, size in itertools.product(silhouettes.turns(kind), sizes):
            points = silhouettes.corners(kind, yaw, size)
            fits = [
                crop.fit(silhouettes.outline(view, points, foot))
                for crop, view in zip(crops, nominal_views(), strict=True)
            ]
            if (fit := sum(fits) / 2) > best[1]:
                best = (kind, fit)
    return best


class _Crop:
    """A blob and what is around it, for comparison with outlines."""

    def __init__(self, paint: Paint, blob: Blob) -> None:
        rows, columns = np.nonzero(blob.mask)
        margin = 2 * _MARGIN_PX
        self.origin = (max(columns.min() - margin, 0), max(rows.min() - margin, 0))
        window = np.s_[self.origin[1] : rows.max() + margin + 1, self.origin[0] : columns.max() + margin + 1]
        own = blob.mask[window]
        # other paint hides what is behind it, or is another thing of the same paint
        seen = own | (paint[window] < 0)
        self.shape = own.shape
        pad = ((_MARGIN_PX, _MARGIN_PX), (_MARGIN_PX, _MARGIN_PX))
        self.own = _rounded(np.pad(own, pad))
        self.seen = np.pad(seen, pad, constant_values=True).astype(np.float32)
        self.area = float(self.own.sum())

    def fit(self, pixels: NDArray[np.float32]) -> float:
        """Best share of the union that outline and blob have in common, over small shifts."""
        template = _rounded(silhouettes.filled(pixels, self.shape, self.origin))
        if not template.any():
            return 0.0
        common = cv2.matchTemplate(self.own, template, cv2.TM_CCORR)
        visible = cv2.matchTemplate(self.seen, template, cv2.TM_CCORR)
        return float((common / (visible + self.area - common)).max())
