"""What an import costs: time, resident memory, installed size."""

import importlib.metadata
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

_IMPORT = """
import time
start = time.perf_counter()
import {library}
took = time.perf_counter() - start
pages = int(open("/proc/self/statm").read().split()[1])
print(took, pages * {page} / 2**20)
"""


def import_cost(library: str) -> tuple[float, float]:
    """(seconds, MB resident afterwards) of `import library` in a fresh interpreter."""
    code = _IMPORT.format(library=library, page=os.sysconf("SC_PAGESIZE"))
    # An installed package is compiled once: so is a source tree, unless the environment forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout
    seconds, resident = map(float, printed.split())
    return seconds, resident


def import_costs(ours: str, theirs: str, rounds: int = 5) -> tuple[tuple[float, float], tuple[float, float]]:
    """The medians for both, measured in turn."""
    costs: dict[str, list] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        costs["ours"].append(import_cost(ours))
        costs["theirs"].append(import_cost(theirs))
    first, second = (
        tuple(map(statistics.median, zip(*costs[key], strict=True))) for key in ("ours", "theirs")
    )
    return first, second


def _required(distribution: str, found: dict[str, float | None]) -> None:
    """Collect the installed size in MB of a distribution and of all that it requires."""
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    if name in found:
        return
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
        return
    files = {Path(installed.locate_file(file)).resolve() for file in installed.files or ()}
    found[name] = sum(file.stat().st_size for file in files if file.is_file()) / 2**20
    for line in installed.requires or ():
        if "extra ==" not in line:
            _required(re.match(r"[\w.-]+", line)[0], found)


def installed_size(library: str) -> float:
    """MB of the library and of everything that it requires; a source tree counts by its package folder."""
    found: dict[str, float | None] = {}
    _required(library, found)
    if found[library] is None:
        package = Path(importlib.import_module(library).__file__).parent
        found[library] = sum(file.stat().st_size for file in package.rglob("*") if file.is_file()) / 2**20
        if library == "flambeau":
            _required("scipy-openblas32", found)
    return sum(size or 0.0 for size in found.values())
