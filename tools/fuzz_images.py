"""Pictures that a coverage-guided fuzzer makes, through the decoder that the service uses.

    pip install atheris==3.0.0
    python tools/fuzz_images.py -max_total_time=600 -rss_limit_mb=1024 corpus/

Atheris is not among the requirements (130 MB). It sees the branches of wire/images.py, not those of
OpenCV's decoders, which are compiled. Every input has to end as a picture of its declared size, or as a
PlanError INVALID_REQUEST; anything else ends the run and leaves a crash-... file. Options are libFuzzer's.
tools/fuzz_wire.py tries pictures too, without guidance.
"""

import sys
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["emu_planner.wire.images"]):
    from emu_planner.wire.images import Encoding, decode_image, encode_image, jpeg_size, png_size

from emu_planner.plan import ErrorCode, PlanError

MAX_PIXELS = 1_000_000


def one_picture(data: bytes) -> None:
    """Decode what the fuzzer made. RuntimeError: it ended as nothing may."""
    encoding, measure = (Encoding.PNG, png_size) if data[:1] == b"\x89" else (Encoding.JPEG, jpeg_size)
    try:
        # declared as it is, or nothing would come as far as the decoder
        width, height = measure(data)
        rgb = decode_image(data, encoding, width, height, MAX_PIXELS)
    except PlanError as error:
        if error.code is not ErrorCode.INVALID_REQUEST:
            raise RuntimeError(f"refused as {error.code}") from error
        return
    if rgb.shape != (height, width, 3) or rgb.dtype != np.uint8:
        raise RuntimeError(f"{encoding} of {width}x{height} became {rgb.dtype} {rgb.shape}")


def main() -> None:
    """Fuzz, from one good picture of each kind when the corpus is empty."""
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    for folder in folders[:1]:
        folder.mkdir(parents=True, exist_ok=True)
        rgb = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
        for encoding in Encoding:
            (folder / f"good.{encoding.value.lower()}").write_bytes(encode_image(rgb, encoding))
    atheris.Setup(sys.argv, one_picture)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
