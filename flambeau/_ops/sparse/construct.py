"""Making sparse tensors from indices and values, and the checks of what they claim."""

import functools

import flambeau

from .core import (
    BSC,
    BSR,
    COMPRESSED,
    CSC,
    CSR,
    WORDS,
    as_coo,
    at_places,
    by_rows,
    compressed,
    coo,
    coo_at_places,
    empty_coo,
    flat,
    is_coo,
    operator,
    parts,
    values_of,
    with_values,
)
from .core import COO as _COO


class check_sparse_tensor_invariants:
    """Whether new sparse tensors have their indices checked; off by default, since the check reads all of them.

    A context manager, a decorator, and functions to set it for good::

        with torch.sparse.check_sparse_tensor_invariants():
            ...

    >>> with flambeau.sparse.check_sparse_tensor_invariants():
    ...     flambeau.sparse_coo_tensor([[3]], [1.0], (2,))
    Traceback (most recent call last):
    RuntimeError: size is inconsistent with indices: for dim 0, size is 2 but found index 3
    """

    _enabled = False

    def __init__(self, enable=True):
        self._wanted = enable
        self._saved = None

    @staticmethod
    def is_enabled():
        """Whether the checks are on."""
        return check_sparse_tensor_invariants._enabled

    @staticmethod
    def enable():
        """Switch the checks on."""
        check_sparse_tensor_invariants._enabled = True

    @staticmethod
    def disable():
        """Switch the checks off."""
        check_sparse_tensor_invariants._enabled = False

    def __enter__(self):
        if self._saved is not None:
            raise RuntimeError(
                "This context manager instance is already activated. Use a different context manager instance"
            )
        self._saved = self.is_enabled()
        check_sparse_tensor_invariants._enabled = self._wanted
        return self

    def __exit__(self, *exc_info):
        check_sparse_tensor_invariants._enabled, self._saved = self._saved, None

    def __call__(self, function):
        @functools.wraps(function)
        def checked(*args, **kwargs):
            with type(self)(self._wanted):
                return function(*args, **kwargs)

        return checked


def _is_checked(check_invariants):
    return check_sparse_tensor_invariants.is_enabled() if check_invariants is None else check_invariants


def check_coo(indices, size, coalesced):
    """RuntimeError unless the indices lie in their dimensions (and are in order, where they are declared to be)."""
    if indices.numel() == 0:
        return
    low, high = indices.amin(1).tolist(), indices.amax(1).tolist()
    for d, (least, most) in enumerate(zip(low, high, strict=True)):
        if least < 0:
            raise RuntimeError(f"found negative index {least} for dim {d}")
        if most >= size[d]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {d}, size is {size[d]} but found index {most}"
            )
    if coalesced:
        places = flat(indices, size[: indices.size(0)])
        if not bool((places[1:] > places[:-1]).all()):
            raise RuntimeError(
                "cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor"
            )


def check_compressed(t):
    """RuntimeError unless the indices of a tensor of a compressed layout describe its places."""
    starts, plain, _, _ = parts(t)
    rows = by_rows(t.layout)
    compressed_name, plain_name = ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")
    lines, line, length = ("nrows", "row", "ncols") if rows else ("ncols", "column", "nrows")
    batch = starts.dim() - 1
    height, width = (parts(t)[2].shape[batch + 1 : batch + 3]) if t.layout in (BSR, BSC) else (1, 1)
    size = t.shape[batch] // height, t.shape[batch + 1] // width
    most = size[1] if rows else size[0]

    def require(holds, text):
        if not bool(holds):
            raise RuntimeError(f"`{text}` is not satisfied.")

    require((starts[..., 0] == 0).all(), f"{compressed_name}[..., 0] == 0")
    require((starts[..., -1] == plain.size(-1)).all(), f"{compressed_name}[..., -1] == nnz")
    steps = starts[..., 1:] - starts[..., :-1]
    require(
        ((steps >= 0) & (steps <= most)).all(),
        f"0 <= {compressed_name}[..., 1:] - {compressed_name}[..., :-1] <= {length}",
    )
    require(((plain >= 0) & (plain < most)).all(), f"0 <= {plain_name} < {length}")
    flat_starts = starts.reshape(-1, starts.size(-1)).long()
    for one_starts, one_plain in zip(flat_starts, plain.reshape(flat_starts.size(0), -1).long(), strict=True):
        counts = one_starts[1:] - one_starts[:-1]
        place = flambeau.arange(counts.size(0)).repeat_interleave(counts) * max(most, 1) + one_plain
        require(
            (place[1:] > place[:-1]).all(),
            f"{plain_name}[..., {compressed_name}[..., i - 1]:{compressed_name}[..., i]] for all i = 1, ..., {lines} are "
            "sorted and distinct along the last dimension values",
        )


# ---- operators that the graph sees


