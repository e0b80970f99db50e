"""Other windows on the same elements: nothing here copies."""

from .outputs import check_dtype, deliver
from .registry import composite, op, takes


def _view(signature, doc, **fields):
    op(signature, doc, view=True, **fields)


_view(
    "as_strided(Tensor input, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
    """A window of any size and strides (in elements) on the storage of `input`; it must lie inside.

    >>> flambeau.as_strided(flambeau.arange(4), (2, 2), (1, 1))
    tensor([[0, 1],
            [1, 2]])
    """,
    vjp={
        "input": lambda grad, input_geometry, size, stride, storage_offset: _as_strided_vjp(
            grad, input_geometry, size, stride, storage_offset
        )
    },
)


def _as_strided_vjp(grad, input_geometry, size, stride, storage_offset):
    """Adds up in a storage-shaped buffer: elements that several places of the window showed get all their gradients."""
    shape, strides, start = input_geometry
    offset = start if storage_offset is None else storage_offset
    low = min(offset, start)
    reach = 1 + max(
        offset - low + sum((n - 1) * s for n, s in zip(size, stride, strict=True) if n > 0),
        start - low + sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if n > 0),
    )
    repeated = [d for d, (n, s) in enumerate(zip(size, stride, strict=True)) if s == 0 and n != 1]
    if repeated:
        grad = grad.sum(repeated)
        size, stride = ([v for d, v in enumerate(values) if d not in repeated] for values in (size, stride))
    buffer = grad.new_zeros((reach,))
    if _is_injective(size, stride):
        buffer.as_strided(size, stride, offset - low).copy_(grad)
    else:
        positions = _positions(grad, size, stride, offset - low)
        buffer = buffer.index_put((positions,), grad.reshape(-1), accumulate=True)
    return buffer.as_strided(shape, strides, start - low)


def _is_injective(size, stride):
    """Whether a window shows no element twice: each stride steps over all that the smaller ones reach."""
    reach = 0
    for s, n in sorted((s, n) for n, s in zip(size, stride, strict=True) if n > 1):
        if s <= reach:
            return False
        reach += (n - 1) * s
    return True


def _positions(like, size, stride, offset):
    import flambeau

    total = flambeau.full((), offset, dtype=flambeau.int64)
    for n, s in zip(size, stride, strict=True):
        total = total.unsqueeze(-1) + flambeau.arange(n) * s
    return total.reshape(-1)


_view(
    "view(Tensor input, int[] size) -> Tensor",
    """The same elements in another shape (one size may be -1), without copying.

    Raises RuntimeError when the strides do not allow it; `reshape` copies then.

    >>> flambeau.arange(4).view(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """,
    vjp={"input": lambda grad, input_shape: grad.reshape(input_shape)},
    public=False,
)
op(
    "reshape(Tensor input, int[] shape) -> Tensor",
    """The same elements in another shape (one size may be -1): a view where the strides allow it, else a copy.

    >>> flambeau.reshape(flambeau.arange(4), (2, 2))
    tensor([[0, 1],
            [2, 3]])
    """,
    view=True,
    vjp={"input": lambda grad, input_shape: grad.reshape(input_shape)},
)
_view(
    "permute(Tensor input, int[] dims) -> Tensor",
    """The dimensions in the order `dims`.

    >>> flambeau.permute(flambeau.ones(2, 3, 4), (2, 0, 1)).shape
    torch.Size([4, 2, 3])
    """,
    vjp={"input": lambda grad, dims: grad.permute(_inverse(dims, grad.dim()))},
)


def _inverse(dims, n):
    inverse = [0] * n
    for i, d in enumerate(dims):
        inverse[d % n] = i
    return inverse


_view(
    "transpose(Tensor input, int dim0, int dim1) -> Tensor",
    """Dimensions dim0 and dim1 exchanged.

    >>> flambeau.transpose(flambeau.ones(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """,
    vjp={"input": lambda grad, dim0, dim1: grad.transpose(dim0, dim1)},
    aliases=("swapdims",),
)


