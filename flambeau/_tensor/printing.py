"""Turning tensors into text, character for character as PyTorch does.

A tensor prints in three steps: the values that will be shown become nested Python lists (with a gap where a long
dimension is summarised), a format is chosen that fits all of them, and the lists are laid out within the line width.
"""

from __future__ import annotations

import math

import flambeau

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


class _Options:
    """The current print options; one instance, `options`, for the process."""

    def __init__(self):
        self.precision = 4
        self.threshold: float = 1000
        self.edgeitems = 3
        self.linewidth = 80
        self.sci_mode: bool | None = None


options = _Options()


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Set how tensors are printed. Options left at None keep their value, except ``sci_mode``.

    Args:
        precision: digits after the decimal point (4).
        threshold: tensors with more elements than this are summarised (1000; ``math.inf`` never summarises).
        edgeitems: how many elements a summary shows at each end of a dimension (3).
        linewidth: characters in a line before it is broken (80).
        profile: ``"default"``, ``"short"`` or ``"full"``: a set of the four above, which the others then refine.
        sci_mode: True or False turns scientific notation on or off; None decides by the values.

    >>> flambeau.set_printoptions(precision=2)
    >>> flambeau.tensor([1.12345])
    tensor([1.12])
    >>> flambeau.set_printoptions(profile="default")
    """
    if profile is not None:
        vars(options).update(_PROFILES.get(profile, {}))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    vars(options).update({name: value for name, value in given.items() if value is not None})
    options.sci_mode = sci_mode


def get_printoptions() -> dict:
    """Return the print options in force, as a dictionary that `set_printoptions` accepts."""
    return dict(vars(options))


class printoptions:
    """Context manager: `set_printoptions` for the length of a ``with`` block.

    >>> with flambeau._tensor.printing.printoptions(precision=1):
    ...     print(flambeau.tensor([0.25]))
    tensor([0.2])
    """

    def __init__(self, **kwargs):
        self._given = kwargs

    def __enter__(self):
        self._saved = get_printoptions()
        set_printoptions(**self._given)
        return self

    def __exit__(self, *exc_info):
        vars(options).update(self._saved)


class _Gap:
    """Stands for the elements that a summary leaves out."""


_GAP = _Gap()


# ---- formats ---------------------------------------------------------------------------------------------------------


class _PlainFormat:
    """Integers and booleans: right-aligned."""

    def __init__(self, values: list):
        self.width = max((len(str(value)) for value in values), default=1)

    def __call__(self, value) -> str:
        return str(value).rjust(self.width)


class _FloatFormat:
    """One of three notations, chosen so that every value shown reads well in it.

    * all finite values are whole: ``1.`` ;
    * they span more than three decades, or are very large or small: ``1.0000e+09`` ;
    * otherwise a fixed number of digits: ``1.5000``.

    Zeros, infinities and NaNs have no say in the choice nor in the width.
    """

    def __init__(self, values: list[float]):
        finite = [value for value in values if value != 0 and math.isfinite(value)]
        magnitudes = [abs(value) for value in finite]
        self.whole = all(value == math.ceil(value) for value in finite)
        self.scientific = False
        self.width = 1
        if finite:
            if options.sci_mode is None:
                low, high = min(magnitudes), max(magnitudes)
                wide = high / low > 1000.0 or high > 1.0e8
                self.scientific = wide or (not self.whole and low < 1.0e-4)
            else:
                self.scientific = options.sci_mode
            self.width = max(len(self(value)) for value in finite)

    def __call__(self, value: float) -> str:
        if self.scientific:
            text = f"{value:.{options.precision}e}"
        elif self.whole:
            text = f"{value:.0f}"
            if math.isfinite(value):
                text += "."
        else:
            text = f"{value:.{options.precision}f}"
        return text.rjust(self.width)


class _ComplexFormat:
    """Real and imaginary parts, each in a format of its own."""

    def __init__(self, values: list[complex]):
        self.real = _FloatFormat([value.real for value in values])
        self.imag = _FloatFormat([value.imag for value in values])
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = (self.imag(value.imag) + "j").lstrip()
        sign = "" if imag.startswith(("+", "-")) else "+"
        return self.real(value.real) + sign + imag


def _choose_format(values: list, dtype):
    if dtype.is_complex:
        return _ComplexFormat(values)
    if dtype.is_floating_point:
        return _FloatFormat(values)
    return _PlainFormat(values)


# ---- values and layout -----------------------------------------------------------------------------------------------


def _shown_values(tensor, summarise: bool):
    """The tensor as nested lists; a dimension that is too long keeps its ends around a `_GAP`."""
    if tensor.dim() == 0:
        return tensor.item()
    size = tensor.size(0)
    edge = options.edgeitems
    if summarise and size > 2 * edge:
        tail = range(size - edge, size)
        if tensor.dim() == 1:
            return [*(tensor[i].item() for i in range(edge)), _GAP, *(tensor[i].item() for i in tail)]
        return [
            *(_shown_values(tensor[i], True) for i in range(edge)),
            _GAP,
            *(_shown_values(tensor[i], True) for i in tail),
        ]
    if tensor.dim() == 1 or not summarise:
        return tensor.tolist()
    return [_shown_values(tensor[i], True) for i in range(size)]


def _flatten(nested, into: list) -> list:
    for item in nested:
        if type(item) is list:
            _flatten(item, into)
        elif item is not _GAP:
            into.append(item)
    return into


def _layout_row(row: list, fmt, indent: int) -> str:
    """One innermost dimension, broken into lines that fit."""
    per_line = max(1, (options.linewidth - indent) // (fmt.width + 2))
    cells = [" ..." if item is _GAP else fmt(item) for item in row]
    lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _layout(nested, dim: int, fmt, indent: int) -> str:
    if dim == 0:
        return fmt(nested)
    if dim == 1:
        return _layout_row(nested, fmt, indent)
    parts = ["..." if item is _GAP else _layout(item, dim - 1, fmt, indent + 1) for item in nested]
    return "[" + ("," + "\n" * (dim - 1) + " " * (indent + 1)).join(parts) + "]"


def _contents(tensor, indent: int) -> str:
    if tensor.numel() == 0:
        return "[]"
    if options.edgeitems == 0 and tensor.dim() > 0 and tensor.numel() > options.threshold:
        return "[...]"
    dtype = tensor.dtype
    if dtype is flambeau.float4_e2m1fn_x2 and tensor.dim() > 0:
        # A pair of numbers shows as its byte, as in PyTorch.
        tensor = tensor.view(flambeau.uint8).float()
    nested = _shown_values(tensor, tensor.numel() > options.threshold)
    values = [nested] if tensor.dim() == 0 else _flatten(nested, [])
    return _layout(nested, tensor.dim(), _choose_format(values, dtype), indent)


def _named_parts(tensor) -> list:
    """The parts of a sparse tensor with the names of the methods that give them."""
    indices, plain, values, _ = flambeau._C._sparse_parts(tensor)
    if plain is None:
        return [("indices", indices), ("values", values)]
    by_row = tensor.layout in (flambeau.sparse_csr, flambeau.sparse_bsr)
    names = ("crow_indices", "col_indices") if by_row else ("ccol_indices", "row_indices")
    return [(names[0], indices), (names[1], plain), ("values", values)]


def _sparse_contents(tensor, indent: int) -> str:
    lines = []
    for name, part in _named_parts(tensor):
        prefix = f"{name}=tensor("
        text = prefix + _contents(part, indent + len(prefix))
        if part.numel() == 0:
            text += f", size={tuple(part.shape)}"
        lines.append(text + ")")
    return (",\n" + " " * indent).join(lines)


def _append_facts(text: str, facts: list[str], indent: int, on_new_line: bool = False) -> str:
    """Add ``, dtype=...`` and its like, starting a new line for one that would not fit."""
    column = options.linewidth if on_new_line else len(text) - text.rfind("\n") + 1
    for fact in facts:
        if column + len(fact) + 2 > options.linewidth:
            text += ",\n" + " " * indent + fact
            column = indent + len(fact)
        else:
            text += ", " + fact
            column += len(fact) + 2
    return text + ")"


def _is_usual_dtype(dtype) -> bool:
    """Whether PyTorch leaves the dtype out: a reader would guess it from the values."""
    default = flambeau.get_default_dtype()
    if dtype.is_complex:
        return dtype is default.to_complex()
    return dtype in (default, flambeau.int64, flambeau.bool)


def _batch_repr(number, value, dim) -> str:
    """A tensor inside vmap: what it stands for."""
    levels = [level[0] for level in flambeau._C._levels()]
    place = levels.index(number) + 1 if number in levels else "dead"
    body = repr(value).replace("\n", "\n    ")
    return f"BatchedTensor(lvl={place}, bdim={dim}, value=\n    {body}\n)"


def tensor_repr(tensor, contents: str | None = None) -> str:
    """The text of ``repr(tensor)``, with `contents` in place of the elements' own text if given."""
    if flambeau._C._transforms():
        found = flambeau._C._wrapped(tensor)
        if found is not None and isinstance(found[2], int):
            return _batch_repr(*found)
    plain = type(tensor) is flambeau.Tensor or type(tensor) is flambeau.nn.Parameter
    prefix = "tensor(" if plain else f"{type(tensor).__name__}("
    indent = len(prefix)
    facts = []
    dtype = tensor.dtype
    values = flambeau.Tensor.detach(tensor) if plain else tensor.detach().as_subclass(flambeau.Tensor)
    sparse = tensor.layout is not flambeau.strided
    if sparse:
        facts += [f"size={tuple(tensor.shape)}", f"nnz={tensor._nnz()}"]
        body = _sparse_contents(values, indent)
    elif tensor.device.type == "meta":
        facts += ["device='meta'", f"size={tuple(tensor.shape)}"]
        body = "..."
    else:
        if tensor.device.type != "cpu":
            facts.append(f"device='{tensor.device}'")
        if options.edgeitems == 0 and tensor.numel() > 0 or tensor.numel() == 0 and tensor.dim() != 1:
            facts.append(f"size={tuple(tensor.shape)}")
        body = _contents(values, indent) if contents is None else contents
    if (
        dtype is not flambeau.get_default_dtype()
        if not sparse and tensor.numel() == 0 or tensor.device.type == "meta"
        else not _is_usual_dtype(dtype)
    ):
        facts.append(f"dtype={dtype}")
    if sparse:
        facts.append(f"layout={tensor.layout}")
    tangent = flambeau.autograd.forward_ad.unpack_dual(tensor).tangent if flambeau._C._transforms() else None
    if tangent is not None:
        facts.append(f"tangent={tangent}")
    if tensor.grad_fn is not None:
        facts.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        facts.append("requires_grad=True")
    return _append_facts(prefix + body, facts, indent, on_new_line=tensor.is_sparse)


def tensor_format(tensor, spec: str) -> str:
    """The text of ``format(tensor, spec)``: a 0-dimensional tensor formats as its number."""
    if tensor.dim() == 0 and tensor.device.type != "meta" and type(tensor) is flambeau.Tensor:
        return tensor.item().__format__(spec)
    return object.__format__(tensor, spec)
