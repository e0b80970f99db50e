"""Between layouts, the parts as tensors, and what keeps the layout: copies, conversions of dtype, likenesses."""

import flambeau
from flambeau import _C
from flambeau._dtypes_info import check_computing

from ..registry import records
from .construct import at_values, with_values_of
from .core import (
    BSC,
    BSR,
    COMPRESSED,
    COO,
    CSC,
    CSR,
    WORDS,
    as_coo,
    blocks_of,
    by_rows,
    coalesced,
    coo,
    dense_coo,
    empty_coo,
    form,
    from_coo,
    in_layout_of,
    is_coo,
    nnz,
    operator,
    parts,
    refuse,
    sparse_dim,
    to_coo,
    values_of,
    with_values,
)

_like = {"input": lambda grad: grad}


# ---- dense and sparse


def _to_dense_impl(input, dtype, masked_grad):
    """The strided tensor."""
    return dense_coo(to_coo(input), dtype)


def _to_dense_vjp(grad, input, masked_grad):
    # Masked: what is not specified is no variable, so the gradient has the places of the tensor.
    if masked_grad is False:
        return _to_layout(grad, input.layout, sparse_dim_of(input), blocks_of(input))
    return sparse_mask(grad, input.detach().coalesce() if is_coo(input) else input.detach())


def sparse_dim_of(t):
    return sparse_dim(t) if is_coo(t) else None


_to_dense = operator(
    "_sparse_to_dense(Tensor input, dtype? dtype=None, bool? masked_grad=None) -> Tensor",
    _to_dense_impl,
    vjp={"input": _to_dense_vjp},
    node="ToDenseBackward0",
)


def to_dense(self, dtype=None, *, masked_grad=True):
    """The strided tensor; itself when it is one already."""
    if self.layout is flambeau.strided:
        return self if dtype is None else self.to(dtype)
    return _to_dense(self, dtype, masked_grad)


def _to_layout_impl(input, layout, sparse_dim, blocksize, dense_dim):
    """A strided tensor in a sparse layout, or a sparse one in another."""
    if input.layout is not flambeau.strided:
        return from_coo(to_coo(input), layout, blocksize) if layout is not COO else as_coo(input)
    if layout is COO:
        count = input.dim() if sparse_dim is None else sparse_dim
        nonzero = input != 0
        if count < input.dim():
            nonzero = nonzero.flatten(count).any(-1)
        if count == 0:
            places = flambeau.zeros((0, int(bool(nonzero))), dtype=flambeau.int64)
            return coo(places, input.reshape(1)[: places.size(1)].clone(), (), True)
        indices = nonzero.nonzero().t().contiguous()
        return coo(indices, input[tuple(indices)], input.shape, True)
    dense = dense_dim or 0
    if input.dim() - dense < 2:
        raise IndexError(
            f"to_sparse: a tensor of {input.dim()} dimensions, {dense} of them dense, has no {WORDS[layout]} layout"
        )
    kept = input != 0
    if dense:
        kept = kept.flatten(input.dim() - dense).any(-1)
    if layout in (BSR, BSC):
        batch = kept.dim() - 2
        height, width = blocksize
        if input.size(batch) % height or input.size(batch + 1) % width:
            raise RuntimeError(
                f"dense_to_sparse_{str(layout)[-3:]}: tensor sparse size ({input.size(batch)},{input.size(batch + 1)}) must "
                f"be divisible by given blocksize ({height},{width})"
            )
        cells = kept.unflatten(batch + 1, (-1, width)).unflatten(batch, (-1, height))
        kept = cells.any(-1).any(-2)
        kept = kept.repeat_interleave(height, batch).repeat_interleave(width, batch + 1)
    indices = kept.nonzero().t().contiguous()
    return from_coo(coo(indices, input[tuple(indices)], input.shape, True), layout, blocksize)


