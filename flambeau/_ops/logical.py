"""Truth and bits of elements, and choice by masks."""

import flambeau

from ._pointwise import binary, unary
from .registry import op

for _name, _word in (("and", "both are"), ("or", "at least one is"), ("xor", "exactly one is")):
    binary(
        f"logical_{_name}",
        f"""Whether {_word} not zero, element by element, as bool.

    >>> flambeau.logical_{_name}(flambeau.tensor([True, True, False]), flambeau.tensor([True, False, False]))
    tensor({ {"and": "[ True, False, False]", "or": "[ True,  True, False]", "xor": "[False,  True, False]"}[_name] })
    """,
        kind="bool",
    )
    binary(
        f"bitwise_{_name}",
        f"""Bits of which {_word} set, for integers; the logical operation for bool. Either may be a number.

    >>> flambeau.bitwise_{_name}(flambeau.tensor([6, 3]), 5)
    tensor({ {"and": "[4, 1]", "or": "[7, 7]", "xor": "[3, 6]"}[_name] })
    """,
        operands="Operand input, Operand other",
    )
    # As functions by Python's names; the methods are the type's own.
    binary(
        f"__{_name}__",
        f"""The same as :func:`bitwise_{_name}`.

    >>> flambeau.__{_name}__(flambeau.tensor([6, 3]), 5)
    tensor({ {"and": "[4, 1]", "or": "[7, 7]", "xor": "[3, 6]"}[_name] })
    """,
        operands="Tensor input, Operand other",
        impl=f"bitwise_{_name}",
        inplace=False,
        method=False,
    )
for _name, _python, _word, _shown in (
    ("left", "__lshift__", "left", "[12, 20]"),
    ("right", "__rshift__", "right, keeping the sign", "[0, 1]"),
):
    binary(
        f"bitwise_{_name}_shift",
        f"""Integers with their bits moved to the {_word}; either may be a number.

    >>> flambeau.bitwise_{_name}_shift(flambeau.tensor([3, 5]), 2)
    tensor({_shown})
    """,
        operands="Operand input, Operand other",
    )
    binary(
        _python,
        f"""The same as :func:`bitwise_{_name}_shift`.

    >>> flambeau.{_python}(flambeau.tensor([3, 5]), 2)
    tensor({_shown})
    """,
        operands="Tensor input, Operand other",
        impl=f"bitwise_{_name}_shift",
        inplace=False,
        method=False,
    )
unary(
    "logical_not",
    """Whether each element is zero, as bool.

    >>> flambeau.logical_not(flambeau.tensor([0.0, 2.0]))
    tensor([ True, False])
    """,
    kind="bool",
)
unary(
    "bitwise_not",
    """Every bit the other way, for integers; not, for bool.

    >>> flambeau.bitwise_not(flambeau.tensor([0, 5]))
    tensor([-1, -6])
    """,
    kind="same",
)

op(
    "where(Tensor condition, Operand input, Operand other, *, Tensor? out=None) -> Tensor",
    """Elements of input where condition holds, of other elsewhere; both may be numbers.

    Without input and other: the indices where condition holds, one tensor per dimension.

    >>> flambeau.where(flambeau.tensor([True, False]), flambeau.tensor([1, 2]), 0)
    tensor([1, 0])
    """,
    method=False,
    vjp={
        "input": lambda grad, condition: flambeau.where(condition, grad, 0),
        "other": lambda grad, condition: flambeau.where(condition, 0, grad),
    },
)
op("where.positions(Tensor condition) -> Tensor[]", impl="where_positions")
op(
    "where.method(Tensor input, Tensor condition, Operand other) -> Tensor",
    """The tensor's elements where condition holds, those of other elsewhere.

    >>> flambeau.tensor([1, 2]).where(flambeau.tensor([True, False]), 0)
    tensor([1, 0])
    """,
    impl="where_method",
    public=False,
    vjp={
        "input": lambda grad, condition: flambeau.where(condition, grad, 0),
        "other": lambda grad, condition: flambeau.where(condition, 0, grad),
    },
)
op(
    "masked_fill(Tensor input, Tensor mask, Operand value) -> Tensor",
    """input with value (a number, or a tensor of zero dimensions) wherever the bool mask holds.

    >>> flambeau.masked_fill(flambeau.tensor([1, 2]), flambeau.tensor([True, False]), 0)
    tensor([0, 2])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, mask: grad.masked_fill(mask, 0),
        "value": lambda grad, mask: flambeau.where(mask, grad, 0),
    },
)
