"""Operators that make tensors of a given size or from data, copies, and those that overwrite whole tensors."""

from .registry import Tensor, composite, op, takes

# The tail that every factory shares.
_OPTIONS = "dtype? dtype=None, layout? layout=None, device? device=None, bool? pin_memory=False, bool? requires_grad=False"
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
_factory(
    "ones_like(Tensor input, *, OPTIONS, FORMAT) -> Tensor",
    "Ones with the size, dtype and layout of `input`.",
)
_factory(
    "full_like(Tensor input, Scalar fill_value, *, OPTIONS, FORMAT) -> Tensor",
    "`fill_value` everywhere, with the size, dtype and layout of `input`.",
)
op(
    "fill_(Tensor input, Operand value) -> Tensor",
    "Overwrites every element with `value`, a number or a zero-dimensional tensor.",
    vjp={"input": lambda grad: grad * 0, "value": lambda grad: grad.sum()},
    public=True,
)


@composite
@takes("fill(Tensor input, Operand value)")
def fill(input, value):
    """`value` everywhere, with the size and dtype of `input`.

    >>> flambeau.fill(flambeau.zeros(2), 7)
    tensor([7., 7.])
    """
    return input.clone().fill_(value)


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

# ---- from data ---------------------------------------------------------------------------------------------------------

_DATA_OPTIONS = "dtype? dtype=None, device? device=None, bool? requires_grad=False, bool? pin_memory=False"

op(
    f"tensor(object data, *, {_DATA_OPTIONS}) -> Tensor",
    """A tensor with a copy of `data`: a number, nested sequences of numbers, an array or a tensor.

    The dtype is inferred when none is given: bool, int64, the default dtype for floats, its complex one, or an array's
    own. Sequences of unequal length raise ValueError.

    >>> flambeau.tensor([[1, 2], [3, 4.5]])
    tensor([[1.0000, 2.0000],
            [3.0000, 4.5000]])
    """,
    method=False,
)
_factory(
    "scalar_tensor(Scalar s, *, OPTIONS) -> Tensor",
    """A zero-dimensional tensor of the default dtype, or of `dtype`.

    >>> flambeau.scalar_tensor(2)
    tensor(2.)
    """,
)
op(
    "from_numpy(object ndarray) -> Tensor",
    """A tensor that shares memory with a NumPy array, and keeps it alive.

    Raises TypeError for dtypes without a counterpart and ValueError for negative strides or foreign byte order.

    >>> import numpy
    >>> flambeau.from_numpy(numpy.arange(3))
    tensor([0, 1, 2])
    """,
    method=False,
)
op(
    "frombuffer(object buffer, *, dtype dtype, int count=-1, int offset=0, bool requires_grad=False) -> Tensor",
    """A one-dimensional tensor that shares memory with an object of the buffer protocol.

    `count` elements (all by default) from `offset` bytes on. Raises ValueError when they do not fit.

    >>> flambeau.frombuffer(bytearray(b"abc"), dtype=flambeau.uint8)
    tensor([97, 98, 99], dtype=torch.uint8)
    """,
    method=False,
)
_from_data = op(
    "_from_data(object data, dtype? dtype=None, device? device=None, bool copy=False) -> Tensor",
    "A tensor from data of any kind, sharing an array's memory unless `copy`.",
    method=False,
    public=False,
)


@composite(override=False)
def as_tensor(data, dtype=None, device=None):
    """`data` as a tensor, without copying where that is possible: a tensor keeps its history, an array its memory.

    >>> flambeau.as_tensor([1, 2])
    tensor([1, 2])
    """
    if isinstance(data, Tensor):
        return data if dtype is None and device is None else data.to(device=device, dtype=dtype)
    return _from_data(data, dtype, device)


@composite(override=False)
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """`obj` as a tensor, sharing memory where that is possible.

    Args:
        obj: a tensor, a NumPy array or scalar, an object with ``__dlpack__`` or the buffer protocol, a number or nested
            sequences of numbers. A buffer is read as elements of `dtype`.
        copy: True always copies, False raises ValueError where only a copy would do, None copies when it must.
        requires_grad: of the result; False cuts the history of a tensor.

    >>> flambeau.asarray([1, 2])
    tensor([1, 2])
    """
    from .._tensor import interop

    return interop.asarray(obj, dtype, device, copy, requires_grad)