_to_layout_op = operator(
    "_to_sparse(Tensor input, layout layout, int? sparse_dim=None, int[]? blocksize=None, int? dense_dim=None) -> Tensor",
    _to_layout_impl,
    vjp={"input": lambda grad: grad.to_dense()},
    node="ToSparseBackward0",
)
# Of a tensor that is sparse already, whose gradient keeps its layout.
_change_layout = operator(
    "_change_sparse_layout(Tensor input, layout layout, int[]? blocksize=None) -> Tensor",
    lambda input, layout, blocksize: _to_layout_impl(input, layout, None, blocksize, None),
    vjp={"input": lambda grad, input: _to_layout(grad, input.layout, sparse_dim_of(input), blocks_of(input))},
    node="ToSparseBackward0",
)


def _to_layout(t, layout, sparse_dim=None, blocksize=None, dense_dim=None):
    """Any tensor in a layout; itself when it has it."""
    if layout is t.layout:
        return t
    if layout is flambeau.strided:
        return to_dense(t)
    if t.layout is flambeau.strided:
        return _to_layout_op(t, layout, sparse_dim, blocksize, dense_dim)
    return _change_layout(t, layout, blocksize)


def to_sparse(self, sparse_dim=None, *, layout=None, blocksize=None, dense_dim=None):
    """The tensor in a sparse layout: its elements that are not zero.

    Args:
        sparse_dim: how many of the leading dimensions are sparse (sparse_coo). Default: all.
        layout: Default: sparse_coo.
        blocksize: height and width of the blocks (sparse_bsr, sparse_bsc).
        dense_dim: how many of the last dimensions are dense (compressed layouts). Default: 0.

    >>> flambeau.tensor([0.0, 5.0]).to_sparse()
    tensor(indices=tensor([[1]]),
           values=tensor([5.]),
           size=(2,), nnz=1, layout=torch.sparse_coo)
    """
    layout = COO if layout is None else layout
    if layout is COO and self.layout is flambeau.strided:
        check_computing(self, "nonzero_count_cpu")
    named = f"from {WORDS.get(self.layout)} to {WORDS.get(layout, layout)}"
    if blocksize is not None and layout not in (BSR, BSC):
        raise RuntimeError(
            f"dense_to_sparse: conversion {named} with blocksize argument given is not supported"
        )
    if layout in (BSR, BSC):
        if blocksize is None:
            if self.layout in (BSR, BSC):
                blocksize = blocks_of(self)
            else:
                raise RuntimeError(
                    f"dense_to_sparse: conversion {named} without blocksize argument given is not supported"
                )
        blocksize = tuple(blocksize)
        if len(blocksize) != 2 or min(blocksize) <= 0:
            raise RuntimeError(
                f"dense_to_sparse: blocksize needs to be a tuple of two positive sizes, got {blocksize}"
            )
    if sparse_dim is not None:
        if layout is not COO:
            raise RuntimeError(
                f"dense_to_sparse: conversion {named} with sparse_dim argument given is not supported"
            )
        if is_coo(self) and sparse_dim != sparse_dim_of(self):
            raise RuntimeError(
                "to_sparse: conversion from Sparse to Sparse with sparse_dim argument !=self.sparse_dim() is not supported"
            )
        if not 0 <= sparse_dim <= self.dim():
            raise RuntimeError(
                f"dense_to_sparse: sparse_dim argument must be in [0,{self.dim()}] range, but {sparse_dim} is given"
            )
        if sparse_dim == 0 and self.dim() > 0:
            raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    return _to_layout(self, layout, sparse_dim, blocksize, dense_dim)


def to_sparse_coo(self):
    """`to_sparse` in coordinate format."""
    return to_sparse(self)


def to_sparse_csr(self, dense_dim=None):
    """`to_sparse` in compressed rows."""
    return to_sparse(self, layout=CSR, dense_dim=dense_dim)


def to_sparse_csc(self, dense_dim=None):
    """`to_sparse` in compressed columns."""
    return to_sparse(self, layout=CSC, dense_dim=dense_dim)


def to_sparse_bsr(self, blocksize, dense_dim=None):
    """`to_sparse` in compressed rows of blocks."""
    return to_sparse(self, layout=BSR, blocksize=blocksize, dense_dim=dense_dim)


def to_sparse_bsc(self, blocksize, dense_dim=None):
    """`to_sparse` in compressed columns of blocks."""
    return to_sparse(self, layout=BSC, blocksize=blocksize, dense_dim=dense_dim)


