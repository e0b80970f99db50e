"""Sparse gradients of tables, and the optimizers that take them."""

import pytest

import flambeau as torch
from flambeau import nn, optim
from flambeau.nn import functional as F


def coo(t):
    return t._indices().tolist(), t._values().tolist()


@pytest.mark.parametrize("padding", [None, 1, -1])
def test_embedding(padding):
    table = nn.Embedding(5, 2, sparse=True, padding_idx=padding)
    like = nn.Embedding.from_pretrained(table.weight.detach(), freeze=False, padding_idx=padding)
    indices = torch.tensor([[1, 2], [4, 1]])
    for _ in range(2):
        for layer in (table, like):
            (layer(indices) * torch.arange(8.0).view(2, 2, 2)).sum().backward()
    grad = table.weight.grad
    assert grad.is_sparse and grad.shape == (5, 2) and torch.equal(grad.to_dense(), like.weight.grad)
    assert grad.sparse_dim() == 1
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
        F.embedding(indices, table.weight, scale_grad_by_freq=True, sparse=True).sum().backward()


def test_places_are_as_looked_up():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([[1, 2], [1, 4]])).sum().backward()
    assert coo(table.weight.grad) == ([[1, 2, 1, 4]], [[1, 1]] * 4) and not table.weight.grad.is_coalesced()
    table(torch.tensor([0])).sum().backward()
    assert coo(table.weight.grad)[0] == [[1, 2, 1, 4, 0]]


def test_sparse_and_strided_gradients_of_one_table():
    weight = torch.ones(3, 2, requires_grad=True)
    (F.embedding(torch.tensor([1, 1]), weight, sparse=True).sum() + weight.sum()).backward()
    assert weight.grad.tolist() == [[1, 1], [3, 3], [1, 1]]
    F.embedding(torch.tensor([0]), weight, sparse=True).sum().backward()
    assert weight.grad.tolist() == [[2, 2], [3, 3], [1, 1]]


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding", [None, 1])
def test_bags(mode, padding):
    weight = torch.randn(5, 2)
    indices, offsets = torch.tensor([1, 2, 4, 1]), torch.tensor([0, 3])
    found = []
    for sparse in (True, False):
        bag = nn.EmbeddingBag.from_pretrained(
            weight, freeze=False, sparse=sparse, mode=mode, padding_idx=padding
        )
        samples = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True) if mode == "sum" else None
        (bag(indices, offsets, samples) * torch.arange(4.0).view(2, 2)).sum().backward()
        found.append((bag.weight.grad.to_dense(), None if samples is None else samples.grad))
        assert bag.weight.grad.is_sparse == sparse
    assert torch.allclose(found[0][0], found[1][0])
    assert mode == "mean" or torch.equal(found[0][1], found[1][1])


def test_second_derivatives():
    weight = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    indices = torch.tensor([1, 2, 1])
    (first,) = torch.autograd.grad(
        F.embedding(indices, weight, sparse=True).pow(3).sum(), weight, create_graph=True
    )
    torch.sparse.sum(first).backward()
    expected = torch.zeros(5, 2, dtype=torch.float64).index_add(0, indices, 6 * weight.detach()[indices])
    assert torch.allclose(weight.grad.to_dense(), expected)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather(dim):
    found = []
    for sparse in (True, False):
        x = torch.arange(6.0).view(2, 3).requires_grad_()
        (
            torch.gather(x, dim, torch.tensor([[0, 0], [1, 1]]), sparse_grad=sparse)
            * torch.arange(4.0).view(2, 2)
        ).sum().backward()
        found.append(x.grad.to_dense())
        assert x.grad.is_sparse == sparse
    assert torch.equal(*found)


# ---- optimizers: one table with rows that no gradient names, against strided gradients -----------------------------------


