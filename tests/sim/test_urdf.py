"""Light URDFs: coarse meshes keep their shape, and what is missing is named."""

from pathlib import Path

import numpy as np
import pytest

from sim.robots import urdf


def _stl(path: Path, triangles: np.ndarray) -> Path:
    rows = np.zeros((len(triangles), 50), np.uint8)
    rows[:, 12:48] = triangles.astype("<f4").reshape(len(triangles), 9).view(np.uint8)
    path.write_bytes(bytes(80) + len(triangles).to_bytes(4, "little") + rows.tobytes())
    return path


def _sheet(count: int) -> np.ndarray:
    """A square of 1 m in count x count cells of two triangles each."""
    cells = []
    for i in range(count):
        for j in range(count):
            a, b, c, d = ((i + u, j + v, 0) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)))
            cells += [(a, b, c), (a, c, d)]
    return np.array(cells, float) / count


def _area(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.cross(b - a, c - a)[:, 2].sum() / 2)


def test_clustering_keeps_the_outline_with_far_fewer_triangles(tmp_path: Path) -> None:
    triangles = urdf.read_stl(str(_stl(tmp_path / "sheet.stl", _sheet(20))))
    assert triangles.shape == (800, 3, 3)
    vertices, faces = urdf.cluster(triangles, 0.1)
    assert len(faces) < 300
    # all triangles still face up, and together cover the sheet up to a cell at its rim
    assert 0.8 < _area(vertices, faces) <= 1.0
    assert len(np.unique(np.sort(faces, axis=1), axis=0)) == len(faces)


def test_a_grid_finer_than_the_mesh_changes_nothing(tmp_path: Path) -> None:
    triangles = _sheet(4)
    vertices, faces = urdf.cluster(triangles, 0.01)
    assert (len(vertices), len(faces)) == (25, 32)
    assert _area(vertices, faces) == pytest.approx(1.0)


def test_what_is_no_binary_stl_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.stl"
    path.write_text("solid " + "x" * 200)
    with pytest.raises(ValueError, match="no binary STL"):
        urdf.read_stl(str(path))


def test_missing_files_and_parts_are_named() -> None:
    with pytest.raises(RuntimeError, match="no ur5/ur5.urdf"):
        urdf.read("ur5/ur5.urdf")
    with pytest.raises(RuntimeError, match="lbr_iiwa has no joint elbow"):
        urdf.find(urdf.read("kuka_iiwa/model.urdf"), "joint", "elbow")
