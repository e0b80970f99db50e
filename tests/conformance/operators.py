"""The suite of operators: every entry of PyTorch's operator database, by dtype."""

from . import left_out
from .check import ERRORS, dtypes_of, operators, run_check

reason = left_out.reason


def entries() -> dict[str, list[str]]:
    found = {}
    for name, op in operators().items():
        dtypes = [str(dtype).removeprefix("torch.") for dtype in dtypes_of(op)]
        found[name] = dtypes + ([ERRORS] if op.error_inputs_func is not None else [])
    return found


_operators: dict = {}


def check(name: str, part: str) -> tuple[str, str]:
    if not _operators:
        _operators.update(operators())
    return run_check(name, _operators[name], part)