def _sparse_mask_impl(input, mask):
    """The elements of `input` at the places of `mask`."""
    return with_values(mask, at_values(input, mask))


_sparse_mask = operator(
    "_sparse_mask(Tensor input, Tensor mask) -> Tensor",
    _sparse_mask_impl,
    vjp={"input": lambda grad, input, mask: _mask_vjp(grad, input, mask), "mask": None},
    node="SparseMaskBackward0",
)


def _mask_vjp(grad, input, mask):
    # A place that the mask has twice was read twice.
    grad = with_values_of(mask.detach(), at_values(grad, mask.detach()))
    if input.layout is flambeau.strided:
        return grad.to_dense()
    return sparse_mask(grad, input.detach().coalesce() if is_coo(input) else input.detach())


def sparse_mask(self, mask):
    """The elements of the tensor at the places that the sparse tensor `mask` specifies, as a sparse tensor.

    >>> flambeau.ones(2).sparse_mask(flambeau.tensor([0.0, 5.0]).to_sparse()).to_dense()
    tensor([0., 1.])
    """
    if mask.layout is flambeau.strided:
        refuse("sparse_mask", mask)
    if self.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(self.shape)} but mask has size "
            f"{list(mask.shape)}"
        )
    return _sparse_mask(self, mask)


# ---- parts


def _coalesce_impl(input):
    """Every place once, in order."""
    return coalesced(input)


_coalesce = operator("_coalesce(Tensor input) -> Tensor", _coalesce_impl, vjp=_like, node="CoalesceBackward0")


def _expect_coo(t, name):
    if not is_coo(t):
        raise RuntimeError(f"{name} expected sparse coordinate tensor layout but got {WORDS[t.layout]}")


def coalesce(self):
    """The tensor with every place once, in order: values of equal places are added. Itself when it is so already.

    >>> flambeau.sparse_coo_tensor([[1, 1]], [2.0, 3.0], (2,)).coalesce().values()
    tensor([5.])
    """
    _expect_coo(self, "coalesce")
    return self if parts(self)[3] else _coalesce(self)


def is_coalesced(self):
    """Whether every place is there once, in order, as far as is known without looking."""
    _expect_coo(self, "is_coalesced")
    return parts(self)[3]


def _coalesced_(self, coalesced):
    """Declare the tensor coalesced, or not."""
    return _C._sparse_set_coalesced(self, coalesced)


_values = operator(
    "_sparse_values(Tensor input) -> Tensor",
    lambda input: values_of(input),
    vjp={"input": lambda grad, input: with_values_of(input.detach(), grad)},
    node="ValuesBackward0",
)


def indices(self):
    """The places of a coalesced COO tensor: (sparse_dim, nnz)."""
    _expect_coo(self, "indices")
    if not parts(self)[3]:
        raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
    return parts(self)[0]


def values(self):
    """The values of a sparse tensor; one in coordinate format must be coalesced. They share its memory."""
    if self.layout is flambeau.strided:
        raise RuntimeError("values expected sparse tensor layout but got Strided")
    if is_coo(self) and not parts(self)[3]:
        raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
    return _values(self)


def _indices(self):
    if not is_coo(self):
        refuse("_indices", self)
    return parts(self)[0]


def _values_of(self):
    if not is_coo(self):
        refuse("_values", self)
    return values_of(self)


def _nnz(self):
    if self.layout is flambeau.strided:
        refuse("_nnz", self)
    return nnz(self)


def _compressed_part(self, name, which, rows):
    if self.layout not in COMPRESSED or by_rows(self.layout) != rows:
        raise RuntimeError(
            f"{name} expected sparse {'row' if rows else 'column'} compressed tensor layout but got {WORDS[self.layout]}"
        )
    return parts(self)[which]


def crow_indices(self):
    """Where each row's elements begin, and their number last (sparse_csr, sparse_bsr)."""
    return _compressed_part(self, "crow_indices", 0, True)


def col_indices(self):
    """The column of each element, or block (sparse_csr, sparse_bsr)."""
    return _compressed_part(self, "col_indices", 1, True)


