"""What is compared, by suite: operators, modules, optimizers, names. Each has entries, their parts, and an expected list.

A suite is a module with `entries()`, a dictionary of names to parts, `check(name, part)`, which gives status and reason,
and `reason(name)`, which says why an entry is left out (None if it is not).
"""

import importlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from .runner import Pair


@dataclass(frozen=True)
class Suite:
    name: str  # also the module's
    parts: str  # what an entry's parts are
    file: str
    header: str

    @property
    def module(self) -> object:
        return importlib.import_module(f".{self.name}", __package__)

    @property
    def path(self) -> Path:
        return Path(__file__).parent / self.file

    def read_expected(self) -> set[Pair]:
        pairs = set()
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            if line and not line.startswith("#"):
                name, _, parts = line.partition(":")
                pairs |= {(name, part) for part in parts.split()}
        return pairs

    def write_expected(self, pairs: set[Pair]) -> None:
        by_name: dict[str, list[str]] = defaultdict(list)
        for name, part in sorted(pairs):
            by_name[name].append(part)
        lines = (f"{name}: {' '.join(parts)}\n" for name, parts in by_name.items())
        self.path.write_text(self.header + "".join(lines))


def _suite(name: str, parts: str, file: str, what: str, option: str) -> Suite:
    header = f"# The {what} that must pass: losing one fails the run.\n"
    header += f"# Written by `python -m tests.conformance {option}--update-expected`.\n"
    return Suite(name, parts, file, header)


SUITES = {
    suite.name: suite
    for suite in (
        _suite(
            "operators",
            "dtype",
            "expected.txt",
            "pairs of operator and dtype (or `errors`, for the error inputs)",
            "",
        ),
        _suite("modules", "mode", "expected_modules.txt", "pairs of module and mode", "--modules "),
        _suite(
            "optimizers",
            "part",
            "expected_optimizers.txt",
            "pairs of optimizer and what is compared",
            "--optimizers ",
        ),
        _suite("names", "part", "expected_names.txt", "namespaces", "--names "),
    )
}