def at_values(grad, t):
    """The elements of `grad`, dense or sparse, at the places of `t`, in the shape of its values."""
    return (_strided_at_values if grad.layout is flambeau.strided else _at_values)(grad, t)


def _at_values_impl(grad, t):
    """The elements of a tensor at the places of a sparse one."""
    indices, plain, values, _ = parts(t)
    if grad.layout is t.layout:
        own, own_plain, own_values, _ = parts(grad)
        same = own.shape == indices.shape and bool((own == indices).all())
        if plain is not None:
            same = same and own_plain.shape == plain.shape and bool((own_plain == plain).all())
        if same:
            return own_values.clone()
    if plain is None:
        if grad.layout is flambeau.strided:
            return at_places(grad, indices, t.shape)
        return coo_at_places(grad if is_coo(grad) else as_coo(grad), indices, t.shape)
    dense = grad if grad.layout is flambeau.strided else grad.to_dense()
    numbers = flambeau.arange(1, values.numel() + 1).view(values.shape)
    # Where each value stands: the values' own numbers, laid out by the same rule.
    laid = as_coo(with_values(t, numbers))
    order = values_of(laid)
    picked = at_places(dense, parts(laid)[0], t.shape)
    out = values.new_empty((values.numel(),), dtype=dense.dtype)
    out[order.reshape(-1) - 1] = picked.reshape(-1)
    return out.view(values.shape)


_at_values = operator(
    "_sparse_at_values(Tensor input, Tensor pattern) -> Tensor",
    _at_values_impl,
    vjp={
        "input": lambda grad, pattern: with_values_of(pattern, grad),
        "pattern": None,
    },
)
# The same of a strided tensor, whose gradient is strided.
_strided_at_values = operator(
    "_strided_at_values(Tensor input, Tensor pattern) -> Tensor",
    _at_values_impl,
    vjp={
        "input": lambda grad, pattern: with_values_of(pattern, grad).to_dense(),
        "pattern": None,
    },
)


def _with_values_impl(pattern, values):
    """The places of a sparse tensor with other values."""
    return with_values(pattern, values)


with_values_of = operator(
    "_sparse_with_values(Tensor pattern, Tensor values) -> Tensor",
    _with_values_impl,
    vjp={"pattern": None, "values": lambda grad, result: at_values(grad, result)},
)


def _coo_impl(indices, values, size, is_coalesced):
    """A COO tensor on these parts."""
    return coo(indices, values, size, is_coalesced)


make_coo = operator(
    "_sparse_coo_tensor(Tensor indices, Tensor values, int[] size, bool is_coalesced=False) -> Tensor",
    _coo_impl,
    vjp={"indices": None, "values": lambda grad, result: at_values(grad, result)},
)


def _compressed_impl(starts, plain, values, size, layout):
    """A tensor of a compressed layout on these parts."""
    return compressed(layout, starts, plain, values, size)


make_compressed = operator(
    "_sparse_compressed_tensor(Tensor compressed_indices, Tensor plain_indices, Tensor values, int[] size, layout layout)"
    " -> Tensor",
    _compressed_impl,
    vjp={
        "compressed_indices": None,
        "plain_indices": None,
        "values": lambda grad, result: at_values(grad, result),
    },
)


def hollow(size, dtype, layout, device, requires_grad):
    """Zeros of a sparse layout, with nothing specified."""
    _check_device(device)
    dtype = flambeau.get_default_dtype() if dtype is None else dtype
    if layout is _COO:
        made = empty_coo(tuple(size), dtype)
    elif layout not in (CSR, CSC):
        raise RuntimeError(f"a tensor of layout {WORDS.get(layout, layout)} cannot be made from a size alone")
    elif len(size) != 2:
        raise RuntimeError(f"torch.empty: Only 2D sparse CSR tensors are supported, got size {list(size)}")
    else:
        nothing = flambeau.zeros((0,), dtype=flambeau.int64)
        lines = size[0] if layout is CSR else size[1]
        starts = flambeau.zeros((lines + 1,), dtype=flambeau.int64)
        made = compressed(layout, starts, nothing, flambeau.zeros((0,), dtype=dtype), tuple(size))
    return made.requires_grad_(bool(requires_grad))


# ---- public functions


def _value_tensor(values, dtype, device):
    if isinstance(values, flambeau.Tensor):
        return values if dtype is None else values.to(dtype)
    return flambeau.tensor(values, dtype=dtype, device=device)


def _index_tensor(indices, dtype=flambeau.int64):
    if isinstance(indices, flambeau.Tensor):
        return indices.detach().to(dtype)
    return flambeau.tensor(indices, dtype=dtype)


def _size_of(size):
    return tuple(size) if isinstance(size, (tuple, list)) else (size,)


