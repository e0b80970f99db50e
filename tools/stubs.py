"""Write the type stubs from the library itself, or with --check say whether they are up to date.

`flambeau/_C.pyi` describes the native module, with the methods that the operators' records put on Tensor;
`flambeau/__init__.pyi` the public namespace, which is filled at import and which editors could not complete otherwise.
"""

import argparse
import ast
import difflib
import importlib.util
import inspect
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path

import flambeau
from flambeau import _C
from flambeau._ops import registry

PACKAGE = Path(__file__).parent.parent / "flambeau"
# The namespace has dtypes, and Tensor methods, that are called `int`, `float` and `bool`.
BUILTINS = ("bool", "bytes", "complex", "float", "int", "list", "slice", "str", "tuple", "type")
PREAMBLE = f"""# Written by `make stubs` from the library itself.
from builtins import {", ".join(f"{name} as _{name}" for name in BUILTINS)}
from collections.abc import Sequence
from typing import Any, overload
"""
TYPES = {
    "Tensor": "Tensor",
    "Operand": "Tensor | _complex",
    "Scalar": "_complex",
    "int": "_int",
    "float": "_float",
    "bool": "_bool",
    "str": "_str",
    "dtype": "dtype",
    "device": "device | _str | _int",
    "layout": "layout",
    "memory_format": "memory_format",
    "Generator": "Generator",
}
PARAMETER = re.compile(r"(?P<type>\S+) (?P<name>\w+)(?:=(?P<default>.+))?$")


def python_type(text: str) -> str:
    """A record's type in Python's notation: `int[1]?` -> `_int | Sequence[_int] | None`."""
    if text.endswith("?"):
        return python_type(text[:-1]) + " | None"
    sequence = re.match(r"(.+)\[(\d*)\]$", text)
    if sequence:
        inner = python_type(sequence[1])
        return f"{inner} | Sequence[{inner}]" if sequence[2] else f"Sequence[{inner}]"
    return TYPES.get(text, "Any")


def result_type(text: str) -> str:
    text = text.strip()
    if text.startswith("("):
        return f"_tuple[{', '.join(python_type(part.split()[0]) for part in text[1:-1].split(', '))}]"
    if text.endswith("[]"):
        return f"_tuple[{python_type(text[:-2])}, ...]"
    return python_type(text) if text else "Any"


def split_parameters(text: str) -> list[str]:
    """The parts between the commas outside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def operator_parameters(signature: str, is_method: bool) -> tuple[str, str]:
    """(parameters, result type) of a record's signature."""
    head, _, result = signature.partition("->")
    inner = head[head.index("(") + 1 : head.rindex(")")]
    parameters = []
    for part in split_parameters(inner):
        match = PARAMETER.match(part)
        if match is None:
            parameters.append(part)
            continue
        default = "" if match["default"] is None else f" = {match['default']}"
        parameters.append(f"{match['name']}: {python_type(match['type'])}{default}")
    if is_method:
        first = next(
            (p for p in parameters if p.startswith(("input:", "self:"))),
            parameters[0] if parameters else None,
        )
        parameters = ["self", *(p for p in parameters if p is not first)]
    while parameters and parameters[-1] == "*":
        parameters.pop()
    return f"({', '.join(parameters)})", result_type(result)


def spread_sizes(parameters: str) -> str | None:
    """The form that takes sizes one by one, `zeros(2, 3)` for `zeros((2, 3))`, where there is one."""
    match = re.match(r"\((self, )?(\w+): Sequence\[_int\](?:, \*)?(, .*)?\)$", parameters)
    return match and f"({match[1] or ''}*{match[2]}: _int{match[3] or ''})"


def definition(name: str, parameters: str, result: str, indent: str, decorator: str = "") -> list[str]:
    result = "None" if name == "__init__" else result
    line = f"{indent}def {name}{parameters} -> {result}: ..."
    try:
        ast.parse(line.strip())
    except SyntaxError:
        both = "self, " if indent and decorator != "staticmethod" else ""
        line = f"{indent}def {name}({both}*args: Any, **kwargs: Any) -> Any: ..."
    return [f"{indent}@{decorator}", line] if decorator else [line]


