"""Operators on sparse tensors: read when the first sparse tensor is made, since no call can need a form before.

`core` has the parts and the arithmetic of places; `construct` makes sparse tensors; the other modules declare, by subject,
what operators do with them.
"""

from . import construct, convert, pointwise, products, reductions, shape  # noqa: F401