@composite(method=True)
@takes("swapaxes(Tensor input, int axis0, int axis1)")
def swapaxes(input, axis0, axis1):
    """`transpose` with NumPy's names.

    >>> flambeau.swapaxes(flambeau.ones(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    return input.transpose(axis0, axis1)


_view(
    "t(Tensor input) -> Tensor",
    """Transpose of a matrix; tensors of fewer dimensions are returned as they are.

    >>> flambeau.t(flambeau.ones(2, 3)).shape
    torch.Size([3, 2])
    """,
    vjp={"input": lambda grad: grad.t()},
)
_view(
    "expand(Tensor input, int[] size, *, bool implicit=False) -> Tensor",
    """Dimensions of size 1 repeated to `size` without memory (stride 0); -1 keeps a size.

    >>> flambeau.ones(3, 1).expand(-1, 4).stride()
    (1, 0)
    """,
    vjp={"input": lambda grad: grad},  # the engine sums over what was repeated
    public=False,
)
_view(
    "select(Tensor input, int dim, int index) -> Tensor",
    """The slice at `index` of dimension `dim`, without that dimension.

    >>> flambeau.select(flambeau.arange(4).view(2, 2), 0, 1)
    tensor([2, 3])
    """,
    vjp={
        "input": lambda grad, input_shape, dim, index: _embedded(
            grad, input_shape, lambda t: t.select(dim, index)
        )
    },
)


def _embedded(grad, shape, view_of):
    """Zeros of `shape` with `grad` in one view of them."""
    out = grad.new_zeros(shape)
    view_of(out).copy_(grad)
    return out


_view(
    "slice(Tensor input, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
    "Elements start, start + step, ... before end of dimension `dim`.",
    vjp={
        "input": lambda grad, input_shape, dim, start, end, step: _embedded(
            grad, input_shape, lambda t: t._slice(dim, start, end, step)
        )
    },
    public=False,
    method="_slice",
)
_view(
    "narrow.Tensor(Tensor input, int dim, Tensor start, int length) -> Tensor",
    "",
    vjp={
        "input": lambda grad, input_shape, dim, start, length: _embedded(
            grad, input_shape, lambda t: t.narrow(dim, start, length)
        )
    },
)
_view(
    "narrow(Tensor input, int dim, int start, int length) -> Tensor",
    """`length` elements of dimension `dim` from `start` on.

    >>> flambeau.narrow(flambeau.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """,
    vjp={
        "input": lambda grad, input_shape, dim, start, length: _embedded(
            grad, input_shape, lambda t: t.narrow(dim, start, length)
        )
    },
)
_view(
    "unsqueeze(Tensor input, int dim) -> Tensor",
    """A dimension of size 1 inserted at `dim`.

    >>> flambeau.unsqueeze(flambeau.ones(3), 0).shape
    torch.Size([1, 3])
    """,
    vjp={"input": lambda grad, input_shape: grad.reshape(input_shape)},
)
_view(
    "squeeze(Tensor input, int[1]? dim=None) -> Tensor",
    """Without dimensions of size 1: all of them, or those named that have it.

    >>> flambeau.squeeze(flambeau.ones(1, 3, 1)).shape
    torch.Size([3])
    """,
    vjp={"input": lambda grad, input_shape: grad.reshape(input_shape)},
)
_view(
    "unfold(Tensor input, int dimension, int size, int step) -> Tensor",
    """All windows of `size` elements of a dimension, `step` apart, along a new last dimension.

    >>> flambeau.arange(4).unfold(0, 2, 1)
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """,
    vjp={
        "input": lambda grad, input_shape, dimension, size, step: _unfold_vjp(
            grad, input_shape, dimension, size, step
        )
    },
    public=False,
)


def _unfold_vjp(grad, shape, dimension, size, step):
    import flambeau

    if not shape:
        return grad.reshape(shape)
    dimension %= len(shape)
    count = grad.shape[dimension]
    index = (flambeau.arange(count).unsqueeze(1) * step + flambeau.arange(size)).reshape(-1)
    windows = grad.movedim(-1, dimension + 1).flatten(dimension, dimension + 1)
    return grad.new_zeros(shape).index_add(dimension, index, windows)


_view(
    "diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1) -> Tensor",
    """The diagonal of dimensions dim1 and dim2, `offset` places above the main one, as a last dimension.

    >>> flambeau.diagonal(flambeau.arange(4).view(2, 2))
    tensor([0, 3])
    """,
    vjp={
        "input": lambda grad, input_shape, offset, dim1, dim2: _embedded(
            grad, input_shape, lambda t: t.diagonal(offset, dim1, dim2)
        )
    },
)
_view(
    "alias(Tensor input) -> Tensor",
    "The same window as a new tensor.",
    vjp={"input": lambda grad: grad},
    public=False,
    method="_alias",
)
op(
    "detach(Tensor input) -> Tensor",
    """The same elements without history: gradients do not flow through it.

    >>> flambeau.detach(flambeau.ones(2, requires_grad=True)).requires_grad
    False
    """,
    why_not=None,
)
_view(
    "unbind(Tensor input, int dim=0) -> Tensor",
    """All slices along a dimension, as a tuple of views.

    >>> flambeau.unbind(flambeau.arange(2))
    (tensor(0), tensor(1))
    """,
    vjp={
        "input": lambda grads, input_shape, input_dtype, dim: _unbind_vjp(
            grads, input_shape, input_dtype, dim
        )
    },
)


def _unbind_vjp(grads, shape, dtype, dim):
    import flambeau

    some = next(g for g in grads if g is not None)
    return flambeau.stack([some.new_zeros(some.shape) if g is None else g for g in grads], dim)


_view(
    "split_with_sizes(Tensor input, int[] split_sizes, int dim=0) -> Tensor",
    "Consecutive pieces of the given sizes along a dimension, as a tuple of views.",
    vjp={
        "input": lambda grads, input_shape, split_sizes, dim: _split_vjp(grads, input_shape, split_sizes, dim)
    },
)
op(
    "unsafe_split_with_sizes(Tensor input, int[] split_sizes, int dim=0) -> Tensor",
    """`split_with_sizes`, whose pieces lie in the input's memory but count as no views of it: each may be written in place
    without the others' and the input's knowing. What the input's gradient needs must not be overwritten so.

    >>> flambeau.unsafe_split_with_sizes(flambeau.arange(3), (1, 2))
    (tensor([0]), tensor([1, 2]))
    """,
    vjp={
        "input": lambda grads, input_shape, split_sizes, dim: _split_vjp(grads, input_shape, split_sizes, dim)
    },
)


def _split_vjp(grads, shape, sizes, dim):
    import flambeau

    some = next(g for g in grads if g is not None)
    dim %= len(shape)
    return flambeau.cat(
        [
            some.new_zeros((*shape[:dim], n, *shape[dim + 1 :])) if g is None else g
            for g, n in zip(grads, sizes, strict=True)
        ],
        dim,
    )


# ---- in place: the tensor itself becomes another window ---------------------------------------------------------------

# A rule reads its arguments after the operator ran, when the window that there was is gone: it comes along.
_as_strided_in_place = op(
    "_as_strided_(Tensor input, int[] size, int[] stride, int? storage_offset, int[] old_size, int[] old_stride, "
    "int old_offset) -> Tensor",
    "In-place form of `as_strided`.",
    impl="as_strided_",
    view=True,
    public=False,
    method=False,
    vjp={
        "input": lambda grad, size, stride, storage_offset, old_size, old_stride, old_offset: _as_strided_vjp(
            grad, (old_size, old_stride, old_offset), size, stride, storage_offset
        )
    },
)


@composite(method=True)
@takes("as_strided_(Tensor input, int[] size, int[] stride, int? storage_offset=None)")
def as_strided_(input, size, stride, storage_offset=None):
    """In-place form of `as_strided`: the tensor itself becomes that window.

    >>> x = flambeau.arange(4)
    >>> x.as_strided_((2, 2), (2, 1))
    tensor([[0, 1],
            [2, 3]])
    """
    old = input.shape, input.stride(), input.storage_offset()
    return _as_strided_in_place(input, size, stride, storage_offset, *old)


op(
    "transpose_(Tensor input, int dim0, int dim1) -> Tensor",
    "In-place form of `transpose`.",
    view=True,
    public=False,
    aliases=("swapdims_",),
    vjp={"input": lambda grad, dim0, dim1: grad.transpose(dim0, dim1)},
)


@composite(method=True, public=False)
@takes("swapaxes_(Tensor input, int axis0, int axis1)")
def swapaxes_(input, axis0, axis1):
    """In-place form of `swapaxes`."""
    return input.transpose_(axis0, axis1)


op(
    "unsqueeze_(Tensor input, int dim) -> Tensor",
    "In-place form of `unsqueeze`.",
    view=True,
    public=False,
    vjp={"input": lambda grad, dim: grad.squeeze(dim)},
)


@composite(method=True, public=False)
@takes("t_(Tensor input)")
def t_(self):
    """In-place form of `t`."""
    if self.dim() > 2:
        raise RuntimeError(f"t_() expects a tensor with <= 2 dimensions, but self is {self.dim()}D")
    return self.transpose_(0, 1) if self.dim() == 2 else self


@composite(method=True, public=False)
def squeeze_(self, dim=None):
    """In-place form of `squeeze`."""
    view = self.detach().squeeze(dim)
    return self.as_strided_(view.shape, view.stride(), view.storage_offset())


# ---- copies of views -----------------------------------------------------------------------------------------------------


def _copy_of(name):
    """`NAME_copy`: what the view shows, in memory of its own."""

    def copied(*args, out=None, **kwargs):
        from .registry import collect, functions, methods

        view_of = collect({name: functions.get(name) or methods.get(name) or methods["_" + name]})[name]
        view = view_of(*args, **kwargs)
        if isinstance(view, (tuple, list)):
            made = tuple(_own(v) for v in view)
            if out is None:
                return made
            for o, v in zip(out, made, strict=True):
                check_dtype(v.dtype, o, copied.__name__, same_dtype=True)
            for o, v in zip(out, made, strict=True):
                deliver(v, o, copied.__name__)
            return None
        return deliver(_own(view) if out is None else view, out, copied.__name__, same_dtype=True)

    copied.__name__ = copied.__qualname__ = name + "_copy"
    copied.__doc__ = f"`{name}` as a copy: the result shares no memory with the input."
    composite(copied)


def _own(view):
    import flambeau

    return view.clone(memory_format=flambeau.contiguous_format)


for _name in (
    "alias as_strided detach diagonal expand permute select slice split split_with_sizes squeeze t transpose "
    "unbind unfold unsqueeze view view_as_complex view_as_real"
).split():
    _copy_of(_name)


@composite(method=True)
@takes("narrow_copy(Tensor input, int dim, int start, int length, *, Tensor? out=None)")
def narrow_copy(input, dim, start, length, *, out=None):
    """`narrow` as a copy: the result shares no memory with the input.

    >>> flambeau.narrow_copy(flambeau.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    if dim >= input.dim() > 0:
        raise RuntimeError(f"narrow_copy(): dim must be less than {input.dim()}, got {dim}")
    if length < 0:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({input.size(dim)}).")
    view = input.narrow(dim, start, length)
    return deliver(_own(view) if out is None else view, out, "narrow_copy", same_dtype=True)
