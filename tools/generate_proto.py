"""Write the code generated from the .proto files (wire, story) beside them; --check compares.

Run it with grpcio-tools 1.51.3, which is older than what the project runs on: code from newer
generators refuses older runtimes, code from this one loads on protobuf 3.20 to 7. It needs an
environment of its own:

    python3.11 -m venv /tmp/protogen
    /tmp/protogen/bin/pip install "setuptools<81" grpcio-tools==1.51.3
    /tmp/protogen/bin/python tools/generate_proto.py
"""

import argparse
import sys
import tempfile
from importlib import metadata
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# .proto file: endings of what is generated; only the wire has services
PROTOS = {
    "emu_planner/wire/planner.proto": ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py"),
    "emu_planner/story/story.proto": ("_pb2.py", "_pb2.pyi"),
}
GENERATED = tuple(
    proto.removesuffix(".proto") + ending for proto, endings in PROTOS.items() for ending in endings
)
GENERATOR = "1.51.3"


def generate(out: Path) -> None:
    """Generate all files under `out`, named as the package names them."""
    from grpc_tools import protoc

    status = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            *(str(ROOT / proto) for proto in PROTOS),
        ]
    )
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")


def main() -> None:
    """Generate into the tree, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if files differ")
    check = parser.parse_args().check
    version = metadata.version("grpcio-tools")
    if version != GENERATOR:
        raise SystemExit(f"grpcio-tools is {version}, expected {GENERATOR}: see this file's head")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = []
        for name in GENERATED:
            fresh = (Path(folder) / name).read_bytes()
            committed = ROOT / name
            if not committed.exists() or committed.read_bytes() != fresh:
                stale.append(name)
                if not check:
                    committed.write_bytes(fresh)
    sys.stdout.write(f"{'differ' if check else 'written'}: {stale or 'none'}\n")
    if check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
