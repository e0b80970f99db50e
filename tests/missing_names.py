"""Reads the table of docs/missing-names.md: names of PyTorch's that flambeau does not have, with the reasons."""

import functools
import importlib
import re
from pathlib import Path

TABLE = Path(__file__).parent.parent / "docs" / "missing-names.md"


@functools.cache
def table() -> dict[str, str]:
    """Reasons by name. A name `a.b.*` stands for everything below."""
    found = {}
    for line in TABLE.read_text().splitlines():
        match = re.fullmatch(r"\| (`.*`) \| (.+) \|", line)
        if match:
            found.update(dict.fromkeys(re.findall(r"`([^`]+)`", match[1]), match[2]))
    return found


def documented(path: str) -> bool:
    parts = path.split(".")
    return path in table() or any(".".join([*parts[:n], "*"]) in table() for n in range(1, len(parts)))


def exists(namespace: str, name: str) -> bool:
    """Whether flambeau's module of that name has the attribute, or a module in it of that name."""
    path = f"flambeau.{namespace}" if namespace else "flambeau"
    try:
        module = importlib.import_module(path)
    except ImportError:
        return False
    if hasattr(module, name):
        return True
    try:
        return importlib.import_module(f"{path}.{name}") is not None
    except ImportError:
        return False
