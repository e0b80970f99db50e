"""Counting the floating-point operations of products and convolutions, by operator and by module."""

from __future__ import annotations

import math
from collections import defaultdict

import flambeau

from ._python_dispatch import TorchDispatchMode
from .module_tracker import ModuleTracker

__all__ = ["FlopCounterMode", "register_flop_formula"]

_formulas: dict = {}


def register_flop_formula(targets, get_raw: bool = False):
    """Decorator: how many operations an operator of ``torch.ops.aten`` takes.

    Args:
        targets: the operator, an overload of it or its name, or a list of them.
        get_raw: whether the function takes the operator's arguments and `out_val` as they are; otherwise it takes the
            tensors' sizes in their places, and `out_shape`.
    """
    targets = targets if isinstance(targets, (list, tuple)) else [targets]

    def register(formula):
        for target in targets:
            _formulas[_name(target)] = formula if get_raw else _of_shapes(formula)
        return formula

    return register


def _name(target) -> str:
    return target if isinstance(target, str) else getattr(target, "overloadpacket", target).__name__


def _sizes(value):
    if isinstance(value, flambeau.Tensor):
        return value.shape
    if isinstance(value, (tuple, list)) and any(isinstance(item, flambeau.Tensor) for item in value):
        return type(value)(_sizes(item) for item in value)
    return value


def _of_shapes(formula):
    def counted(*args, out_val=None, **kwargs):
        args, kwargs = [_sizes(a) for a in args], {key: _sizes(value) for key, value in kwargs.items()}
        return formula(*args, **kwargs, out_shape=_sizes(out_val))

    return counted


@register_flop_formula(["mm", "bmm"])
def _product(a, b, *_, out_shape=None, **__):
    return 2 * math.prod(a) * b[-1]


@register_flop_formula(["addmm", "baddbmm", "addbmm"])
def _added_product(_input, a, b, *_, out_shape=None, **__):
    return 2 * math.prod(a) * b[-1]


@register_flop_formula("matmul")
def _general_product(a, b, *_, out_shape=None, **__):
    return 2 * math.prod(out_shape) * a[-1]


@register_flop_formula("linear")
def _linear(input, weight, *_, out_shape=None, **__):
    return 2 * math.prod(out_shape) * weight[-1]


@register_flop_formula("convolution")
def _convolution(input, weight, bias, stride, padding, dilation, transposed, *_, out_shape=None, **__):
    positions = math.prod((input if transposed else out_shape)[2:])
    return 2 * input[0] * positions * math.prod(weight)


@register_flop_formula("_convolution_weight")
def _convolution_weight(input, grad_output, weight_size, *_, out_shape=None, **__):
    return 2 * input[0] * math.prod(grad_output[2:]) * math.prod(weight_size)


@register_flop_formula("_scaled_dot_product_flash_attention_for_cpu")
def _attention(query, key, value, *_, out_shape=None, **__):
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


@register_flop_formula("_scaled_dot_product_flash_attention_for_cpu_backward")
def _attention_backward(grad, query, key, value, *_, out_shape=None, **__):
    return 2 * math.prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


def _in_words(count: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.3f}{unit}"
    return str(count)


class FlopCounterMode(TorchDispatchMode):
    """Context manager that counts the operations of products, convolutions and attention inside it.

    A multiplication and an addition are two. What runs in a module, forward and backward, counts for it and for the
    modules around it; all together counts for ``"Global"``.

    Args:
        mods, depth: `depth` says down to which level of nested modules the table goes; `mods` is accepted and not needed.
        display: print the table at the end.
        custom_mapping: further formulas, by operator, as `register_flop_formula` takes them; a formula with an attribute
            ``_get_raw`` takes the arguments themselves.

    >>> from flambeau.utils.flop_counter import FlopCounterMode
    >>> with FlopCounterMode(display=False) as counter:
    ...     y = flambeau.ones(2, 3) @ flambeau.ones(3, 4)
    >>> counter.get_total_flops()
    48
    """

    def __init__(self, mods=None, depth: int = 2, display: bool = True, custom_mapping: dict | None = None):
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict] = defaultdict(lambda: defaultdict(int))
        self._custom = {
            _name(target): formula if getattr(formula, "_get_raw", False) else _of_shapes(formula)
            for target, formula in (custom_mapping or {}).items()
        }
        self._tracker = ModuleTracker()

    def __enter__(self):
        self.flop_counts.clear()
        self._tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *exc):
        super().__exit__(*exc)
        self._tracker.__exit__(*exc)
        if self.display:
            print(self.get_table(self.depth))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        formula = self._custom.get(packet.__name__) or _formulas.get(packet.__name__)
        if formula is not None:
            count = formula(*args, **kwargs, out_val=result)
            for name in self._tracker.parents:
                self.flop_counts[name][packet] += count
        return result

    # ---- results

    def get_total_flops(self) -> int:
        """All operations that were counted."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict]:
        """Operations by the module's name and the operator."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as a table: modules, the operators in them, and their share of all."""
        depth = self.depth if depth is None else depth
        total = self.get_total_flops()
        rows = [("Module", "FLOP", "% Total")]
        for name in sorted(self.flop_counts, key=lambda name: (name != "Global", name)):
            level = name.count(".") + (name != "Global")
            if level > depth:
                continue
            counts = self.flop_counts[name]
            entries = [("  " * level + name, sum(counts.values()))]
            entries += [("  " * level + f" - {op}", count) for op, count in counts.items()]
            rows += [(text, _in_words(n), f"{100 * n / total:.2f}%" if total else "") for text, n in entries]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            f"{text.ljust(widths[0])}  {number.rjust(widths[1])}  {share.rjust(widths[2])}"
            for text, number, share in rows
        ]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
