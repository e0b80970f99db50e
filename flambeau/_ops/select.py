"""Sorting, selection by rank, unique elements, searches in sorted sequences, and counting."""

from .outputs import deliver
from .reduce import _picked_vjp, _shared_vjp
from .registry import Tensor, composite, op, records, takes

# ---- sorting ---------------------------------------------------------------------------------------------------------


def _sorted_vjp(grad, input_shape, indices, dim):
    """Each gradient goes back to the place that its value came from."""
    return grad.new_zeros(input_shape).scatter(dim, indices, grad) if len(input_shape) else grad


op(
    "sort(Tensor input, int dim=-1, bool descending=False, *, bool? stable=None, Tensor[]? out=None)"
    " -> (Tensor values, Tensor indices)",
    """Sorted along `dim`, with the positions that the values had. NaN counts as the largest value.

    Equal values keep their order, whether `stable` asks for it or not.

    >>> flambeau.sort(flambeau.tensor([3, 1, 2])).indices
    tensor([1, 2, 0])
    """,
    vjp={"input": _sorted_vjp},
)
op(
    "argsort(Tensor input, int dim=-1, bool descending=False, *, bool stable=False, Tensor? out=None) -> Tensor",
    """The positions that sort `input` along `dim`.

    >>> flambeau.argsort(flambeau.tensor([3, 1, 2]))
    tensor([1, 2, 0])
    """,
    why_not="not differentiable",
)


@composite(method=True)
@takes("msort(Tensor input, *, Tensor? out=None)")
def msort(input, *, out=None):
    """Sorted along the first dimension.

    >>> flambeau.msort(flambeau.tensor([[3, 1], [2, 4]]))
    tensor([[2, 1],
            [3, 4]])
    """
    return deliver(input.sort(0).values, out, "msort")


op(
    "topk(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True, *, Tensor[]? out=None)"
    " -> (Tensor values, Tensor indices)",
    """The `k` largest (or smallest) values along `dim` and their positions; in order if `sorted`.

    >>> flambeau.topk(flambeau.tensor([3, 1, 2]), 2).values
    tensor([3, 2])
    """,
    vjp={"input": _sorted_vjp},
)

# ---- one value by rank -----------------------------------------------------------------------------------------------

op(
    "kthvalue(Tensor input, int k, int dim=-1, bool keepdim=False, *, Tensor[]? out=None)"
    " -> (Tensor values, Tensor indices)",
    """The k-th smallest value along `dim` (counted from 1), and its position.

    >>> flambeau.kthvalue(flambeau.tensor([3, 1, 2]), 2).values
    tensor(2)
    """,
    vjp={"input": _picked_vjp},
)
for _name, _nan in (("median", "A NaN makes it NaN."), ("nanmedian", "NaN is passed over.")):
    op(
        f"{_name}(Tensor input, *, Tensor? out=None) -> Tensor",
        f"The median of all elements: the lower one of two in the middle. {_nan} Equal elements share the gradient.",
        vjp={"input": lambda grad, input, result: _shared_vjp(grad, input, result)},
    )
    op(
        f"{_name}.dim(Tensor input, int dim, bool keepdim=False, *, Tensor[]? out=None)"
        " -> (Tensor values, Tensor indices)",
        f"The median along `dim` and its position: the lower one of two in the middle. {_nan}",
        impl=f"{_name}_dim",
        vjp={"input": _picked_vjp},
    )
op(
    "mode(Tensor input, int dim=-1, bool keepdim=False, *, Tensor[]? out=None) -> (Tensor values, Tensor indices)",
    """The most frequent value along `dim` (the smallest of equally frequent ones) and one of its positions.

    >>> flambeau.mode(flambeau.tensor([3, 1, 3])).values
    tensor(3)
    """,
    vjp={"input": _picked_vjp},
)

# ---- unique ----------------------------------------------------------------------------------------------------------

op(
    "_unique_rows(Tensor input, bool consecutive, bool return_inverse, bool return_counts)"
    " -> (Tensor values, Tensor inverse, Tensor counts)",
    "The different elements of a vector or rows of a matrix, in order, or those that differ from the one before.",
    public=False,
    method=False,
    why_not="not written",
)


def _unique(input, consecutive, return_inverse, return_counts, dim):
    rows = records["_unique_rows"].op
    if dim is None:
        values, inverse, counts = rows(input.reshape(-1), consecutive, return_inverse, return_counts)
        inverse = inverse.reshape(input.shape) if return_inverse else None
    else:
        if 0 in input.shape and input.size(dim) != 0:
            raise RuntimeError(
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
            )
        if input.dim() == 0:
            input.size(dim)  # raises for a dimension that there is not
            values, inverse, counts = rows(input.reshape(1), consecutive, return_inverse, return_counts)
            values = values.reshape(())
        else:
            front = input.movedim(dim, 0)
            width = front.numel() // front.shape[0] if front.shape[0] else 0
            flat = front.reshape(front.shape[0], width)
            values, inverse, counts = rows(flat, consecutive, return_inverse, return_counts)
            values = values.reshape((values.shape[0], *front.shape[1:])).movedim(0, dim)
    wanted = [values]
    if return_inverse:
        wanted.append(inverse)
    if return_counts:
        wanted.append(counts)
    return values if len(wanted) == 1 else tuple(wanted)


