"""Light copies of pybullet_data's URDFs: coarse visual meshes, extra links, written once a process.

TinyRenderer's time goes with the triangles: collision meshes, or vertices merged on a grid, render
several times as fast as the visual meshes. Knows XML and triangles; no physics.
"""

import copy
import functools
import os
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pybullet_data
from numpy.typing import NDArray

Element = ET.Element


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Where the light files are; it goes when Python ends."""
    return tempfile.TemporaryDirectory(prefix="emu_sim_")


def read(path: str) -> Element:
    """Root of a URDF of pybullet_data, with absolute mesh paths."""
    source = Path(pybullet_data.getDataPath()) / path
    if not source.exists():
        raise RuntimeError(f"pybullet_data has no {path}; install pybullet 3.2.5 or later")
    root = ET.parse(source).getroot()
    for mesh in root.iter("mesh"):
        name = mesh.get("filename", "").removeprefix("package://")
        mesh.set("filename", str(source.parent / name))
    return root


def write(root: Element, name: str) -> str:
    """Write a URDF for this process; returns its path."""
    path = os.path.join(_folder().name, f"{name}.urdf")
    ET.ElementTree(root).write(path)
    return path


def find(root: Element, path: str, name: str = "") -> Element:
    """The element at a path ("link", "joint"), of that name. RuntimeError: this pybullet_data has none."""
    found = root.find(f"{path}[@name='{name}']" if name else path)
    if found is None:
        raise RuntimeError(f"this pybullet_data's {root.get('name')} has no {path} {name}")
    return found


def show_collisions(root: Element, colour_of: Callable[[str], str]) -> None:
    """Make each link's visual what its collision is, in one colour ("r g b a")."""
    for link in root.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        name = link.get("name", "")
        for collision in link.findall("collision"):
            visual = ET.SubElement(link, "visual")
            visual.extend(copy.deepcopy(part) for part in collision if part.tag in ("origin", "geometry"))
            paint(visual, name, colour_of(name))


def paint(visual: Element, name: str, rgba: str) -> None:
    """Give a visual its colour."""
    material = ET.SubElement(visual, "material", name=f"{name}_paint")
    ET.SubElement(material, "color", rgba=rgba)


def add_link(root: Element, name: str, mass: float, inertia: float = 0.01) -> Element:
    """A new link; its centre of mass is its frame's origin."""
    link = ET.SubElement(root, "link", name=name)
    if mass > 0:
        inertial = ET.SubElement(link, "inertial")
        ET.SubElement(inertial, "origin", xyz="0 0 0", rpy="0 0 0")
        ET.SubElement(inertial, "mass", value=str(mass))
        diagonal = {axis: str(inertia) for axis in ("ixx", "iyy", "izz")}
        ET.SubElement(inertial, "inertia", {"ixy": "0", "ixz": "0", "iyz": "0", **diagonal})
    return link


def add_joint(
    root: Element,
    name: str,
    kind: str,
    parent: str,
    child: str,
    *,
    xyz: str = "0 0 0",
    axis: str = "0 0 1",
    limits: tuple[float, float] = (-10.0, 10.0),
) -> Element:
    """A new joint ("fixed", "prismatic", "revolute")."""
    joint = ET.SubElement(root, "joint", name=name, type=kind)
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    ET.SubElement(joint, "origin", xyz=xyz, rpy="0 0 0")
    if kind != "fixed":
        ET.SubElement(joint, "axis", xyz=axis)
        lower, upper = limits
        ET.SubElement(joint, "limit", lower=str(lower), upper=str(upper), effort="1000", velocity="10")
    return joint


def add_shape(link: Element, kind: str, *, xyz: str = "0 0 0", rpy: str = "0 0 0", **size: str) -> Element:
    """A "visual" or "collision": box (size="x y z"), cylinder (length, radius) or mesh (filename)."""
    shape = ET.SubElement(link, kind)
    ET.SubElement(shape, "origin", xyz=xyz, rpy=rpy)
    geometry = ET.SubElement(shape, "geometry")
    tag = "box" if "size" in size else "mesh" if "filename" in size else "cylinder"
    ET.SubElement(geometry, tag, size)
    return shape


# ---- coarse meshes


def coarsen(root: Element, grid: float) -> None:
    """Replace the STL meshes of all visuals by coarse copies."""
    for mesh in root.iterfind("link/visual/geometry/mesh"):
        path = mesh.get("filename", "")
        if path.lower().endswith(".stl"):
            mesh.set("filename", coarse_mesh(path, grid))


def coarse_mesh(path: str, grid: float) -> str:
    """Path of a coarse copy of a binary STL: vertices within a cell of `grid` metres become one.

    Source: Rossignac and Borrel 1993, vertex clustering; here the cell's mean stands for it.
    """
    source = Path(path)
    out = os.path.join(_folder().name, f"{source.parent.parent.name}_{source.stem}_{round(grid * 1e4)}.obj")
    if not os.path.exists(out):
        vertices, faces = cluster(read_stl(path), grid)
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
        Path(out).write_text("\n".join(lines) + "\n", encoding="ascii")
    return out


def read_stl(path: str) -> NDArray[np.float64]:
    """Triangles [n, 3, 3] of a binary STL, m. ValueError: no such file."""
    data = Path(path).read_bytes()
    count = int.from_bytes(data[80:84], "little")
    if len(data) != 84 + 50 * count:
        raise ValueError(f"{path} is no binary STL: {len(data)} bytes for {count} triangles")
    rows = np.frombuffer(data, np.uint8, offset=84).reshape(count, 50)
    return rows[:, 12:48].copy().view("<f4").reshape(count, 3, 3).astype(np.float64)


def cluster(triangles: NDArray[np.float64], grid: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge vertices [n, 3, 3] on a grid; returns vertices [v, 3] and faces [f, 3], no face twice."""
    points = triangles.reshape(-1, 3)
    _, cell = np.unique(np.floor(points / grid).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    counts = np.bincount(cell)
    vertices = np.stack([np.bincount(cell, points[:, axis]) / counts for axis in range(3)], axis=1)
    faces = cell.reshape(-1, 3)
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    faces = faces[whole]
    # the same three corners in the same sense are one face
    first = np.argmin(faces, axis=1)
    turned = np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, axis=1)
    return vertices, np.unique(turned, axis=0)
