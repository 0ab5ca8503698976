"""Shards as the simulator writes them, with lossless WebP in place of PNG: less than half the size.

The layout is that of a run (`sim.data`), so EpisodeReader and the trainings read it as it is. A
line's offsets are those of the WebP pictures; all else in it is the source's.
"""

import json
from collections.abc import Iterator

import cv2

from sim.export.target import Target
from sim.shards import Line, Picture, Run, Shard

_LOSSLESS = 101  # OpenCV: a quality above 100


def encode(rgb: Picture) -> bytes:
    """[H, W, 3] uint8 RGB to WebP without loss."""
    ok, data = cv2.imencode(".webp", rgb[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS])
    if not ok:
        raise ValueError(f"OpenCV cannot write a WebP of shape {rgb.shape}")
    return data.tobytes()


class WebpExport:
    """See the module."""

    about = (
        "`shard-XXXXX.frames` holds the pictures, lossless WebP one after the other (front view left, side\n"
        "view right); `shard-XXXXX.jsonl` holds a record a line, its `frames` being (offset, length) in\n"
        "that file. `sim.data.EpisodeReader` reads the folder as it is."
    )

    card_head = ""

    def __init__(self, run: Run, target: Target) -> None:
        self.run, self.target = run, target

    def has(self, shard: Shard) -> bool:
        """Whether a shard is there and whole."""
        here = self._here(shard)
        return here.frames_path.exists() and here.lines_path.exists()

    def write(self, shard: Shard) -> None:
        """Write one shard; the lines appear last."""
        here, part = self._here(shard), Shard(self.target.parts, shard.index)
        with part.frames_path.open("wb") as frames, part.lines_path.open("w", encoding="ascii") as lines:
            for line in shard.lines():
                places = []
                for picture in shard.pictures(line):
                    data = encode(picture)
                    places.append((frames.tell(), len(data)))
                    frames.write(data)
                lines.write(json.dumps({**line, "frames": places}) + "\n")
        self.target.keep(part.frames_path, here.frames_path)
        self.target.keep(part.lines_path, here.lines_path)

    def finish(self) -> None:
        """Write the counts, which tell a reader that no shard will follow."""
        self.target.write_text("counts.json", json.dumps(self.run.counts) + "\n")

    def restore(self, shard: Shard) -> Iterator[tuple[Line, list[Picture]]]:
        """The records of a shard, read back from the export."""
        here = self._here(shard)
        for line in here.lines():
            yield line, here.pictures(line)

    def _here(self, shard: Shard) -> Shard:
        return Shard(self.target.folder, shard.index)
