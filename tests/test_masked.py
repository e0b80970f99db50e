"""`torch.masked`: only what counts enters, and what has nothing to count says so."""

import math

import numpy as np
import pytest

import flambeau as t
from flambeau import masked

X = np.array([[1.0, 4.0, -2.0, 3.0], [2.0, 0.5, 7.0, -1.0], [5.0, 5.0, 5.0, 5.0]])
M = np.array([[True, False, True, True], [False, True, True, False], [True, True, True, True]])
x, m = t.from_numpy(X), t.from_numpy(M)


@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "amax", "amin"])
def test_reductions_against_numpy(name, dim, keepdim):
    reference = getattr(np.ma.masked_array(X, ~M), {"amax": "max", "amin": "min"}.get(name, name))
    if isinstance(dim, tuple):
        expected = reference().reshape(1, 1) if keepdim else reference()
    else:
        expected = reference(axis=dim, keepdims=keepdim)
    got = getattr(masked, name)(x, dim, keepdim=keepdim, mask=m)
    assert got.shape == np.shape(expected) and np.allclose(got.numpy(), np.asarray(expected))


@pytest.mark.parametrize("correction", [0, 1, 0.5])
def test_variance_against_numpy(correction):
    expected = [np.var(row[keep], ddof=correction) for row, keep in zip(X, M, strict=True)]
    assert np.allclose(masked.var(x, 1, correction=correction, mask=m).numpy(), expected)
    assert np.allclose(masked.std(x, 1, correction=correction, mask=m).numpy(), np.sqrt(expected))
    assert masked.var(x, 1, False, mask=m).tolist() == masked.var(x, 1, correction=0, mask=m).tolist()


def test_softmax_and_logarithms():
    weights = masked.softmax(x, 1, mask=m).numpy()
    assert (weights[~M] == 0).all() and np.allclose(weights.sum(1), 1)
    assert np.allclose(np.log(weights[M]), masked.log_softmax(x, 1, mask=m).numpy()[M])
    assert np.allclose(masked.softmin(x, 1, mask=m).numpy(), masked.softmax(-x, 1, mask=m).numpy())
    expected = [np.log(np.exp(row[keep]).sum()) for row, keep in zip(X, M, strict=True)]
    assert np.allclose(masked.logsumexp(x, 1, mask=m).numpy(), expected)


def test_norms():
    expected = [np.linalg.norm(row[keep], 3) for row, keep in zip(X, M, strict=True)]
    assert np.allclose(masked.norm(x, 3.0, 1, mask=m).numpy(), expected)
    unit = masked.normalize(x, 2.0, 1, mask=m)
    assert np.allclose(masked.norm(unit, 2.0, 1).numpy(), 1) and (unit.numpy()[~M] == 0).all()


def test_nothing_counts():
    none = t.zeros(4, dtype=t.bool)
    y = t.ones(4)
    assert masked.sum(y, mask=none) == 0 and masked.prod(y, mask=none) == 1
    assert masked.amax(y, mask=none) == -math.inf and masked.amin(y, mask=none) == math.inf
    assert masked.amax(t.ones(4, dtype=t.int8), mask=none) == -128
    assert masked.mean(y, mask=none).isnan() and masked.median(y, mask=none).isnan()
    assert masked.logsumexp(y, mask=none) == -math.inf
    with pytest.raises(ValueError, match="no median of an integer dtype"):
        masked.median(t.ones(4, dtype=t.int64), mask=none)


def test_gradients_of_what_counts_only():
    y = x.clone().requires_grad_()
    masked.mean(y, mask=m).backward()
    assert np.allclose(y.grad.numpy(), M / M.sum())


def test_masks_broadcast():
    row = t.tensor([True, False, True, False])
    assert masked.sum(x, 1, mask=row).tolist() == (X * [1, 0, 1, 0]).sum(1).tolist()
    assert masked.sum(x, mask=t.tensor([[1], [0], [2]])) == X[[0, 2]].sum()
    with pytest.raises(IndexError, match="more dimensions"):
        masked.sum(t.ones(3), mask=t.ones(1, 3, dtype=t.bool))
    with pytest.raises(RuntimeError, match="multiple times"):
        masked.sum(x, (0, 0), mask=m)
    with pytest.raises(IndexError, match="out of range"):
        masked.sum(x, 2, mask=m)
