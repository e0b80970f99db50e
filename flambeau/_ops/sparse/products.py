"""Products of matrices, one of them sparse at least."""

import flambeau

from . import native
from .construct import with_values_of
from .convert import _values, sparse_mask
from .core import (
    COO,
    CSR,
    WORDS,
    as_coo,
    coalesced,
    compressed,
    coo,
    form,
    in_layout_of,
    is_coo,
    is_dense,
    operator,
    parts,
    refuse,
    starts_of_sorted,
    sum_groups,
    to_coo,
    values_of,
)
from .pointwise import _sum, deliver


def _adjoint(matrix):
    turned = matrix.transpose(-2, -1)
    return turned.conj_physical() if turned.dtype.is_complex else turned


def _check_product(name, a, b):
    if a.dim() != 2 or b.dim() != 2:
        raise RuntimeError(f"{name}: expected two matrices, got {a.dim()}D and {b.dim()}D tensors")
    if a.size(1) != b.size(0):
        raise RuntimeError(
            f"{name}: mat1 and mat2 shapes cannot be multiplied ({a.size(0)}x{a.size(1)} and {b.size(0)}x{b.size(1)}): "
            f"Argument #3: Expected dim 0 size {a.size(1)}, got {b.size(0)}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: expected scalar type {a.dtype} but found {b.dtype}: both matrices need one dtype"
        )


def _rows(t):
    """A sparse matrix by rows: (starts, columns, values)."""
    if t.layout is CSR:
        starts, plain, values, _ = parts(t)
        return starts.long(), plain.long(), values
    t = coalesced(to_coo(t))
    indices, _, values, _ = parts(t)
    if indices.size(0) != 2:
        raise RuntimeError(
            f"expected a matrix with two sparse dimensions, got {indices.size(0)} sparse of {t.dim()}"
        )
    return starts_of_sorted(indices[0], t.size(0)), indices[1], values


def _row_numbers(starts):
    return flambeau.arange(starts.size(0) - 1).repeat_interleave(starts[1:] - starts[:-1])


def _times_dense(starts, columns, values, dense):
    """The product of a sparse matrix, given by rows, and a dense one."""
    rows, elements = starts.size(0) - 1, columns.numel()
    if elements == 0 or dense.size(1) == 0 or rows == 0:
        return dense.new_zeros((rows, dense.size(1)))
    if int(starts[-1]) != elements:
        raise RuntimeError(f"compressed indices must end with nnz (= {elements})")
    if dense.dtype.is_floating_point:
        return native.times_dense(starts, columns, values, dense)
    out = dense.new_zeros((rows, dense.size(1)))
    return out.index_add_(0, _row_numbers(starts), dense.index_select(0, columns) * values.unsqueeze(1))


def _times_sparse(a, b):
    """The product of two sparse matrices, as COO or CSR: every element of `a` meets the row of `b` that its column names."""
    rows, columns = a.size(0), b.size(1)
    a_starts, a_columns, a_values = _rows(a)
    starts, b_columns, b_values = _rows(b)
    if a.dtype.is_floating_point and columns <= native.WIDEST:
        found = native.times_sparse(a_starts, a_columns, a_values, starts, b_columns, b_values, columns)
        if a.layout is CSR:
            return compressed(CSR, *found, (rows, columns))
        return coo(flambeau.stack((_row_numbers(found[0]), found[1])), found[2], (rows, columns), True)
    if a_columns.numel() and (int(a_columns.min()) < 0 or int(a_columns.max()) >= b.size(0)):
        raise IndexError(f"index out of bounds for dimension 1 with size {b.size(0)} of a sparse tensor")
    begin = starts.index_select(0, a_columns)
    counts = starts.index_select(0, a_columns + 1) - begin
    pair = flambeau.arange(a_columns.numel()).repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    partner = begin.index_select(0, pair) + flambeau.arange(pair.numel()) - first.index_select(0, pair)
    values = a_values.index_select(0, pair) * b_values.index_select(0, partner)
    place = _row_numbers(a_starts).index_select(0, pair) * columns + b_columns.index_select(0, partner)
    place, values = sum_groups(place, values)
    if columns == 0:
        return coo(flambeau.zeros((2, 0), dtype=flambeau.int64), values, (rows, columns), True)
    indices = flambeau.stack((place.div(columns, rounding_mode="floor"), place.remainder(columns)))
    return coo(indices, values, (rows, columns), True)


