"""Matrix products."""

import math

from .._dtypes_info import check_computing
from .arithmetic import conj
from .outputs import deliver
from .registry import composite, methods, op, take_older, takes


def _h(matrix):
    """Conjugate transpose of the last two dimensions."""
    return conj(matrix.transpose(-2, -1))


def _scaled(x, factor):
    return x if isinstance(factor, (int, float)) and factor == 1 else x * conj(factor)


# ---- two operands ---------------------------------------------------------------------------------------------------

op(
    "mm(Tensor input, Tensor mat2, *, Tensor? out=None) -> Tensor",
    """Product of two matrices, (n, m) and (m, p); nothing is broadcast.

    >>> flambeau.mm(flambeau.ones(2, 3), flambeau.ones(3, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """,
    vjp={"input": lambda grad, mat2: grad.mm(_h(mat2)), "mat2": lambda grad, input: _h(input).mm(grad)},
)
op(
    "bmm(Tensor input, Tensor mat2, *, Tensor? out=None) -> Tensor",
    """Products of the matrices of two batches, (b, n, m) and (b, m, p).

    >>> flambeau.bmm(flambeau.ones(4, 2, 3), flambeau.ones(4, 3, 5)).shape
    torch.Size([4, 2, 5])
    """,
    vjp={"input": lambda grad, mat2: grad.bmm(_h(mat2)), "mat2": lambda grad, input: _h(input).bmm(grad)},
)
op(
    "mv(Tensor input, Tensor vec, *, Tensor? out=None) -> Tensor",
    """Product of a matrix (n, m) and a vector (m).

    >>> flambeau.mv(flambeau.ones(2, 3), flambeau.ones(3))
    tensor([3., 3.])
    """,
    vjp={
        "input": lambda grad, vec: grad.unsqueeze(1) * conj(vec),
        "vec": lambda grad, input: _h(input).mv(grad),
    },
)
op(
    "dot(Tensor input, Tensor tensor, *, Tensor? out=None) -> Tensor",
    """Sum of the products of two vectors' elements. See `vdot` for the product that conjugates.

    >>> flambeau.dot(flambeau.tensor([2, 3]), flambeau.tensor([2, 1]))
    tensor(7)
    """,
    vjp={"input": lambda grad, tensor: grad * conj(tensor), "tensor": lambda grad, input: grad * conj(input)},
)
op(
    "vdot(Tensor input, Tensor other, *, Tensor? out=None) -> Tensor",
    """Sum of the products of two vectors' elements, those of the first conjugated.

    >>> flambeau.vdot(flambeau.tensor([1j]), flambeau.tensor([1j]))
    tensor(1.+0.j)
    """,
    vjp={"input": lambda grad, other: conj(grad) * other, "other": lambda grad, input: grad * input},
)


def _matmul_vjp(grad, input, other, needs):
    vector_left, vector_right = input.dim() == 1, other.dim() == 1
    if vector_left and vector_right:
        return (grad * conj(other) if needs[0] else None, grad * conj(input) if needs[1] else None)
    if vector_left:
        input, grad = input.unsqueeze(0), grad.unsqueeze(-2)
    if vector_right:
        other, grad = other.unsqueeze(1), grad.unsqueeze(-1)
    grad_input = grad_other = None
    if needs[0]:
        grad_input = grad.matmul(_h(other))
        if vector_left:
            grad_input = _sum_leading(grad_input.squeeze(-2), 1)
    if needs[1]:
        if other.dim() == 2 and input.dim() > 2:
            # One matrix met every row of the batch: one product.
            grad_other = _h(input.flatten(0, -2)).mm(grad.flatten(0, -2))
        else:
            grad_other = _h(input).matmul(grad)
        if vector_right:
            grad_other = _sum_leading(grad_other.squeeze(-1), 1)
    return grad_input, grad_other


def _sum_leading(t, ndim):
    return t.sum(tuple(range(t.dim() - ndim))) if t.dim() > ndim else t