def function_stub(name: str, member: object, indent: str = "") -> list[str]:
    """One function, method or operator; an overload set becomes several definitions."""
    operators = getattr(member, "ops", None) if isinstance(member, _C.Overloads) else [member]
    if isinstance(member, list):
        operators = member
    if all(isinstance(operator, _C.Op) for operator in operators):
        lines, seen = [], set()
        for operator in operators:
            found = operator_parameters(operator.signature, bool(indent))
            for parameters in (found[0], spread_sizes(found[0])):
                if parameters and parameters not in seen:
                    seen.add(parameters)
                    lines.append((parameters, found[1]))
        mark = "overload" if len(lines) > 1 else ""
        return [line for found in lines for line in definition(name, *found, indent, mark)]
    text = getattr(member, "__text_signature__", None)
    try:
        parameters = text or str(inspect.signature(member))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        parameters = ""
    parameters = re.sub(
        r"\$(self|module|type)(, /)?(, )?", lambda m: "self, " if m[1] == "self" else "", parameters
    )
    return definition(name, parameters.replace("self, )", "self)").split(" -> ")[0] or "!", "Any", indent)


SKIPPED = {
    "__doc__",
    "__module__",
    "__dict__",
    "__weakref__",
    "__hash__",
    "__getattribute__",
    "__new__",
    "__dir__",
}


def class_stub(cls: type) -> list[str]:
    bases = [base.__name__ for base in cls.__bases__ if base is not object]
    lines = [f"class {cls.__name__}({', '.join(f'_{b}' if b in BUILTINS else b for b in bases)}):"]
    for name, member in sorted(vars(cls).items()):
        if name in SKIPPED or (name.startswith("_") and not name.startswith("__")):
            continue
        if cls is _C.Tensor and name in registry.methods:
            lines += function_stub(name, registry.methods[name], "    ")
        elif isinstance(member, staticmethod | classmethod):
            lines += definition(name, "!", "Any", "    ", type(member).__name__)
        elif isinstance(member, property) or inspect.isdatadescriptor(member):
            lines.append(f"    {name}: Any")
        elif callable(member):
            lines += function_stub(name, member, "    ")
        else:
            lines.append(f"    {name}: {plain_type(member)}")
    if len(lines) == 1:
        return [lines[0].replace("():", ":") + " ..."]
    return [lines[0].replace("():", ":"), *lines[1:]]


def plain_type(value: object) -> str:
    name = type(value).__name__
    if name in BUILTINS:
        return f"_{name}"
    return name if isinstance(getattr(_C, name, None), type) else "Any"


def native_stub() -> str:
    lines: list[str] = []
    for name, member in sorted(vars(_C).items()):
        if name.startswith("__"):
            continue
        if isinstance(member, type):
            lines += class_stub(member)
        elif callable(member):
            lines += function_stub(name, member)
        else:
            lines.append(f"{name}: {plain_type(member)}")
    return PREAMBLE + "\n" + "\n".join(lines) + "\n"


def exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def package_stub() -> str:
    imports: list[str] = []
    lines: list[str] = []
    for name in sorted(dir(flambeau)):
        if name.startswith("_") and name != "__version__":
            continue
        if name in flambeau._SUBMODULES:
            imports += [f"from . import {name} as {name}"] if exists(f"flambeau.{name}") else []
            continue
        if name in flambeau._LAZY:
            module = flambeau._LAZY[name]
            imports += [f"from .{module} import {name} as {name}"] if exists(f"flambeau.{module}") else []
            continue
        member = getattr(flambeau, name)
        if isinstance(member, types.ModuleType):
            if member.__name__.startswith("flambeau."):
                imports.append(f"from . import {name} as {name}")
        elif getattr(_C, name, None) is member and isinstance(member, type):
            imports.append(f"from ._C import {name} as {name}")
        elif callable(member):
            lines += function_stub(name, member)
        else:
            lines.append(f"{name}: {plain_type(member)}")
    return PREAMBLE + "\n" + "\n".join(imports) + "\n\n" + "\n".join(lines) + "\n"


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    changed = 0
    for name, text in (("_C.pyi", native_stub()), ("__init__.pyi", package_stub())):
        ast.parse(text)
        path = PACKAGE / name
        if not check:
            path.write_text(text)
            continue
        old = path.read_text() if path.exists() else ""
        difference = list(
            difflib.unified_diff(old.splitlines(), text.splitlines(), "checked in", "library", n=0)
        )
        print("\n".join(difference[:40]) or f"{name} is up to date")
        changed += bool(difference)
    if changed:
        print("the library's surface changed: run `make stubs` and commit the result")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