def _product(a, b, name="addmm"):
    """a @ b: dense if one of them is, else in the layout of `a`."""
    _check_product(name, a, b)
    if is_dense(a):
        return _product(b.transpose(0, 1), a.t(), name).t().contiguous()
    if is_dense(b):
        return _times_dense(*_rows(a), b)
    product = _times_sparse(a, b)
    return product if product.layout is a.layout else in_layout_of(product, a)


@form("mm")
def _mm(input, mat2, out):
    return deliver(_product(input, mat2), out, "mm")


@form("mv")
def _mv(input, vec, out):
    if vec.dim() != 1 or input.dim() != 2:
        raise RuntimeError(f"mv: expected a matrix and a vector, got {input.dim()}D and {vec.dim()}D tensors")
    if not is_dense(vec):
        refuse("mv", vec)
    return deliver(_product(input, vec.unsqueeze(1), "mv").squeeze(1), out, "mv")


@form("bmm")
def _bmm(input, mat2, out):
    if not is_dense(mat2):
        raise RuntimeError("bmm_sparse: Tensor 'mat2' must be dense")
    if input.dim() != 3 or mat2.dim() != 3 or input.size(0) != mat2.size(0) or input.size(2) != mat2.size(1):
        raise RuntimeError(
            f"bmm_sparse: expected batches of matrices that can be multiplied, got {list(input.shape)} and "
            f"{list(mat2.shape)}"
        )
    if input.dtype is not mat2.dtype:
        raise RuntimeError(f"bmm_sparse: expected scalar type {input.dtype} but found {mat2.dtype}")
    t = coalesced(to_coo(input))
    indices, _, values, _ = parts(t)
    if indices.size(0) != 3:
        raise RuntimeError(f"bmm_sparse: expected three sparse dimensions, got {indices.size(0)}")
    batch, rows, inner = input.shape
    # One matrix with the batch's along its diagonal.
    large = coo(
        flambeau.stack((indices[0] * rows + indices[1], indices[0] * inner + indices[2])),
        values,
        (batch * rows, batch * inner),
        True,
    )
    product = _product(large, mat2.reshape(batch * inner, mat2.size(2)), "bmm")
    return deliver(product.view(batch, rows, mat2.size(2)), out, "bmm")


def _matmul_of(input, other):
    a, b = input.dim(), other.dim()
    if a == 2 and b == 2:
        return _product(input, other)
    if a == 2 and b == 1:
        return _mv(input, other, None)
    if a == 1 and b == 2 and is_dense(input):
        return _product(input.unsqueeze(0), other).squeeze(0)
    if a >= 3 and b == 2 and is_dense(input):
        flat = input.reshape(-1, input.size(-1)) if input.numel() else input.new_zeros((0, input.size(-1)))
        return _product(flat, other).view(*input.shape[:-1], other.size(1))
    if a == 3 and b == 3:
        return _bmm(input, other, None)
    raise RuntimeError(
        f"matmul: sparse operands of {a} and {b} dimensions: expand is unsupported for Sparse tensors"
    )


@form("matmul")
def _matmul(input, other, out):
    return deliver(_matmul_of(input, other), out, "matmul")


@form("linear")
def _linear(input, weight, bias, out):
    result = _matmul_of(input, weight.transpose(0, 1))
    return deliver(result if bias is None else result + bias, out, "linear")


def _addmm_of(input, mat1, mat2, beta, alpha, name="addmm"):
    if is_dense(mat1) and not is_dense(mat2):
        raise RuntimeError(
            f"{name}_sparse_dense: expected either 'mat1' to have sparse layout and 'mat2' to have strided "
            f"layout, got 'mat1' "
            f"with layout Strided and 'mat2' with layout {WORDS[mat2.layout]}"
        )
    product = _product(mat1, mat2, name)
    product = product if alpha == 1 else product * alpha
    if is_dense(product) != is_dense(input):
        raise RuntimeError(
            f"{name}_sparse_dense: expected {WORDS[product.layout]} result tensor, got tensor with layout "
            f"{WORDS[input.layout]}"
        )
    if not is_dense(product):
        return _sum(product, input, beta)
    shape = flambeau.broadcast_shapes(tuple(input.shape), tuple(product.shape))
    if tuple(shape) != tuple(product.shape):
        raise RuntimeError(
            f"The expanded size of the tensor must match the existing size: {list(input.shape)} for a product of "
            f"{list(product.shape)}"
        )
    return product if beta == 0 else product + input * beta