@composite(method=True)
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The different elements, or slices along `dim`, in ascending order (also when `sorted` is false).

    return_inverse: also where in the result each element of `input` is. return_counts: also how often each occurs.
    Every NaN differs from all others.

    >>> flambeau.unique(flambeau.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    return _unique(input, False, return_inverse, return_counts, dim)


@composite(method=True)
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """`input` without the elements, or slices along `dim`, that equal the one before: see `unique`.

    >>> flambeau.unique_consecutive(flambeau.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    return _unique(input, True, return_inverse, return_counts, dim)


# ---- searching -------------------------------------------------------------------------------------------------------

op(
    "searchsorted(Tensor sorted_sequence, Operand input, *, bool out_int32=False, bool right=False, str? side=None,"
    " Tensor? sorter=None, Tensor? out=None) -> Tensor",
    """Where each value of `input` would have to be inserted to keep the sequence sorted.

    sorted_sequence: a vector, or with the leading dimensions of `input` (row by row), ascending in its last dimension.
    right, or side="right": after equal elements instead of before them. sorter: positions that sort the sequence.
    The result is int64, or int32 with `out_int32`.

    >>> flambeau.searchsorted(flambeau.tensor([1, 3, 5]), flambeau.tensor([3, 4]))
    tensor([1, 2])
    """,
    method=False,
    why_not="not differentiable",
)
op(
    "bucketize(Operand input, Tensor boundaries, *, bool out_int32=False, bool right=False, Tensor? out=None) -> Tensor",
    """The bucket of each value, counted from 0: `searchsorted` in the ascending vector `boundaries`.

    >>> flambeau.bucketize(flambeau.tensor([3, 6]), flambeau.tensor([1, 3, 5]))
    tensor([1, 3])
    """,
    method=False,
    why_not="not differentiable",
)


@composite
@takes(
    "isin(Tensor elements, Tensor test_elements, *, bool assume_unique=False, bool invert=False, "
    "Tensor? out=None)",
    "isin(Tensor elements, Scalar test_element, *, bool assume_unique=False, bool invert=False, "
    "Tensor? out=None)",
    "isin(Scalar element, Tensor test_elements, *, bool assume_unique=False, bool invert=False, "
    "Tensor? out=None)",
)
def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None):
    """Whether each element is among `test_elements`; with `invert` whether it is not. Either may be a number.

    assume_unique: a promise that neither holds an element twice, which needs no attention here.

    >>> flambeau.isin(flambeau.tensor([1, 2, 3]), flambeau.tensor([1, 3]))
    tensor([ True, False,  True])
    """
    import flambeau

    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin() received an invalid combination of arguments: one of them has to be a Tensor")
    for t in (elements, test_elements):
        if isinstance(t, Tensor) and (t.is_complex() or t.dtype == flambeau.bool):
            kind = (
                "Bool"
                if t.dtype == flambeau.bool
                else "ComplexFloat"
                if t.dtype == flambeau.complex64
                else "ComplexDouble"
            )
            raise RuntimeError(f"Unsupported input type encountered for isin(): {kind}")
    if not isinstance(test_elements, Tensor):
        found = elements == test_elements
    elif test_elements.numel() == 0:
        shape = elements.shape if isinstance(elements, Tensor) else ()
        found = flambeau.zeros(shape, dtype=flambeau.bool, device=test_elements.device)
    else:
        dtype = flambeau.result_type(elements, test_elements)
        if not isinstance(elements, Tensor):
            elements = flambeau.tensor(elements, dtype=dtype)
        known = test_elements.to(dtype).reshape(-1).sort().values
        at = flambeau.searchsorted(known, elements.to(dtype)).clamp(max=known.numel() - 1)
        found = known[at] == elements
    return deliver(~found if invert else found, out, "isin")


# ---- counting --------------------------------------------------------------------------------------------------------

op(
    "bincount(Tensor input, Tensor? weights=None, int minlength=0) -> Tensor",
    """How often each of the numbers 0, 1, ... occurs in a vector of integers; at least `minlength` of them.

    weights: one for each element, to be added instead of 1.

    >>> flambeau.bincount(flambeau.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """,
    why_not="not differentiable",
)
op(
    "histc(Tensor input, int bins=100, Scalar min=0, Scalar max=0, *, Tensor? out=None) -> Tensor",
    """How many elements fall into each of `bins` equal parts of [min, max]; equal bounds mean those of the data.

    >>> flambeau.histc(flambeau.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """,
    why_not="not differentiable",
)