op(
    "matmul(Tensor input, Tensor other, *, Tensor? out=None) -> Tensor",
    """Matrix product in the sense of ``input @ other``.

    Two vectors give their dot product, a matrix and a vector a vector; with more dimensions the last two are matrices and
    the others are broadcast. A vector on the left is a row, on the right a column, and its dimension disappears.

    >>> flambeau.matmul(flambeau.ones(5, 2, 3), flambeau.ones(3, 4)).shape
    torch.Size([5, 2, 4])
    """,
    vjp={"input, other": _matmul_vjp},
)


def _linear_input(grad, weight):
    return grad.matmul(conj(weight)) if weight.dim() == 2 else grad.unsqueeze(-1) * conj(weight)


def _linear_weight(grad, input, weight_shape):
    # Not with -1, which has no answer where there are no features.
    count = math.prod(input.shape[:-1])
    rows = conj(input.reshape(count, input.size(-1)))
    if len(weight_shape) == 1:
        return grad.reshape(1, count).mm(rows).squeeze(0)
    return grad.reshape(count, grad.size(-1)).t().mm(rows)


linear = op(
    "linear(Tensor input, Tensor weight, Tensor? bias=None, *, Tensor? out=None) -> Tensor",
    """input @ weight.T + bias for an input (\\*, in), a weight (out, in) and a bias (out); or a weight (in).""",
    public=False,
    method=False,
    vjp={
        "input": _linear_input,
        "weight": _linear_weight,
        "bias": lambda grad, weight_shape: grad if len(weight_shape) == 2 else grad.unsqueeze(-1),
    },
)

# ---- with a sum -------------------------------------------------------------------------------------------------------

_SUM = ", *, Scalar beta=1, Scalar alpha=1, Tensor? out=None) -> Tensor"


def _older_sum(factors):
    return f"beta, input, alpha, {factors}", f"beta, input, {factors}"


_SUM_DOC = """ When beta is 0 the input is ignored, NaN included.
"""

op(
    "addmm(Tensor input, Tensor mat1, Tensor mat2" + _SUM,
    """beta * input + alpha * (mat1 @ mat2), the input broadcast to the product's shape."""
    + _SUM_DOC
    + """
    >>> flambeau.addmm(flambeau.ones(2), flambeau.ones(1, 3), flambeau.ones(3, 2))
    tensor([[4., 4.]])
    """,
    inplace=True,
    older=_older_sum("mat1, mat2"),
    vjp={
        "input": lambda grad, beta: _scaled(grad, beta),
        "mat1": lambda grad, mat2, alpha: _scaled(grad.mm(_h(mat2)), alpha),
        "mat2": lambda grad, mat1, alpha: _scaled(_h(mat1).mm(grad), alpha),
    },
)
op(
    "addmv(Tensor input, Tensor mat, Tensor vec" + _SUM,
    """beta * input + alpha * (mat @ vec)."""
    + _SUM_DOC
    + """
    >>> flambeau.addmv(flambeau.ones(2), flambeau.ones(2, 3), flambeau.ones(3))
    tensor([4., 4.])
    """,
    inplace=True,
    older=_older_sum("mat, vec"),
    vjp={
        "input": lambda grad, beta: _scaled(grad, beta),
        "mat": lambda grad, vec, alpha: _scaled(grad.unsqueeze(1) * conj(vec), alpha),
        "vec": lambda grad, mat, alpha: _scaled(_h(mat).mv(grad), alpha),
    },
)
op(
    "baddbmm(Tensor input, Tensor batch1, Tensor batch2" + _SUM,
    """beta * input + alpha * (batch1 @ batch2) for batches of matrices."""
    + _SUM_DOC
    + """
    >>> flambeau.baddbmm(flambeau.ones(2), flambeau.ones(1, 1, 3), flambeau.ones(1, 3, 2))
    tensor([[[4., 4.]]])
    """,
    inplace=True,
    older=_older_sum("batch1, batch2"),
    vjp={
        "input": lambda grad, beta: _scaled(grad, beta),
        "batch1": lambda grad, batch2, alpha: _scaled(grad.bmm(_h(batch2)), alpha),
        "batch2": lambda grad, batch1, alpha: _scaled(_h(batch1).bmm(grad), alpha),
    },
)
op(
    "addbmm(Tensor input, Tensor batch1, Tensor batch2" + _SUM,
    """beta * input + alpha * the sum over the batch of batch1 @ batch2."""
    + _SUM_DOC
    + """
    >>> flambeau.addbmm(flambeau.ones(2), flambeau.ones(5, 1, 3), flambeau.ones(5, 3, 2))
    tensor([[16., 16.]])
    """,
    inplace=True,
    older=_older_sum("batch1, batch2"),
    vjp={
        "input": lambda grad, beta: _scaled(grad, beta),
        "batch1": lambda grad, batch2, alpha: _scaled(grad.matmul(_h(batch2)), alpha),
        "batch2": lambda grad, batch1, alpha: _scaled(_h(batch1).matmul(grad), alpha),
    },
)

