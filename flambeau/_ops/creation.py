"""Operators that make tensors of a given size, copies, and those that overwrite whole tensors."""

from .registry import op

# The tail that every factory shares.
_OPTIONS = "dtype? dtype=None, layout? layout=None, device? device=None, bool pin_memory=False, bool requires_grad=False"
_FORMAT = "memory_format? memory_format=None"


def _factory(signature, doc, **fields):
    op(signature.replace("OPTIONS", _OPTIONS).replace("FORMAT", _FORMAT), doc, method=False, **fields)


_factory(
    "empty(int[] size, *, Tensor? out=None, OPTIONS, FORMAT) -> Tensor",
    """A tensor of `size` with whatever the memory holds.

    >>> flambeau.empty(2, 3).shape
    torch.Size([2, 3])
    """,
)
_factory(
    "empty_strided(int[] size, int[] stride, *, OPTIONS) -> Tensor",
    """A tensor of `size` with the given strides (in elements), its values undefined.

    >>> flambeau.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """,
)
_factory(
    "zeros(int[] size, *, Tensor? out=None, OPTIONS) -> Tensor",
    """A tensor of `size` filled with 0.

    >>> flambeau.zeros(2)
    tensor([0., 0.])
    """,
)
_factory(
    "ones(int[] size, *, Tensor? out=None, OPTIONS) -> Tensor",
    """A tensor of `size` filled with 1.

    >>> flambeau.ones(2)
    tensor([1., 1.])
    """,
)
_factory(
    "full(int[] size, Scalar fill_value, *, Tensor? out=None, OPTIONS) -> Tensor",
    """A tensor of `size` filled with `fill_value`, whose kind decides the dtype when none is given.

    >>> flambeau.full((2,), 7)
    tensor([7, 7])
    """,
)
_factory(
    "empty_like(Tensor input, *, OPTIONS, FORMAT) -> Tensor",
    "A tensor with the size, dtype, device and layout of `input`, its values undefined.",
)
_factory(
    "zeros_like(Tensor input, *, OPTIONS, FORMAT) -> Tensor",
    """Zeros with the size, dtype, device and layout of `input`.

    >>> flambeau.zeros_like(flambeau.ones(2))
    tensor([0., 0.])
    """,
)
_factory("ones_like(Tensor input, *, OPTIONS, FORMAT) -> Tensor", "Ones with the size, dtype and layout of `input`.")
_factory(
    "full_like(Tensor input, Scalar fill_value, *, OPTIONS, FORMAT) -> Tensor",
    "`fill_value` everywhere, with the size, dtype and layout of `input`.",
)
op(
    "fill_(Tensor input, Scalar value) -> Tensor",
    "Overwrites every element with `value`.",
    vjp={"input": lambda grad: grad * 0},
    public=True,
)
op("zero_(Tensor input) -> Tensor", "Overwrites every element with 0.", vjp={"input": lambda grad: grad * 0})
op(
    "copy_(Tensor input, Tensor src, bool non_blocking=False) -> Tensor",
    "Overwrites the tensor with `src`, which is broadcast and converted to the tensor's dtype.",
    vjp={"input": lambda grad: grad * 0, "src": lambda grad: grad},
    public=False,
)
op(
    "clone(Tensor input, *, memory_format? memory_format=None) -> Tensor",
    """A copy with memory of its own; gradients flow through it.

    >>> flambeau.clone(flambeau.ones(2))
    tensor([1., 1.])
    """,
    vjp={"input": lambda grad: grad},
)
op(
    "contiguous(Tensor input, *, memory_format? memory_format=None) -> Tensor",
    "The tensor itself when its elements lie in the order of `memory_format`, else a copy that does.",
    vjp={"input": lambda grad: grad},
    public=False,
)
op(
    "_to(Tensor input, dtype? dtype=None, device? device=None, bool copy=False, memory_format? memory_format=None) -> Tensor",
    "Conversion of dtype, device and memory format; the tensor itself when nothing changes.",
    vjp={"input": lambda grad: grad},
    public=False,
)