def train(make, sparse, steps=4):
    torch.manual_seed(3)
    weight = nn.Parameter(torch.randn(6, 3, dtype=torch.float64))
    optimizer = make([weight])
    for step in range(steps):
        optimizer.zero_grad()
        rows = F.embedding(torch.tensor([1, 4, 1, (step + 2) % 4]), weight, sparse=sparse)
        (rows * torch.arange(12.0, dtype=torch.float64).view(4, 3) + rows**2).sum().backward()
        optimizer.step()
    return weight.detach(), optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.01),
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9),
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9, dampening=0.3, maximize=True),
        lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
        lambda p: optim.Adagrad(p, lr=0.1),
        lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5, maximize=True),
    ],
)
def test_steps_equal_those_of_strided_gradients(make):
    assert torch.allclose(train(make, True)[0], train(make, False)[0], rtol=1e-12)


def test_sparse_adam():
    weight, optimizer = train(lambda p: optim.SparseAdam(p, lr=0.1), True)
    (state,) = optimizer.state.values()
    assert state["step"] == 4
    # By hand: the elements a gradient names follow Adam's rule, the others keep everything.
    torch.manual_seed(3)
    w = torch.randn(6, 3, dtype=torch.float64)
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, 5):
        indices = torch.tensor([1, 4, 1, (step + 1) % 4])
        rows = w[indices]
        grad = torch.zeros_like(w).index_add(
            0, indices, torch.arange(12.0, dtype=torch.float64).view(4, 3) + 2 * rows
        )
        for row in set(indices.tolist()):
            mean[row] = 0.9 * mean[row] + 0.1 * grad[row]
            square[row] = 0.999 * square[row] + 0.001 * grad[row] ** 2
            size = 0.1 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            w[row] -= size * mean[row] / (square[row].sqrt() + 1e-8)
    assert torch.allclose(weight, w, rtol=1e-12) and torch.allclose(state["exp_avg"], mean)
    saved = optimizer.state_dict()
    again = optim.SparseAdam([nn.Parameter(weight.clone())])
    again.load_state_dict(saved)
    assert torch.equal(next(iter(again.state.values()))["exp_avg_sq"], state["exp_avg_sq"])


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda p: optim.SparseAdam([p.detach().to_sparse()]), ValueError, "Sparse params at indices"),
        (lambda p: optim.SparseAdam([p]), RuntimeError, "does not support dense gradients"),
    ],
)
def test_what_sparse_adam_refuses(make, error, text):
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    with pytest.raises(error, match=text):
        make(p).step()


@pytest.mark.parametrize(
    "name", "Adam AdamW Adadelta Adamax ASGD NAdam RAdam RMSprop Rprop Adafactor".split()
)
def test_what_others_refuse(name):
    with pytest.raises(RuntimeError, match="does not support sparse gradients"):
        train(lambda p: getattr(optim, name)(p), True)


def test_weight_decay_is_refused():
    with pytest.raises(RuntimeError, match="weight_decay option is not compatible with sparse gradients"):
        train(lambda p: optim.Adagrad(p, weight_decay=0.1), True)
    with pytest.raises(RuntimeError, match="add\\(sparse, dense\\) is not supported"):
        train(lambda p: optim.SGD(p, weight_decay=0.1), True)


def test_clipping_and_zeroing():
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.sparse_coo_tensor([[0, 2, 0]], torch.tensor([[1.0, 2], [3, 4], [5, 6]]), (3, 2))
    norm = p.grad.to_dense().norm()
    assert torch.allclose(nn.utils.clip_grad_norm_([p], 1.0), norm)
    assert torch.allclose(p.grad.to_dense().norm(), torch.tensor(1.0))
    optim.SGD([p]).zero_grad(set_to_none=False)
    assert p.grad.is_sparse and p.grad._nnz() == 0


def test_a_model_learns():
    torch.manual_seed(0)
    table, out = nn.EmbeddingBag(20, 8, mode="mean", sparse=True), nn.Linear(8, 2)
    steps = [optim.SparseAdam(table.parameters(), lr=0.05), optim.Adam(out.parameters(), lr=0.05)]
    x = torch.randint(0, 20, (64, 3))
    y = (x < 10).sum(1).gt(1).long()
    for _ in range(40):
        loss = F.cross_entropy(out(table(x)), y)
        for step in steps:
            step.zero_grad()
        loss.backward()
        for step in steps:
            step.step()
    assert loss.item() < 0.1
