"""Gradients of and through sparse tensors: finite differences, and the layout they have in PyTorch."""

import pytest
from sparse_samples import BSC, BSR, COO, CSC, CSR, matrix, options

import flambeau as torch

check = torch.sparse.as_sparse_gradcheck(torch.autograd.gradcheck)
check_twice = torch.sparse.as_sparse_gradcheck(torch.autograd.gradgradcheck)


def variable(t):
    return t.double().requires_grad_()


@pytest.mark.parametrize("layout", [COO, CSR, CSC, BSR, BSC])
@pytest.mark.parametrize("masked", [True, False])
def test_conversions(layout, masked):
    x = variable(matrix(4, 3).to_sparse(**options(layout)))
    assert check(lambda t: t.to_dense(masked_grad=masked) ** 2, (x,), masked=masked)
    assert check(lambda t: t.clone() * 3, (x,), masked=masked)
    dense = matrix(4, 3).double().requires_grad_()
    (dense.to_sparse(**options(layout)).to_dense() ** 2).sum().backward()
    assert torch.allclose(dense.grad, 2 * dense)


@pytest.mark.parametrize(
    "function",
    [
        lambda t: t * 2,
        lambda t: t * t,
        lambda t: t + t,
        lambda t: t.sin(),
        lambda t: t.abs(),
        lambda t: t.expm1().neg(),
        lambda t: t.relu(),
        lambda t: t / 3,
        lambda t: t**2,
        lambda t: t.transpose(0, 1),
        lambda t: t.coalesce().values(),
        lambda t: torch.sparse.sum(t),
        lambda t: torch.sparse.sum(t, 0),
        lambda t: torch.sparse.sum(t, (0, 1)),
        lambda t: torch.sparse.softmax(t, 1),
        lambda t: torch.sparse.log_softmax(t, 0),
        lambda t: torch.sparse.mm(t, torch.arange(6.0).double().view(3, 2)),
        lambda t: torch.sparse.mm(torch.arange(8.0).double().view(2, 4), t),
        lambda t: torch.sparse.mm(t, t.transpose(0, 1)),
        lambda t: torch.sparse.addmm(
            torch.ones(4, 2).double(), t, torch.arange(6.0).double().view(3, 2), beta=2, alpha=3
        ),
        lambda t: t.to_sparse_csr().to_dense(),
        lambda t: t.to(torch.float64),
        lambda t: t.select(1, -1),
        lambda t: t.narrow_copy(0, 1, 2),
        lambda t: t.index_select(0, torch.tensor([1, 0, 1])),
        lambda t: t.unsqueeze(1),
        lambda t: t.unbind(1)[1],
        lambda t: torch.cat([t, t * 2], 1),
        lambda t: torch.stack([t, t * 2]),
        lambda t: t.sum(0),
        lambda t: t.sum(1, keepdim=True),
        lambda t: t.norm(),
        lambda t: t[1],
    ],
)
def test_of_the_specified_elements(function):
    x = variable(matrix(4, 3).to_sparse())
    assert check(function, (x,), masked=True)
    assert check_twice(function, (x,), masked=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda t, d: torch.mm(t, d),
        lambda t, d: torch.sparse.mm(t, d),
        lambda t, d: t @ d[:, 0],
        lambda t, d: torch.addmm(torch.ones(4, 2).double(), t, d, alpha=3),
        lambda t, d: d.t()[:1].expand(4, 3) + t,
        lambda t, d: torch.nn.functional.linear(d.t(), t),
    ],
)
@pytest.mark.parametrize("layout", [COO, CSR])
def test_with_a_strided_operand(function, layout):
    x, d = (
        variable(matrix(4, 3).to_sparse(**options(layout))),
        torch.randn(3, 2, dtype=torch.float64, requires_grad=True),
    )
    assert check(function, (x, d), masked=True)


@pytest.mark.parametrize("layout", [COO, CSR])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (4, 1), ()])
def test_products_element_by_element(shape, layout):
    x = variable(matrix(4, 3).to_sparse(**options(layout)))
    d = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    (x * d).to_dense().sum().backward()
    places = (x.detach().to_dense() != 0).double()
    assert torch.allclose(x.grad.to_dense(), d.detach() * places)
    expected = x.detach().to_dense().sum_to_size(shape) if shape else x.detach().to_dense().sum()
    assert torch.allclose(d.grad.to_dense(), expected)


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin", "prod"])
def test_reductions_of_products(reduce):
    x, d = variable(matrix(4, 3).to_sparse_csr()), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert check(lambda t, d: torch.sparse.mm(t, d, reduce), (x, d), masked=True)


