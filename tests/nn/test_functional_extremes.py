"""What functions of nn make of nan and of arguments that they refuse."""

import math

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (F.relu, 1),
        (F.relu6, 1),
        (F.elu, 1),
        (F.selu, 1.0507010221481323),
        (F.leaky_relu, 0.01),
        (F.hardtanh, 1),
    ],
)
def test_gradients_pass_nan_as_what_lies_above(function, slope):
    x = torch.tensor([math.nan, 2.0 if function is not F.hardtanh else 0.5], requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert math.isnan(y[0].item()) and x.grad[0].item() == pytest.approx(slope)


def test_lp_pooling_of_what_has_no_root_has_no_gradient():
    x = torch.tensor([[[1.0, -2.0, 3.0, 1.0, 1.0, 1.0]]], requires_grad=True)
    F.lp_pool1d(x, 1.5, 3).sum().backward()
    assert x.grad[0, 0, :3].isnan().all() and x.grad[0, 0, 3:].isfinite().all()


def bce(input, target, **options):
    return F.binary_cross_entropy(torch.tensor(input), torch.tensor(target), **options)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_second_gradients_of_binary_cross_entropy(reduction):
    x = torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 0.7, 1.0], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    loss = lambda x, y: F.binary_cross_entropy(x, y.sigmoid(), weight, reduction=reduction)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (x, y)) and torch.autograd.gradgradcheck(loss, (x, y))


def test_binary_cross_entropy_limits_logarithms():
    x = torch.tensor([0.0, 1.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(x, torch.tensor([1.0, 0.0, 1.0]), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [100, 100, 0] and x.grad.tolist() == pytest.approx([-1e12, 1e12, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_smoothed_cross_entropy_keeps_the_dtype(dtype, reduction):
    x = torch.ones(2, 3, dtype=dtype)
    assert F.cross_entropy(x, torch.tensor([0, 2]), reduction=reduction, label_smoothing=0.5).dtype is dtype


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.BatchNorm1d(3, eps=0.0)(torch.ones(2, 3)), ValueError, "eps must be positive"),
        (lambda: nn.HuberLoss(delta=1j), TypeError, "delta must be a float or int"),
        (lambda: nn.MaxPool2d(2)(torch.ones(3, 4)), RuntimeError, "non-empty 3D or 4D"),
        (lambda: nn.LSTM(3, 5, bias=0), TypeError, "bias should be of type bool, got: int"),
        (lambda: nn.GRU(3, 5, batch_first=1), TypeError, "batch_first should be of type bool, got: int"),
        (
            lambda: nn.NLLLoss(weight=torch.ones(2, dtype=torch.half))(torch.ones(1, 2), torch.tensor([0])),
            RuntimeError,
            "expected scalar type Float but found Half",
        ),
        (lambda: bce([0.5], [1.5]), RuntimeError, "elements of target should be between 0 and 1"),
        (lambda: bce([-0.1], [1.0]), RuntimeError, "elements of input should be between 0 and 1"),
        (lambda: bce([math.nan], [1.0]), RuntimeError, "elements of input should be between 0 and 1"),
        (lambda: bce([0.5], [1]), RuntimeError, "Found dtype Long but expected Float"),
        (lambda: F.adaptive_avg_pool2d(torch.ones(3), 2), RuntimeError, "Expected 3D or 4D"),
        (lambda: F.adaptive_max_pool3d(torch.ones(3), (2, 2, 2)), ValueError, "should be at least 4"),
        (lambda: nn.Dropout2d()(torch.ones(3)), RuntimeError, "at least 2 dimensions"),
        (lambda: F.pad(torch.ones(1, 1, 4), (1, 1), "reflect", 2.0), RuntimeError, "take in value argument"),
        (
            lambda: F.interpolate(torch.ones(1, 1, 4, 4), (2, 2), mode="lanczos"),
            ValueError,
            "requires antialias=True",
        ),
        (lambda: F.pad(torch.ones(1, 1), (1, -2)), RuntimeError, "negative padding"),
        (
            lambda: F.interpolate(torch.ones(1, 1, 2), (3, 3), mode="bilinear"),
            ValueError,
            "same number of spatial dimensions",
        ),
        (lambda: nn.ConvTranspose1d(2, 2, 1)(torch.ones(1, 3, 4)), RuntimeError, "Given transposed=1"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_batch_norm_in_evaluation_takes_any_eps():
    assert nn.BatchNorm1d(2, eps=0.0).eval()(torch.ones(2, 2)).tolist() == [[1, 1], [1, 1]]


def test_dropout3d_of_three_dimensions_drops_rows():
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="dropout3d: Received a 3-D input"):
        y = F.dropout3d(torch.ones(50, 2, 3), 0.5)
    rows = y.reshape(50, 6)
    assert (rows == rows[:, :1]).all() and set(rows[:, 0].tolist()) == {0, 2}