def ccol_indices(self):
    """Where each column's elements begin, and their number last (sparse_csc, sparse_bsc)."""
    return _compressed_part(self, "ccol_indices", 0, False)


def row_indices(self):
    """The row of each element, or block (sparse_csc, sparse_bsc)."""
    return _compressed_part(self, "row_indices", 1, False)


def sparse_dim_method(self):
    """How many dimensions are sparse: 0 of a strided tensor."""
    if self.layout is flambeau.strided:
        return 0
    return sparse_dim(self) if is_coo(self) else 2


def dense_dim(self):
    """How many of the last dimensions are dense: all of a strided tensor."""
    if self.layout is flambeau.strided:
        return self.dim()
    if is_coo(self):
        return self.dim() - sparse_dim(self)
    starts, _, values, _ = parts(self)
    return values.dim() - starts.dim() - 2 * (self.layout in (BSR, BSC))


# ---- size in place

_OPTIONS = (
    "You could try the following options:\n1. If you need an empty sparse tensor of this size, call "
    "`x = torch.sparse_coo_tensor(size)`.\n2. If you need to resize this tensor, call `sparse_resize_and_clear_`."
)


def _check_resize(self, size, sparse_dim, dense_dim, name):
    _expect_coo(self, name)
    if sparse_dim + dense_dim != len(size):
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, sparse_dim = {sparse_dim}, "
            f"dense_dim = {dense_dim}"
        )
    if sparse_dim < 0 or dense_dim < 0:
        raise RuntimeError(
            f"{name}: numbers of dimensions must not be negative, got {sparse_dim} and {dense_dim}"
        )


def sparse_resize_(self, size, sparse_dim, dense_dim):
    """Give a COO tensor another size in place. One with values can only grow, with the same numbers of dimensions."""
    size = tuple(size)
    _check_resize(self, size, sparse_dim, dense_dim, "sparse_resize_")
    indices, _, values, done = parts(self)
    count, old = indices.size(0), tuple(self.shape)
    if nnz(self) == 0:
        return _C._sparse_assign(self, empty_coo(size, self.dtype, sparse_dim))
    for kind, now, wanted in (("sparse", count, sparse_dim), ("dense", len(old) - count, dense_dim)):
        if now != wanted:
            raise RuntimeError(
                f"changing the number of {kind} dimensions (from {now} to {wanted}) on a non-empty sparse tensor is not "
                f"supported. {_OPTIONS}"
            )
    for kind, now, wanted in (("sparse", old[:count], size[:count]), ("dense", old[count:], size[count:])):
        if any(n > w for n, w in zip(now, wanted, strict=True)):
            raise RuntimeError(
                f"shrinking the size of {kind} dimensions (from {list(now)} to {list(wanted)}) on a non-empty sparse tensor "
                f"is not supported. {_OPTIONS}"
            )
    if old[count:] != size[count:]:
        grown = values.new_zeros((values.size(0), *size[count:]))
        grown[(slice(None), *(slice(0, n) for n in old[count:]))] = values
        values = grown
    return _C._sparse_assign(self, coo(indices, values, size, done))


def sparse_resize_and_clear_(self, size, sparse_dim, dense_dim):
    """Make a COO tensor one of zeros of another size, in place."""
    size = tuple(size)
    _check_resize(self, size, sparse_dim, dense_dim, "sparse_resize_and_clear_")
    return _C._sparse_assign(self, empty_coo(size, self.dtype, sparse_dim))


# ---- forms: copies, conversions, likenesses

for _name in "detach is_same_size is_floating_point is_complex is_signed is_inference numel get_device result_type".split():
    _C._takes_sparse(records[_name].op)


def _copied(t):
    indices, plain, values, done = parts(t)
    plain = plain if plain is None else plain.clone()
    return _C._sparse_tensor(t.layout, indices.clone(), plain, values.clone(), t.shape, done)


@form("clone")
def _clone(input, memory_format):
    return _copied(input)


@form("alias")
def _alias(input):
    return input.detach()


@form("_to")
def _convert(input, dtype, device, copy, memory_format):
    if device is not None and flambeau.device(device).type != "cpu":
        raise NotImplementedError(f"to(): a sparse tensor cannot go to device {device}")
    if dtype is None or dtype is input.dtype:
        return _copied(input) if copy else input
    return with_values(_copied(input) if copy else input, values_of(input).to(dtype))


