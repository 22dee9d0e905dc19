"""Compiles the .proto files of the repository into Python modules: `holdall.auth.v1.account_pb2` and so on.

    python build_stubs.py [FOLDER]

FOLDER is where the package `holdall` is, `src` by default. Needs grpcio-tools.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


def build(folder):
    """Compiles everything into `folder`."""
    from grpc_tools import protoc

    files = sorted(PROTO.glob("holdall/**/*.proto"))
    if not files:
        raise SystemExit("the .proto files are not there: build from a checkout of the whole repository")
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={PROTO}",
        f"--proto_path={well_known}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
    ]
    if protoc.main(arguments + [str(file) for file in files]) != 0:
        raise SystemExit("the .proto files do not compile")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "src")