# ---- outer products and contractions ----------------------------------------------------------------------------------


def _check_vector(name, argument, t):
    if t.dim() != 1:
        raise RuntimeError(f"{name}: Expected 1-D argument {argument}, but got {t.dim()}-D")


@composite(method=True, aliases=("ger",))
@takes("outer(Tensor input, Tensor vec2, *, Tensor? out=None)")
def outer(input, vec2, *, out=None):
    """Products of every element of one vector with every element of another: (n) and (m) give (n, m).

    >>> flambeau.outer(flambeau.tensor([1, 2]), flambeau.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    _check_vector("outer", "self", input)
    _check_vector("outer", "vec2", vec2)
    return deliver(input.unsqueeze(1) * vec2, out, "outer")


@composite(method=True)
@takes(
    "addr(Tensor input, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1, Tensor? out=None)",
)
def addr(input, vec1, vec2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * outer(vec1, vec2).

    >>> flambeau.addr(flambeau.ones(1, 2), flambeau.ones(1), flambeau.ones(2), alpha=2)
    tensor([[3., 3.]])
    """
    _check_vector("addr", "vec1", vec1)
    _check_vector("addr", "vec2", vec2)
    import flambeau

    dtype = flambeau.promote_types(input.dtype, flambeau.promote_types(vec1.dtype, vec2.dtype))
    # The factors are numbers of the result's dtype, rounded like its elements.
    if alpha != 1:
        vec1 = vec1 * flambeau.scalar_tensor(alpha, dtype=dtype)
    product = vec1.unsqueeze(1) * vec2
    if beta != 0:
        product = (input if beta == 1 else input * flambeau.scalar_tensor(beta, dtype=dtype)) + product
    return deliver(product.to(dtype), out, "addr")


@takes("addr_(Tensor input, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1)")
def _addr_(input, vec1, vec2, *, beta=1, alpha=1):
    """In-place form of `addr`."""
    return input.copy_(addr(input, vec1, vec2, beta=beta, alpha=alpha))


methods["addr_"] = _addr_
for _form in (addr, _addr_):
    take_older(_form, _older_sum("vec1, vec2"))


@composite(method=True)
@takes("inner(Tensor input, Tensor other, *, Tensor? out=None)")
def inner(input, other, *, out=None):
    """Sums of products over the last dimension of both: for vectors, their dot product.

    >>> flambeau.inner(flambeau.ones(2, 3), flambeau.ones(4, 3)).shape
    torch.Size([2, 4])
    """
    if input.dim() == 0 or other.dim() == 0:
        return deliver(input * other, out, "inner")
    if input.size(-1) != other.size(-1):
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return deliver(tensordot(input, other, ([-1], [-1])), out, "inner", same_dtype=True)


