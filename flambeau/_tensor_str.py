"""Parts of the text of a tensor, for subclasses of libraries that print themselves."""

from __future__ import annotations

from ._tensor.printing import (
    _append_facts,
    _contents,
    get_printoptions,
    options,
    printoptions,
    set_printoptions,
    tensor_repr,
)

__all__ = ["get_printoptions", "printoptions", "set_printoptions"]

#: The print options in force.
PRINT_OPTS = options


def _tensor_str(self, indent: int) -> str:
    """The elements in brackets; lines after the first begin with `indent` blanks.

    >>> from flambeau._tensor_str import _tensor_str
    >>> _tensor_str(flambeau.ones(2), 0)
    '[1., 1.]'
    """
    return _contents(self, indent)


def _add_suffixes(tensor_str: str, suffixes: list[str], indent: int, force_newline: bool) -> str:
    """The text with what follows the elements, such as ``dtype=...``, and the closing parenthesis."""
    return _append_facts(tensor_str, suffixes, indent, force_newline)


def _str_intern(inp, *, tensor_contents: str | None = None) -> str:
    """``repr(inp)``, with other elements' text where it is given."""
    return tensor_repr(inp, tensor_contents)


_str = _str_intern
