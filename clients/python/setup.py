"""Compiles the .proto files into the package while it is built; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import build_stubs  # noqa: E402


class BuildWithStubs(build_py):
    """Puts the stubs beside the modules: into the package that is built, or into `src` for an editable one."""

    def run(self):
        super().run()
        build_stubs.build(HERE / "src" if self.editable_mode else Path(self.build_lib))


setup(cmdclass={"build_py": BuildWithStubs})