@composite
def tensordot(a, b, dims=2, out=None):
    """Sum of products over several dimensions.

    dims: a number n (the last n dimensions of `a` with the first n of `b`), or two lists of dimensions.

    >>> flambeau.tensordot(flambeau.ones(2, 3, 4), flambeau.ones(3, 4, 5)).shape
    torch.Size([2, 5])
    """
    if hasattr(dims, "tolist"):
        dims = dims.tolist()
        if isinstance(dims, list) and len(dims) == 1:
            dims = dims[0]
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    for d, e in zip(left, right, strict=True):
        # Against one element repeated, a sum of products is a product with the sum.
        if a.size(d) == 1:
            b = b.sum(e, keepdim=True, dtype=b.dtype) if b.size(e) != 1 else b
        elif b.size(e) == 1:
            a = a.sum(d, keepdim=True, dtype=a.dtype)
        elif a.size(d) != b.size(e):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a.size(d)} in dim {d} and second has size "
                f"{b.size(e)} in dim {e}"
            )
    left, right = [d % a.dim() for d in left], [d % b.dim() for d in right]
    keep_a = [d for d in range(a.dim()) if d not in left]
    keep_b = [d for d in range(b.dim()) if d not in right]
    rows, cols = [a.size(d) for d in keep_a], [b.size(d) for d in keep_b]
    depth = math.prod(a.size(d) for d in left)
    if not keep_a and not keep_b:
        check_computing(a, "dot")
    product = (
        a.permute(keep_a + left)
        .reshape(math.prod(rows), depth)
        .mm(b.permute(right + keep_b).reshape(depth, math.prod(cols)))
    )
    return deliver(product.reshape(rows + cols), out, "tensordot", same_dtype=True)


@composite
def chain_matmul(*matrices, out=None):
    """Product of several matrices, multiplied in the order that takes the fewest operations.

    >>> flambeau.chain_matmul(flambeau.ones(2, 3), flambeau.ones(3, 4), flambeau.ones(4, 1)).shape
    torch.Size([2, 1])
    """
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for i, m in enumerate(matrices):
        if m.dim() != 2:
            raise RuntimeError(
                f"Tensor dimension is {m.dim()}, expected 2 instead. (matrix {i} of chain_matmul)"
            )
    sizes = [m.size(0) for m in matrices] + [matrices[-1].size(1)]
    count = len(matrices)
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][s] + cost[s + 1][j] + sizes[i] * sizes[s + 1] * sizes[j + 1], s) for s in range(i, j)
            )

    def multiply(i, j):
        return matrices[i] if i == j else multiply(i, split[i][j]).mm(multiply(split[i][j] + 1, j))

    return deliver(multiply(0, count - 1), out, "chain_matmul", same_dtype=True)


# ---- einsum -------------------------------------------------------------------------------------------------------------


def _parse_einsum(equation, operands):
    """Labels of every operand and of the output as lists; the dimensions of an ellipsis are the labels -n ... -1."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) < len(operands):
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    if len(terms) > len(operands):
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    labels, widest = [], 0
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        before, dots, after = term.partition("...")
        if not all(c.isascii() and c.isalpha() for c in before + after):
            raise RuntimeError(
                f"einsum(): invalid subscript given at operand {i} in the equation '{equation}', "
                "subscripts must be in [a-zA-Z]"
            )
        named, ndim = len(before) + len(after), operand.dim()
        if named > ndim or (named != ndim and not dots):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) "
                + ("is more than" if dots else "does not match")
                + f" the number of dimensions ({ndim}) for operand {i}"
                + ("" if dots else " and no ellipsis was given")
            )
        hidden = ndim - named
        widest = max(widest, hidden)
        labels.append([*before, *range(-hidden, 0), *after])
    if arrow:
        before, dots, after = output.partition("...")
        result = [*before, *(range(-widest, 0) if dots else ()), *after]
        seen = {label for term in labels for label in term}
        for label in before + after:
            if label not in seen:
                raise RuntimeError(
                    f"einsum(): output subscript {label} does not appear in the equation for any input operand"
                )
            if result.count(label) > 1:
                raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    else:
        named = [label for term in labels for label in term if isinstance(label, str)]
        result = [*range(-widest, 0), *sorted(c for c in set(named) if named.count(c) == 1)]
    return labels, result


def _with_diagonals(operand, labels):
    """The operand with one dimension per label."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if operand.size(i) != operand.size(j):
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand but the sizes don't match, "
                    f"{operand.size(j)} != {operand.size(i)}"
                )
            operand = operand.diagonal(0, i, j)
            del labels[j], labels[i]
            labels.append(label)
    return operand, labels


