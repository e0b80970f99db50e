"""Write flambeau/_C.pyi from the native module, or with --check say whether it is up to date.

The signatures come from the objects themselves: an operator's from its record, a method's from `__text_signature__`.
"""

import argparse
import difflib
import inspect
import sys
from pathlib import Path

STUB = Path(__file__).parent.parent / "flambeau" / "_C.pyi"
HEADER = '''"""The native module. Written by `make stubs`, from the module itself."""

from typing import Any

'''


def signature(function: object, is_method: bool) -> str:
    """The parameter list in Python's syntax; `(*args, **kwargs)` where the object does not tell."""
    text = getattr(function, "__text_signature__", None)
    try:
        parameters = str(inspect.signature(function)) if text is None else text  # type: ignore[arg-type]
    except (TypeError, ValueError):
        parameters = "(self, *args: Any, **kwargs: Any)" if is_method else "(*args: Any, **kwargs: Any)"
    parameters = (
        parameters.replace("($self", "(self").replace("($module, /, ", "(").replace("($module, /)", "()")
    )
    parameters = parameters.replace("($module, ", "(").split(" -> ")[0]
    try:
        compile(f"def f{parameters}: ...", "stub", "exec")
    except SyntaxError:
        parameters = "(self, *args: Any, **kwargs: Any)" if is_method else "(*args: Any, **kwargs: Any)"
    return parameters


def class_stub(cls: type) -> list[str]:
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    lines = [f"class {cls.__name__}({bases}):" if bases else f"class {cls.__name__}:"]
    for name, member in sorted(vars(cls).items()):
        if name in ("__doc__", "__module__", "__dict__", "__weakref__", "__hash__", "__getattribute__"):
            continue
        if isinstance(member, staticmethod | classmethod):
            decorator = type(member).__name__
            lines += [f"    @{decorator}", f"    def {name}(*args: Any, **kwargs: Any) -> Any: ..."]
        elif callable(member):
            lines.append(f"    def {name}{signature(member, is_method=True)} -> Any: ...")
        elif inspect.isdatadescriptor(member):
            lines.append(f"    {name}: Any")
        elif not name.startswith("__"):
            lines.append(
                f"    {name}: {type(member).__name__ if type(member) in (int, str, bool) else 'Any'}"
            )
    return lines if len(lines) > 1 else [lines[0] + " ..."]


def stub_text() -> str:
    from flambeau import _C

    lines: list[str] = []
    for name, member in sorted(vars(_C).items()):
        if name.startswith("__"):
            continue
        if isinstance(member, type):
            lines += class_stub(member)
        elif callable(member):
            lines.append(f"def {name}{signature(member, is_method=False)} -> Any: ...")
        else:
            lines.append(f"{name}: {type(member).__name__ if type(member) in (int, str, bool) else 'Any'}")
    return HEADER + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = stub_text()
    if not arguments.check:
        STUB.write_text(text)
        return 0
    old = STUB.read_text() if STUB.exists() else ""
    difference = list(
        difflib.unified_diff(old.splitlines(), text.splitlines(), "checked in", "native module", "", "", 0)
    )
    print("\n".join(difference[:60]) or f"{STUB.name} is up to date")
    if difference:
        print("the native module's surface changed: run `make stubs` and commit the result")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