def test_sampled_products():
    x = variable(matrix(4, 3).to_sparse_csr())
    a, b = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((4, 2), (2, 3)))
    function = lambda t, a, b: torch.sparse.sampled_addmm(t, a, b, beta=2, alpha=3)  # noqa: E731
    assert check(function, (x, a, b), masked=True) and check_twice(function, (x, a, b), masked=True)


def test_values_as_variables():
    indices = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]])
    values = torch.randn(4, dtype=torch.float64, requires_grad=True)
    make = lambda v: torch.sparse_coo_tensor(indices, v, (2, 3))  # noqa: E731
    for function in (
        lambda v: make(v).to_dense() ** 2,
        lambda v: make(v).coalesce().values() ** 3,
        lambda v: torch.sparse.sum(make(v)) ** 2,
        lambda v: make(v) @ torch.ones(3, 2, dtype=torch.float64),
        lambda v: torch.sparse_csr_tensor([0, 2, 4], [0, 1, 1, 2], v, (2, 3)).to_dense() ** 2,
    ):
        assert torch.autograd.gradcheck(function, values) and torch.autograd.gradgradcheck(function, values)


def test_masks():
    mask = torch.sparse_coo_tensor([[0, 0, 1], [1, 1, 2]], torch.ones(3), (2, 3))
    dense = torch.arange(6.0, requires_grad=True)
    dense.view(2, 3).sparse_mask(mask).to_dense().sum().backward()
    assert dense.grad.tolist() == [0, 2, 0, 0, 0, 1]


def test_layouts_of_gradients():
    for function, layout in (
        (lambda t: t.to_dense().sum(), COO),
        (lambda t: torch.sparse.sum(t), COO),
        (lambda t: t.sum(), torch.strided),
        (lambda t: torch.sparse.mm(t, torch.ones(3, 2)).sum(), COO),
        (lambda t: (t @ torch.ones(3, 2)).sum(), torch.strided),
        (lambda t: (torch.ones(4, 3) + t).sum(), torch.strided),
    ):
        t = matrix(4, 3).to_sparse().requires_grad_()
        function(t).backward()
        assert t.grad.layout is layout and t.grad.shape == t.shape
    r = matrix(4, 3).to_sparse_csr().requires_grad_()
    r.to_dense().sum().backward()
    assert r.grad.layout is CSR and torch.equal(r.grad.to_dense(), (r.detach().to_dense() != 0).float())


def test_accumulation():
    t = matrix(4, 3).to_sparse().requires_grad_()
    places = (t.detach().to_dense() != 0).float()
    torch.sparse.sum(t).backward()
    torch.sparse.sum(t * 2).backward()
    assert t.grad.is_sparse and torch.equal(t.grad.to_dense(), 3 * places)
    t.sum().backward()  # a strided gradient
    assert t.grad.layout is torch.strided and torch.equal(t.grad, 3 * places + 1)
    torch.sparse.sum(t).backward()
    assert t.grad.layout is torch.strided and torch.equal(t.grad, 4 * places + 1)


def test_hooks_and_retained_gradients():
    seen = []
    t = matrix(4, 3).to_sparse().requires_grad_()
    t.register_hook(lambda g: seen.append(g.layout) or g * 2)
    inner = t * 3
    inner.retain_grad()
    inner.register_hook(lambda g: seen.append(g.layout))
    inner.to_dense().sum().backward()
    assert seen == [COO, COO] and inner.grad.is_sparse
    assert torch.equal(t.grad.to_dense(), 6 * (t.detach().to_dense() != 0).float())
    with pytest.raises(RuntimeError, match="different type"):
        t.grad = torch.ones(4, 3)
    dense = torch.ones(4, 3, requires_grad=True)
    dense.grad = t.detach()
    assert dense.grad.is_sparse


def test_in_place_writes_are_seen():
    t = matrix(4, 3).to_sparse().requires_grad_()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        t.mul_(2)
    u = t * 1
    product = u * u
    u.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.sparse.sum(product).backward()


def test_a_function_of_the_users():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, t):
            return t * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    t = matrix(4, 3).to_sparse().requires_grad_()
    Double.apply(t).to_dense().sum().backward()
    assert torch.equal(t.grad.to_dense(), 2 * (t.detach().to_dense() != 0).float())