def _check_device(device):
    if device is not None and flambeau.device(device).type != "cpu":
        raise NotImplementedError(
            f"a sparse tensor on device {device}: sparse tensors are made on the CPU only"
        )


def sparse_coo_tensor(
    *args, size=None, indices=None, values=None, dtype=None, device=None, pin_memory=False, requires_grad=False,
    check_invariants=None, is_coalesced=None,
):  # fmt: skip
    """A sparse tensor in coordinate format: ``sparse_coo_tensor(indices, values, size=None)``, or ``(size)`` for zeros.

    Args:
        indices: (sparse_dim, nnz); column k says where value k stands. Places may repeat: their values add up.
        values: (nnz, *dense sizes), a tensor or nested lists.
        size: of the whole tensor; by default the smallest that holds all indices.
        dtype: of the values. Default: that of `values`.
        check_invariants: whether to check that indices lie inside `size`. Default: as
            `sparse.check_sparse_tensor_invariants` says.
        is_coalesced: True promises that places are distinct and in order.
        requires_grad: record operators on the tensor.

    >>> flambeau.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    tensor(indices=tensor([[0, 1],
                           [2, 0]]),
           values=tensor([3., 4.]),
           size=(2, 3), nnz=2, layout=torch.sparse_coo)

    Raises RuntimeError when the shapes of indices, values and size disagree.
    """
    if len(args) > 3:
        raise TypeError(f"sparse_coo_tensor() takes at most 3 positional arguments ({len(args)} given)")
    given = {"indices": indices, "values": values, "size": size}
    positional = ("size",) if len(args) == 1 and indices is None and values is None else tuple(given)
    for name, value in zip(positional, args, strict=False):
        if given[name] is not None:
            raise TypeError(f"sparse_coo_tensor() got multiple values for argument '{name}'")
        given[name] = value
    indices, values, size = given["indices"], given["values"], given["size"]
    _check_device(device)
    if indices is None and values is None:
        if size is None:
            raise TypeError("sparse_coo_tensor() needs indices and values, or a size")
        dtype = flambeau.get_default_dtype() if dtype is None else dtype
        return empty_coo(_size_of(size), dtype).requires_grad_(requires_grad)
    if indices is None or values is None:
        raise TypeError("sparse_coo_tensor() needs both indices and values")
    values = _value_tensor(values, dtype, device)
    indices = _index_tensor(indices)
    if values.dim() == 0:
        values = values.reshape(1)
    if indices.dim() != 2:
        if size is not None and indices.dim() == 1:
            raise RuntimeError(
                "'len(size) == sparse_dim + dense_dim' is not satisfied: indices must be sparse_dim x nnz, but got: "
                f"{list(indices.shape)}"
            )
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if size is None:
        if indices.numel():
            for d, least in enumerate(indices.amin(1).tolist()):
                if least < 0:
                    raise RuntimeError(f"found negative index {least} for dim {d}")
            size = [most + 1 for most in indices.amax(1).tolist()]
        else:
            size = [0] * indices.size(0)
        size = (*size, *values.shape[1:])
    size = _size_of(size)
    made = make_coo(indices, values, size, bool(is_coalesced))
    if _is_checked(check_invariants):
        check_coo(indices, size, is_coalesced)
    return made.requires_grad_() if requires_grad else made


_AXES = {CSR: "row", BSR: "row", CSC: "column", BSC: "column"}


def _compressed_tensor(starts, plain, values, size, layout, dtype, device, requires_grad, check_invariants):
    _check_device(device)
    values = _value_tensor(values, dtype, device)
    dtypes = [t.dtype for t in (starts, plain) if isinstance(t, flambeau.Tensor)]
    wanted = flambeau.int32 if dtypes and all(d is flambeau.int32 for d in dtypes) else flambeau.int64
    starts, plain = _index_tensor(starts, wanted), _index_tensor(plain, wanted)
    if size is None:
        batch = starts.dim() - 1
        if batch < 0 or values.dim() <= batch:
            raise RuntimeError("cannot infer the size: indices and values need a dimension for the elements")
        block = tuple(values.shape[batch + 1 : batch + 3]) if layout in (BSR, BSC) else (1, 1)
        lines = starts.size(-1) - 1
        across = int(plain.max()) + 1 if plain.numel() else 0
        grid = (lines, across) if by_rows(layout) else (across, lines)
        dense = values.shape[batch + 1 + 2 * (layout in (BSR, BSC)) :]
        size = (*starts.shape[:-1], *(n * b for n, b in zip(grid, block, strict=True)), *dense)
    made = make_compressed(starts, plain, values, _size_of(size), layout)
    if _is_checked(check_invariants):
        check_compressed(made.detach())
    return made.requires_grad_() if requires_grad else made