@form("addmm")
def _addmm(input, mat1, mat2, beta, alpha, out):
    return deliver(_addmm_of(input, mat1, mat2, beta, alpha), out, "addmm")


@form("addmm_")
def _addmm_in_place(input, mat1, mat2, beta, alpha):
    return deliver(_addmm_of(input, mat1, mat2, beta, alpha), input, "addmm_")


# ---- torch.sparse: products whose gradients have the places of the sparse operand


def _positions(t):
    """(rows, columns) of the values of a sparse matrix, in their order; those of batches follow each other."""
    t = t.detach()
    if is_coo(t):
        indices = parts(t)[0]
        return indices[0], indices[1]
    laid = parts(as_coo(t))[0]
    if laid.size(0) == 2:
        return laid[0], laid[1]
    which = laid[0]
    for size, row in zip(t.shape[1:-2], laid[1:-2], strict=True):
        which = which * size + row
    return which * t.size(-2) + laid[-2], which * t.size(-1) + laid[-1]


def _dots(a, b, rows, columns):
    """(a @ b) at (rows, columns), differentiable."""
    return (a.index_select(0, rows) * b.transpose(0, 1).index_select(0, columns)).sum(-1)


def _masked_product(a, b, pattern):
    """a @ b at the places of `pattern`, as a sparse tensor like it."""
    if is_dense(a) and is_dense(b) and pattern.layout in (COO, CSR):
        return with_values_of(pattern, _dots(a, b, *_positions(pattern)))
    return sparse_mask(a.mm(b), pattern)


def _left_gradient(grad, mat1, mat2):
    if is_dense(mat1):
        return grad.mm(_adjoint(mat2))
    pattern = coalesced(mat1.detach()) if is_coo(mat1) else mat1.detach()
    return _masked_product(grad, _adjoint(mat2), pattern)


def _right_gradient(grad, mat1, mat2):
    if is_dense(mat2):
        return _adjoint(mat1).mm(grad)
    pattern = coalesced(mat2.detach()) if is_coo(mat2) else mat2.detach()
    return _masked_product(_adjoint(mat1), grad, pattern)


_sparse_mm = operator(
    "_sparse_mm(Tensor mat1, Tensor mat2) -> Tensor",
    lambda mat1, mat2: _product(mat1, mat2),
    vjp={"mat1": _left_gradient, "mat2": _right_gradient},
    node="SparseAddmmBackward0",
)


def mm(mat1, mat2, reduce=None):
    """The product of two matrices, of which at least one is sparse; gradients of a sparse one have its places.

    Args:
        mat1, mat2: (n, m) and (m, p). Two sparse ones give a sparse product.
        reduce: how products are put together, for a sparse_csr `mat1` and a strided `mat2`: "sum" (the usual product),
            "mean", "amax" or "amin", over the elements that a row of `mat1` specifies.

    >>> matrix = flambeau.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse()
    >>> flambeau.sparse.mm(matrix, flambeau.ones(2, 1))
    tensor([[2.],
            [3.]])
    """
    if reduce is not None:
        return _mm_reduce(mat1, mat2, reduce)
    if is_dense(mat1) and is_dense(mat2):
        return mat1.mm(mat2)
    return _sparse_mm(mat1, mat2)