def _contract(a, la, b, lb, keep):
    """Product of two operands, summed over the labels that are not in `keep`; returns it with its labels."""
    shared = [label for label in la if label in lb]
    for label in list(shared):
        # A dimension of size 1 that is broadcast takes no part in the product.
        i, j = la.index(label), lb.index(label)
        if a.size(i) != b.size(j):
            if a.size(i) == 1:
                a, la = a.squeeze(i), la[:i] + la[i + 1 :]
            else:
                b, lb = b.squeeze(j), lb[:j] + lb[j + 1 :]
            shared.remove(label)
    a, la = _sum_away(a, la, [label for label in la if label not in keep and label not in shared])
    b, lb = _sum_away(b, lb, [label for label in lb if label not in keep and label not in shared])
    batch = [label for label in shared if label in keep]
    inside = [label for label in shared if label not in keep]
    only_a, only_b = [x for x in la if x not in shared], [x for x in lb if x not in shared]
    sizes = {label: a.size(i) for i, label in enumerate(la)} | {
        label: b.size(i) for i, label in enumerate(lb)
    }
    a = a.permute([la.index(x) for x in batch + only_a + inside])
    b = b.permute([lb.index(x) for x in batch + inside + only_b])
    if not inside:
        a = a.reshape(a.shape + (1,) * len(only_b))
        b = b.reshape(b.shape[: len(batch)] + (1,) * len(only_a) + b.shape[len(batch) :])
        return a * b, batch + only_a + only_b

    check_computing(a, "bmm")

    def size(labels):
        return math.prod(sizes[x] for x in labels)

    if batch:
        product = a.reshape(size(batch), size(only_a), size(inside)).bmm(
            b.reshape(size(batch), size(inside), size(only_b))
        )
    else:
        product = a.reshape(size(only_a), size(inside)).mm(b.reshape(size(inside), size(only_b)))
    labels = batch + only_a + only_b
    return product.reshape([sizes[x] for x in labels]), labels


def _sum_away(t, labels, away):
    if not away:
        return t, labels
    return t.sum([labels.index(x) for x in away]), [x for x in labels if x not in away]


def _check_sizes(operands, labels):
    sizes = {}
    for i, (operand, term) in enumerate(zip(operands, labels, strict=True)):
        for d, label in enumerate(term):
            size, known = operand.size(d), sizes.get(label, 1)
            if size != known and 1 not in (size, known):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {size} for operand {i} which does not broadcast with previously "
                    f"seen size {known}"
                )
            sizes[label] = size if known == 1 else known


def _equation_of(sublists):
    """The equation that lists of numbers stand for."""

    def term(sublist):
        letters = []
        for x in sublist:
            if x is Ellipsis:
                letters.append("...")
            elif isinstance(x, int) and 0 <= x < 52:
                letters.append(chr(65 + x) if x < 26 else chr(97 + x - 26))
            else:
                raise RuntimeError(
                    f"einsum(): expected subscript {x} to be within the range [0, 52), but got {x}"
                )
        return "".join(letters)

    terms, output = sublists
    return ",".join(map(term, terms)) + ("" if output is None else "->" + term(output))


@composite
def einsum(*args):
    """Sum of products of several operands, written with one letter per dimension.

    ``einsum("ij,jk->ik", a, b)`` is the matrix product: letters that the output lacks are summed over, "..." stands for any
    broadcast dimensions, and without "->" the output has the letters that occur once, in alphabetical order. The form
    ``einsum(a, [0, 1], b, [1, 2], [0, 2])`` numbers the dimensions instead. Operands are contracted from left to right.

    >>> flambeau.einsum("ii->i", flambeau.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one operand "
            "and its subscripts list"
        )
    if isinstance(args[0], str):
        equation, operands = args[0], args[1:]
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = tuple(operands[0])
    else:
        output = list(args[-1]) if len(args) % 2 else None
        paired = args[: len(args) - len(args) % 2]
        operands = paired[::2]
        equation = _equation_of(([list(x) for x in paired[1::2]], output))
    labels, output = _parse_einsum(equation, operands)
    terms = [_with_diagonals(operand, term) for operand, term in zip(operands, labels, strict=True)]
    _check_sizes([t for t, _ in terms], [term for _, term in terms])
    result, current = terms[0]
    for i in range(1, len(terms)):
        later = {label for _, term in terms[i + 1 :] for label in term}
        result, current = _contract(result, current, *terms[i], later | set(output))
    result, current = _sum_away(result, current, [x for x in current if x not in output])
    return result.permute([current.index(x) for x in output])