# ---- sequences -----------------------------------------------------------------------------------------------------------

_ARANGE = """Numbers from `start` (0) up to but without `end`, in steps of `step` (1): ceil((end - start) / step) of them.

    int64 when all three are integers, else the default dtype. Raises RuntimeError for a step of 0 or of the wrong sign.

    >>> flambeau.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
_factory("arange.end(Scalar end, *, Tensor? out=None, OPTIONS) -> Tensor", _ARANGE)
_factory("arange(Scalar start, Scalar end, Scalar step=1, *, Tensor? out=None, OPTIONS) -> Tensor", "")
_factory(
    "range(Scalar start, Scalar end, Scalar step=1, *, Tensor? out=None, OPTIONS) -> Tensor",
    "Like `arange`, but with `end` included and of the default dtype. Deprecated.",
)
_factory(
    "linspace(Scalar start, Scalar end, int steps, *, Tensor? out=None, OPTIONS) -> Tensor",
    """`steps` numbers evenly spaced from `start` to `end`, both included; the ends may be zero-dimensional tensors.

    >>> flambeau.linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])
    """,
)
_factory(
    "linspace.Tensor_Tensor(Tensor start, Tensor end, int steps, *, Tensor? out=None, OPTIONS) -> Tensor",
    "",
    impl="linspace",
    why_not="not differentiable",
)
_factory(
    "logspace(Scalar start, Scalar end, int steps, float base=10.0, *, Tensor? out=None, OPTIONS) -> Tensor",
    """`base` to the powers `linspace(start, end, steps)`.

    >>> flambeau.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """,
)
_factory(
    "logspace.Tensor_Tensor(Tensor start, Tensor end, int steps, float base=10.0, *, Tensor? out=None, OPTIONS) -> Tensor",
    "",
    impl="logspace",
    why_not="not differentiable",
)
_EYE = """A matrix of n rows and m (n) columns with ones on the diagonal and zeros elsewhere.

    >>> flambeau.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
_factory("eye(int n, *, Tensor? out=None, OPTIONS) -> Tensor", _EYE)
_factory("eye.m(int n, int? m, *, Tensor? out=None, OPTIONS) -> Tensor", "")
_factory(
    "empty_permuted(int[] size, int[] physical_layout, *, OPTIONS) -> Tensor",
    """A dense tensor of `size` whose dimensions lie in memory in the order `physical_layout`, outermost first.

    >>> flambeau.empty_permuted((2, 3, 4), (1, 0, 2)).stride()
    (4, 8, 1)
    """,
)
_factory(
    "tril_indices(int row, int col, int offset=0, *, OPTIONS) -> Tensor",
    """Rows and columns, as a tensor of shape (2, count), of the lower triangle of a row x col matrix.

    >>> flambeau.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """,
)
_factory(
    "triu_indices(int row, int col, int offset=0, *, OPTIONS) -> Tensor",
    """Rows and columns, as a tensor of shape (2, count), of the upper triangle of a row x col matrix.

    >>> flambeau.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """,
)


@composite
@takes("vander(Tensor x, int? N=None, bool increasing=False)")
def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector: column j holds the powers N - 1 - j of x, or j if `increasing`.

    >>> flambeau.vander(flambeau.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    import flambeau

    if x.dim() != 1:
        raise RuntimeError(f"vander(): x must be a one-dimensional tensor, got {x.dim()} dimensions.")
    columns = x.shape[0] if N is None else N
    if columns < 0:
        raise RuntimeError(f"vander(): N must be non-negative, got {columns}.")
    dtype = flambeau.int64 if not (x.is_floating_point() or x.is_complex()) else x.dtype
    powers = x.new_ones((x.shape[0], columns), dtype=dtype)
    if columns > 1:
        powers = flambeau.cat([powers[:, :1], x.to(dtype)[:, None].expand(-1, columns - 1).cumprod(-1)], 1)
    return powers if increasing else powers.flip(1)
