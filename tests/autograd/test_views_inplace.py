"""In-place writes through bases and views: random programs, run by flambeau and by PyTorch, must agree in values,
gradients, flags and errors."""

import random

import pytest

import flambeau

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")

VIEWS = ["select", "narrow", "t", "diagonal", "unbind", "alias", "unsqueeze", "expand"]
ERRORS = [
    "no_grad mode",
    "multiple views",
    "modified by an inplace",
    "a leaf Variable",
    "single memory location",
]
WRITES = ["mul_number", "mul_w", "add_w", "copy", "zero", "sub_self", "fill", "mul_detached"]


def view_of(t, kind, rng):
    if kind == "select" and t.ndim:
        dim = rng.randrange(t.ndim)
        return t.select(dim, rng.randrange(t.shape[dim]))
    if kind == "narrow" and t.ndim:
        dim = rng.randrange(t.ndim)
        start = rng.randrange(t.shape[dim])
        return t.narrow(dim, start, rng.randint(1, t.shape[dim] - start))
    if kind == "t" and t.ndim == 2:
        return t.t()
    if kind == "diagonal" and t.ndim == 2:
        return t.diagonal()
    if kind == "unbind" and t.ndim:
        return t.unbind(0)[0]
    if kind == "unsqueeze" and t.ndim < 4:
        return t.unsqueeze(0)
    if kind == "expand" and t.ndim and t.ndim < 4 and t.shape[0] == 1:
        return t.expand(2, *t.shape[1:])
    return t.detach() if kind == "alias" and rng.random() < 0.2 else t[...]


def write_to(t, kind, w, pool, rng):
    if 0 in t.stride():  # refused, but for constants
        kind = "mul_number"
    if kind == "mul_number":
        return t.mul_(2)
    if kind == "mul_w":
        return t.mul_(w)
    if kind == "add_w":
        return t.add_(w, alpha=3)
    if kind == "copy":
        same = [p for p in pool if p.shape == t.shape]
        return t.copy_(rng.choice(same) * w if rng.random() < 0.5 else w)
    if kind == "zero":
        return t.zero_()
    if kind == "sub_self":
        return t.sub_(t.detach().clone())
    if kind == "fill":
        return t.fill_(0.5)
    return t.mul_(rng.choice(pool).detach().sum())


def run(lib, seed):
    """One random program; a list of what can be observed, or the error."""
    rng = random.Random(seed)
    x = lib.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], dtype=lib.float64, requires_grad=True)
    w = lib.tensor(1.25, dtype=lib.float64, requires_grad=True)
    pool = [x.clone() if rng.random() < 0.8 else (x.detach().clone())]
    log = []
    try:
        for _ in range(rng.randint(2, 7)):
            action = rng.random()
            t = rng.choice(pool)
            if action < 0.45:
                pool.append(view_of(t, rng.choice(VIEWS), rng))
            elif action < 0.55:
                with lib.no_grad():
                    pool.append(view_of(t, rng.choice(VIEWS), rng))
            elif action < 0.62:
                with lib.no_grad():
                    write_to(t, rng.choice(WRITES), w, pool, rng)
            elif action < 0.9:
                result = write_to(t, rng.choice(WRITES), w, pool, rng)
                assert result is t
            else:
                pool.append(t * w)
            log.append([(p.requires_grad, p.is_leaf, p._version) for p in pool])
        total = sum(((p * (i + 1)).sum() for i, p in enumerate(pool)), lib.zeros((), dtype=lib.float64))
        create = rng.random() < 0.3
        total.backward(create_graph=create)
        if create and x.grad is not None and x.grad.requires_grad:
            (x.grad * x.grad).sum().backward()
    except RuntimeError as error:
        return log, "RuntimeError", next((k for k in ERRORS if k in str(error)), str(error))
    values = [p.detach().tolist() for p in pool]
    return log, values, [None if t.grad is None else t.grad.tolist() for t in (x, w)]


def close(a, b):
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(close, a, b))
    return a == pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(a, float) else a == b


@pytest.mark.parametrize("block", range(10))
@pytest.mark.filterwarnings("ignore")
def test_random_programs(block):
    for seed in range(block * 100, block * 100 + 100):
        ours, theirs = run(flambeau, seed), run(torch, seed)
        assert close(ours, theirs), (seed, ours, theirs)
