"""Print what pyproject.toml requires, one requirement a line, so that no list is kept twice.

    python tools/requirements.py build run test

`build` names the build's requirements (with CMake), `run` the package's own, anything else an extra.
"""

import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib


def requirements(groups: list[str]) -> list[str]:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    tables = dict(project["project"]["optional-dependencies"])
    tables["run"] = project["project"]["dependencies"]
    tables["build"] = [*project["build-system"]["requires"], "cmake>=3.20"]
    return sorted({line for group in groups for line in tables[group]})


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1:])))