@form("to.dtype")
def _to_dtype(input, dtype, non_blocking, copy, memory_format):
    return _convert(input, dtype, None, copy, None)


@form("to.other")
def _to_other(input, other, non_blocking, copy, memory_format):
    if input.layout is flambeau.strided:
        return input.to(other.dtype, copy=copy)
    return _convert(input, other.dtype, other.device, copy, None)


@form("to")
def _to_device(input, device, dtype, non_blocking, copy, memory_format):
    return _convert(input, dtype, device, copy, None)


@form("type_as")
def _type_as(input, other):
    return _to_other(input, other, False, False, None)


@form("cpu")
def _cpu(input, memory_format):
    return input


def _named_conversion(name):
    wanted = getattr(flambeau, {"byte": "uint8", "char": "int8"}.get(name, name))

    @form(name)
    def converted(input, memory_format):
        return _convert(input, wanted, None, False, None)


for _name in "float double half bfloat16 bool byte char short int long chalf cfloat cdouble".split():
    _named_conversion(_name)


@form("copy_")
def _copy_into(input, src, non_blocking):
    if is_coo(input) != is_coo(src) or input.layout is not src.layout:
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{input.type()} and src type = {src.type()}"
        )
    if input.layout in COMPRESSED and (input.shape != src.shape or nnz(input) != nnz(src)):
        raise RuntimeError(
            f"copy of sparse compressed tensors having different numbers of specified elements, or sizes, is not supported: "
            f"{nnz(src)} of {list(src.shape)} into {nnz(input)} of {list(input.shape)}"
        )
    source = _copied(src)
    if source.dtype is not input.dtype:
        source = with_values(source, values_of(source).to(input.dtype))
    return _C._sparse_assign(input, source)


def _zeros(size, dtype, like):
    if is_coo(like):
        return empty_coo(tuple(size), dtype, sparse_dim(like) if len(size) == like.dim() else None)
    if len(size) != like.dim():
        raise RuntimeError(
            f"a tensor of layout {WORDS[like.layout]} has {like.dim()} dimensions, not {len(size)}"
        )
    dense = dense_dim(like)
    indices = flambeau.zeros((len(size) - dense, 0), dtype=flambeau.int64)
    t = coo(indices, flambeau.zeros((0, *size[len(size) - dense :]), dtype=dtype), tuple(size), True)
    return in_layout_of(t, like)


@form("zero_")
def _zero(input):
    return _C._sparse_assign(input, _zeros(input.shape, input.dtype, input))


@form("zeros_like", "empty_like")
def _zeros_like(input, dtype, layout, device, pin_memory, requires_grad, *memory_format):
    dtype = input.dtype if dtype is None else dtype
    if layout is flambeau.strided:
        return flambeau.zeros(tuple(input.shape), dtype=dtype, requires_grad=requires_grad)
    if layout is not None and layout is not input.layout:
        blocks = blocks_of(input) if layout in (BSR, BSC) else None
        zeros = _zeros(input.shape, dtype, input).to_sparse(layout=layout, blocksize=blocks)
        return zeros.requires_grad_(requires_grad)
    return _zeros(input.shape, dtype, input).requires_grad_(requires_grad)


@form("new_zeros", "new_empty")
def _new_zeros(input, size, dtype, layout, device, pin_memory, requires_grad):
    dtype = input.dtype if dtype is None else dtype
    size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    if layout is flambeau.strided:
        return flambeau.zeros(size, dtype=dtype, requires_grad=requires_grad)
    return _zeros(size, dtype, input).requires_grad_(requires_grad)


@form("new_tensor")
def _new_tensor(input, data, dtype, device, requires_grad, pin_memory=False):
    return flambeau.tensor(data, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)


def resize_as_sparse_(self, template):
    """Give the tensor the size, and the numbers of dimensions, of another sparse one, in place."""
    if tuple(self.shape) == tuple(template.shape):
        return self
    return sparse_resize_(
        self, tuple(template.shape), sparse_dim(template), template.dim() - sparse_dim(template)
    )