def sparse_compressed_tensor(
    compressed_indices, plain_indices, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A sparse tensor in one of the compressed formats, which `layout` names.

    `compressed_indices` say for each row (column, for sparse_csc and sparse_bsc) where its elements begin among
    `plain_indices` and `values`, and last how many there are.

    >>> flambeau.sparse_compressed_tensor([0, 1, 2], [1, 0], [3.0, 4.0], (2, 2), layout=flambeau.sparse_csr).to_dense()
    tensor([[0., 3.],
            [4., 0.]])
    """
    if layout not in COMPRESSED:
        raise RuntimeError(
            "sparse_compressed_tensor expected sparse compressed tensor layout but got "
            f"{'none' if layout is None else WORDS.get(layout, layout)}"
        )
    return _compressed_tensor(
        compressed_indices,
        plain_indices,
        values,
        size,
        layout,
        dtype,
        device,
        requires_grad,
        check_invariants,
    )


def sparse_csr_tensor(
    crow_indices, col_indices, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A sparse matrix, or batches of them, in compressed rows.

    Args:
        crow_indices: (*batch, rows + 1): where each row's elements begin, and their number last. int32 or int64.
        col_indices: (*batch, nnz): the column of each element, ascending within a row.
        values: (*batch, nnz, *dense sizes).
        size: default: as many columns as the indices need.
        check_invariants: whether to check the indices.

    >>> flambeau.sparse_csr_tensor([0, 1, 2], [1, 0], [3.0, 4.0]).to_dense()
    tensor([[0., 3.],
            [4., 0.]])
    """
    return _compressed_tensor(
        crow_indices, col_indices, values, size, CSR, dtype, device, requires_grad, check_invariants
    )


def sparse_csc_tensor(
    ccol_indices, row_indices, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A sparse matrix in compressed columns: `sparse_csr_tensor` with rows and columns exchanged.

    >>> flambeau.sparse_csc_tensor([0, 1, 2], [1, 0], [3.0, 4.0]).to_dense()
    tensor([[0., 4.],
            [3., 0.]])
    """
    return _compressed_tensor(
        ccol_indices, row_indices, values, size, CSC, dtype, device, requires_grad, check_invariants
    )


def sparse_bsr_tensor(
    crow_indices, col_indices, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A sparse matrix of dense blocks in compressed rows of blocks; values are (nnz, block height, block width).

    >>> flambeau.sparse_bsr_tensor([0, 1], [0], [[[1.0, 2.0]]]).to_dense()
    tensor([[1., 2.]])
    """
    return _compressed_tensor(
        crow_indices, col_indices, values, size, BSR, dtype, device, requires_grad, check_invariants
    )


def sparse_bsc_tensor(
    ccol_indices, row_indices, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A sparse matrix of dense blocks in compressed columns of blocks.

    >>> flambeau.sparse_bsc_tensor([0, 1], [0], [[[1.0, 2.0]]]).to_dense()
    tensor([[1., 2.]])
    """
    return _compressed_tensor(
        ccol_indices, row_indices, values, size, BSC, dtype, device, requires_grad, check_invariants
    )


def spdiags(diagonals, offsets, shape, layout=None):
    """A sparse matrix of `shape` with the rows of `diagonals` on its diagonals.

    Args:
        diagonals: (k, n): element j of a row stands in column j of its diagonal.
        offsets: (k,): which diagonals, above the main one if positive; all different.
        layout: sparse_coo, sparse_csr or sparse_csc. Default: sparse_coo.

    >>> flambeau.sparse.spdiags(flambeau.tensor([[1.0, 2.0]]), flambeau.tensor([1]), (2, 2)).to_dense()
    tensor([[0., 2.],
            [0., 0.]])
    """
    diagonals = diagonals.unsqueeze(0) if diagonals.dim() == 1 else diagonals
    offsets = offsets.unsqueeze(0) if offsets.dim() == 0 else offsets
    if diagonals.dim() != 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if offsets.dim() != 1:
        raise RuntimeError("Offsets must be scalar or vector")
    if offsets.numel() != diagonals.size(0):
        raise RuntimeError(
            f"Number of diagonals ({diagonals.size(0)}) does not match the number of offsets ({offsets.numel()})"
        )
    if offsets.unique().numel() != offsets.numel():
        raise RuntimeError("Offset tensor contains duplicate values")
    if layout not in (None, _COO, CSR, CSC):
        raise RuntimeError(f"Only output layouts (Sparse, SparseCsc, SparseCsr) are supported, got {layout}")
    rows, columns = shape
    column = flambeau.arange(diagonals.size(1)).expand(diagonals.shape)
    row = column - offsets.long().unsqueeze(1)
    inside = (row >= 0) & (row < rows) & (column < columns)
    indices = flambeau.stack((row[inside], column[inside]))
    made = make_coo(indices, diagonals[inside], (rows, columns), False)
    return made if layout in (None, _COO) else made.to_sparse(layout=layout)