def _mm_reduce(mat1, mat2, reduce):
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if mat1.layout is not CSR:
        refuse("_sparse_mm_reduce_impl", mat1)
    if not is_dense(mat2):
        raise RuntimeError(
            f"sparse.mm: expected mat2 to be strided with reduce={reduce!r}, got {WORDS[mat2.layout]}"
        )
    _check_product("sparse.mm", mat1, mat2)
    if reduce == "sum":
        return _sparse_mm(mat1, mat2)
    starts, columns, _, _ = parts(mat1)
    starts, columns = starts.long(), columns.long()
    counts = starts[1:] - starts[:-1]
    if reduce == "mean":
        return _sparse_mm(mat1, mat2) / counts.clamp(min=1).to(mat2.dtype).unsqueeze(1)
    rows, shape = _positions(mat1)[0], (mat1.size(0), mat2.size(1))
    products = _values(mat1).unsqueeze(1) * mat2.index_select(0, columns)
    if columns.numel() == 0:
        return mat2.new_zeros(shape) + products.sum()
    spread = rows.unsqueeze(1).expand(products.shape)
    if reduce == "prod":
        result = products.new_ones(shape).scatter_reduce(0, spread, products, "prod")
        return result.masked_fill((counts == 0).unsqueeze(1), 0)
    known = products.detach()
    best = known.new_zeros(shape).scatter_reduce_(0, spread, known, reduce, include_self=False)
    # Of several that are best, the first gets the gradient.
    number = flambeau.arange(rows.numel()).unsqueeze(1)
    beaten = (known != best.index_select(0, rows)) & ~known.isnan()
    number = number.expand(products.shape).masked_fill(beaten, rows.numel())
    chosen = rows.new_full(shape, rows.numel()).scatter_reduce_(0, spread, number, "amin")
    nothing = chosen == rows.numel()
    return products.gather(0, chosen.masked_fill(nothing, 0)).masked_fill(nothing, 0)


_sparse_addmm = operator(
    "_sparse_addmm(Tensor input, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    lambda input, mat1, mat2, beta, alpha: _addmm_of(input, mat1, mat2, beta, alpha),
    vjp={
        "input": lambda grad, beta: grad if beta == 1 else grad * beta,
        "mat1": lambda grad, mat1, mat2, alpha: _left_gradient(
            grad if alpha == 1 else grad * alpha, mat1, mat2
        ),
        "mat2": lambda grad, mat1, mat2, alpha: _right_gradient(
            grad if alpha == 1 else grad * alpha, mat1, mat2
        ),
    },
    node="SparseAddmmBackward0",
)


def addmm(mat, mat1, mat2, *, beta=1.0, alpha=1.0):
    """beta * mat + alpha * (mat1 @ mat2) for a sparse `mat1`, whose gradient has its places.

    >>> matrix = flambeau.tensor([[0.0, 2.0]]).to_sparse()
    >>> flambeau.sparse.addmm(flambeau.ones(1, 1), matrix, flambeau.ones(2, 1), alpha=3)
    tensor([[7.]])
    """
    return _sparse_addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def sampled_addmm(input, mat1, mat2, *, beta=1.0, alpha=1.0, out=None):
    """beta * input + alpha * (mat1 @ mat2) at the places of `input` only, without making the whole product.

    Args:
        input: (\\*, m, n) in sparse_csr layout.
        mat1, mat2: (\\*, m, k) and (\\*, k, n), strided.

    >>> pattern = flambeau.eye(2).to_sparse_csr()
    >>> flambeau.sparse.sampled_addmm(pattern, flambeau.ones(2, 3), flambeau.ones(3, 2)).values()
    tensor([4., 4.])
    """
    if input.layout is not CSR:
        refuse("sparse_sampled_addmm", input)
    if not is_dense(mat1) or not is_dense(mat2):
        raise RuntimeError(
            f"sampled_addmm: Expected mat1 and mat2 to have strided layout, but got {mat1.layout} and {mat2.layout}"
        )
    if mat1.dim() < 2 or mat2.dim() < 2:
        raise RuntimeError(
            f"sampled_addmm: Expected mat1 and mat2 to be matrices, got {mat1.dim()}-D and {mat2.dim()}-D tensors"
        )
    if mat1.dtype is not mat2.dtype or mat1.dtype is not input.dtype:
        raise RuntimeError(
            f"sampled_addmm: Expected input, mat1 and mat2 to have the same dtype, but got {input.dtype}, {mat1.dtype} and "
            f"{mat2.dtype}"
        )
    if mat1.size(-1) != mat2.size(-2):
        raise RuntimeError(
            f"sampled_addmm: mat1 and mat2 shapes cannot be multiplied ({mat1.size(-2)}x{mat1.size(-1)} and "
            f"{mat2.size(-2)}x{mat2.size(-1)})"
        )
    if mat1.shape[:-2] != mat2.shape[:-2] or (*mat1.shape[:-1], mat2.size(-1)) != tuple(input.shape):
        raise RuntimeError(
            f"sampled_addmm: input of shape {list(input.shape)} does not match the product of {list(mat1.shape)} and "
            f"{list(mat2.shape)}"
        )
    rows, columns = _positions(input)
    left = (
        mat1.reshape(-1, mat1.size(-1))
        if mat1.size(-1)
        else mat1.new_zeros((rows.numel() and int(rows.max()) + 1, 0))
    )
    turned = mat2.transpose(-2, -1)
    right = turned.reshape(-1, turned.size(-1)) if mat1.size(-1) else None
    shape = values_of(input).shape
    if right is None:
        products = flambeau.zeros(shape, dtype=input.dtype)
    else:
        products = (left.index_select(0, rows) * right.index_select(0, columns)).sum(-1).view(shape)
    result = with_values_of(input.detach(), products if alpha == 1 else products * alpha)
    if beta != 0:
        result = result + input * beta
    return result if out is None else deliver(result, out, "sampled_addmm")


# ---- products with sparse results


def _rows_of_product(mat1, mat2):
    """The product of a COO matrix and a dense one: the rows that it can fill, and their values."""
    product = _product(mat1, mat2)
    rows = parts(coalesced(mat1))[0][0].unique()
    return rows, product.index_select(0, rows)


def _expect_coo(name, t):
    if not is_coo(t):
        refuse(name, t)


_hspmm = operator(
    "hspmm(Tensor mat1, Tensor mat2) -> Tensor",
    lambda mat1, mat2: _hspmm_of(mat1, mat2),
    why_not="not written",
)


def _hspmm_of(mat1, mat2):
    _expect_coo("hspmm", mat1)
    rows, values = _rows_of_product(mat1, mat2)
    return coo(rows.unsqueeze(0), values, (mat1.size(0), mat2.size(1)), True)


def hspmm(mat1, mat2, *, out=None):
    """The product of a COO matrix and a strided one, as a COO tensor of dense rows.

    >>> flambeau.hspmm(flambeau.tensor([[0.0, 2.0], [0.0, 0.0]]).to_sparse(), flambeau.ones(2, 1)).values()
    tensor([[2.]])
    """
    return deliver(_hspmm(mat1, mat2), out, "hspmm")


def _sspaddmm_of(input, mat1, mat2, beta, alpha):
    for t in (input, mat1):
        _expect_coo("sspaddmm", t)
    if tuple(input.shape) != (mat1.size(0), mat2.size(-1)):
        raise RuntimeError(
            f"sspaddmm: Argument #1: Expected size ({mat1.size(0)}, {mat2.size(-1)}), got {tuple(input.shape)}"
        )
    rows, values = _rows_of_product(mat1, mat2)
    width = mat2.size(1)
    indices = flambeau.stack((rows.repeat_interleave(width), flambeau.arange(width).repeat(rows.numel())))
    own, _, own_values, _ = parts(input)
    values = flambeau.cat((own_values * beta, values.reshape(-1) * alpha))
    return coo(flambeau.cat((own, indices), 1), values, input.shape)


_sspaddmm = operator(
    "sspaddmm(Tensor input, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
    lambda input, mat1, mat2, beta, alpha: _sspaddmm_of(input, mat1, mat2, beta, alpha),
    why_not="not written",
)


def sspaddmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat1 @ mat2) for COO `input` and `mat1` and a strided `mat2`, as an uncoalesced COO tensor.

    >>> matrix = flambeau.tensor([[0.0, 2.0]]).to_sparse()
    >>> flambeau.sspaddmm(flambeau.sparse_coo_tensor((1, 1)), matrix, flambeau.ones(2, 1)).to_dense()
    tensor([[2.]])
    """
    return deliver(_sspaddmm(input, mat1, mat2, beta=beta, alpha=alpha), out, "sspaddmm")


def smm(input, mat2):
    """The product of a COO matrix and a strided one, as an uncoalesced COO tensor.

    >>> flambeau.smm(flambeau.tensor([[0.0, 2.0]]).to_sparse(), flambeau.ones(2, 1)).to_dense()
    tensor([[2.]])
    """
    zeros = input.new_zeros((input.size(0), mat2.size(-1)))
    return _sspaddmm(zeros, input, mat2)


dsmm, hsmm, saddmm = flambeau.mm, hspmm, sspaddmm
