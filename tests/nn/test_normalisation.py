"""Normalisations against their definitions, and what the operators that return their statistics promise."""

import math

import pytest

import flambeau as torch
from flambeau import nn
from flambeau._ops import registry
from flambeau.autograd import gradcheck
from flambeau.nn import functional as F


def numbers(*shape, phase=0, dtype=torch.float64, grad=False):
    values = [math.sin(1.3 * i + phase) * 2 + 0.5 for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=dtype).reshape(shape).requires_grad_(grad)


def normalised(rows, eps):
    """Lists of numbers, each with mean 0 and variance 1."""
    result = []
    for row in rows:
        mean = math.fsum(row) / len(row)
        variance = math.fsum((x - mean) ** 2 for x in row) / len(row)
        result.append([(x - mean) / math.sqrt(variance + eps) for x in row])
    return result


TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def assert_close(found, expected, tolerance=None):
    tolerance = TOLERANCE[found.dtype] if tolerance is None else tolerance
    expected = torch.tensor(expected, dtype=torch.float64).reshape(found.shape)
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((2, 6, 5, 7), 3), ((3, 4), 2), ((2, 4, 1100), 4), ((1, 3, 40, 3), 1), ((2, 2, 2, 2, 3), 2)],
)
def test_group_norm(shape, groups, dtype):
    x = numbers(*shape).to(dtype)
    weight, bias = numbers(shape[1], phase=1).to(dtype), numbers(shape[1], phase=2).to(dtype)
    plain = normalised(x.double().reshape(shape[0] * groups, -1).tolist(), 1e-5)
    assert_close(F.group_norm(x, groups), plain)
    channelwise = (1, -1, *(1,) * (len(shape) - 2))
    expected = torch.tensor(plain, dtype=torch.float64).reshape(shape)
    expected = expected * weight.double().view(channelwise) + bias.double().view(channelwise)
    found = F.group_norm(x, groups, weight, bias)
    assert found.dtype == dtype
    assert_close(found, expected.tolist())


def test_group_norm_far_from_zero():
    x = numbers(2, 4, 300).float() + 5000
    expected = normalised(x.double().reshape(4, -1).tolist(), 1e-5)
    assert_close(F.group_norm(x, 2), expected, 2e-3)
    assert F.group_norm(torch.full((1, 2, 9), 1e6), 1).abs().max() == 0


def test_group_norm_keeps_the_layout():
    x = numbers(2, 4, 3, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    found = F.group_norm(last, 2)
    assert found.stride() == last.stride()
    assert torch.equal(found, F.group_norm(x, 2))


@pytest.mark.parametrize("parameters", [True, False])
def test_group_norm_in_single_precision_has_the_gradients_of_double(parameters):
    double = [numbers(3, 8, 37, grad=True)]
    if parameters:
        double += [numbers(8, phase=1, grad=True), numbers(8, phase=2, grad=True)]
    single = [x.detach().float().requires_grad_() for x in double]
    assert gradcheck(lambda *a: F.group_norm(a[0][:, :, :3], 4, *a[1:]), double)
    weights = numbers(3, 8, 37, phase=3)
    for operands in (double, single):
        output = F.group_norm(operands[0], 4, *operands[1:])
        (output * weights.to(output.dtype)).sum().backward()
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-4)


def test_same_bits_on_any_number_of_threads():
    operands = [
        numbers(6, 8, 2000, grad=True),
        numbers(8, phase=1, grad=True),
        numbers(8, phase=2, grad=True),
    ]
    operands = [x.detach().float().requires_grad_() for x in operands]
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            output = F.group_norm(operands[0], 2, *operands[1:])
            found.append([output, *torch.autograd.grad(output.square().sum(), operands)])
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


def test_empty_groups():
    assert F.group_norm(torch.ones(0, 4, 3), 2).shape == (0, 4, 3)
    x, weight = torch.ones(2, 4, 0, requires_grad=True), torch.ones(4, requires_grad=True)
    F.group_norm(x, 2, weight).sum().backward()
    assert x.grad.shape == (2, 4, 0)
    assert weight.grad.tolist() == [0.0] * 4
    assert F.group_norm(torch.ones(2, 4, 3, device="meta"), 2).shape == (2, 4, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_batch_norm_of_no_examples_leaves_gradients_of_zero(training, dtype):
    m = nn.BatchNorm2d(2).to(dtype).train(training)
    (m(torch.zeros(0, 2, 3, 3, dtype=dtype)) ** 2).sum().backward()
    assert m.weight.grad.tolist() == m.bias.grad.tolist() == [0, 0]
    assert m.running_mean.tolist() == [0, 0] and m.running_var.tolist() == [1, 1]


def test_instance_norm_of_nothing():
    m = nn.InstanceNorm1d(3, affine=True, track_running_stats=True)
    for shape in ((2, 3, 0), (0, 3, 4)):
        m(torch.zeros(shape)).sum().backward()
        assert m.running_mean.tolist() == [0] * 3 and m.weight.grad.tolist() == [0] * 3
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        m(torch.zeros(2, 3, 1))


@pytest.mark.parametrize(
    ("kind", "phrase", "arguments"),
    [
        (RuntimeError, "at least 2 dimensions", (torch.ones(4), 2)),
        (RuntimeError, "divisible by num_groups", (torch.ones(2, 4), 3)),
        (RuntimeError, "Expected weight to be a vector", (torch.ones(2, 4, 3), 2, torch.ones(3))),
        (RuntimeError, "Expected bias to be a vector", (torch.ones(2, 4, 3), 2, None, torch.ones(4, 1))),
        (ValueError, "more than 1 value per channel", (torch.ones(1, 1, 1), 1)),
        (NotImplementedError, "not implemented for 'Long'", (torch.ones(2, 4, dtype=torch.int64), 2)),
    ],
)
def test_errors_of_group_norm(kind, phrase, arguments):
    with pytest.raises(kind, match=phrase):
        F.group_norm(*arguments)


def test_the_operator_checks_its_sizes():
    x = torch.ones(2, 4, 3)
    forward = registry.records["native_group_norm"].op
    backward = registry.records["native_group_norm_backward"].op
    output, mean, rstd = forward(x, None, None, 2, 4, 3, 2, 1e-5)
    for sizes in (
        (2, 4, 5, 2),
        (1, 4, 3, 2),
        (2, 4, 3, 3),
        (2, 4, 3, 0),
        (-2, -4, 3, 2),
        (2**40, 2**40, 3, 2),
    ):
        with pytest.raises(RuntimeError):
            forward(x, None, None, *sizes, 1e-5)
        with pytest.raises(RuntimeError):
            backward(output, x, mean, rstd, None, *sizes, 1e-5, 7)
    with pytest.raises(RuntimeError, match="one mean and one deviation"):
        backward(output, x, mean[:1], rstd, None, 2, 4, 3, 2, 1e-5, 7)
    with pytest.raises(RuntimeError, match="grad of shape"):
        backward(output[:1], x, mean, rstd, None, 2, 4, 3, 2, 1e-5, 7)


def statistics(name, x, dtype):
    weight = None if dtype is None else torch.ones(4, dtype=dtype)
    if name == "layer":
        return torch.native_layer_norm(x, [4], weight, None, 1e-5)
    if name == "group":
        return torch.native_group_norm(x, weight, None, 3, 4, 1, 2, 1e-5)
    return torch.native_batch_norm(x, weight, None, None, None, True, 0.1, 1e-5)


@pytest.mark.parametrize("name", ["layer", "batch", "group"])
def test_saved_statistics(name):
    for dtype in TOLERANCE:
        x = numbers(3, 4).to(dtype)
        assert {s.dtype for s in statistics(name, x, None)} == {dtype}
        # Parameters may be wider than narrow input, and so are the statistics then.
        wide = torch.promote_types(dtype, torch.float32)
        output, *saved = statistics(name, x, wide)
        assert output.dtype == dtype
        assert {s.dtype for s in saved} == {wide}
    x = numbers(3, 4, grad=True)
    output, mean, rstd = statistics(name, x, None)
    assert output.requires_grad
    # As in PyTorch, only those of groups are differentiable.
    assert mean.requires_grad == rstd.requires_grad == (name == "group")
    rows = {"layer": x.tolist(), "batch": x.T.tolist(), "group": x.reshape(6, 2).tolist()}[name]
    assert_close(mean.detach(), [math.fsum(row) / len(row) for row in rows])


def test_gradients_through_statistics_of_groups():
    x = numbers(2, 4, 3, grad=True).double().detach().requires_grad_()
    for weight in (None, numbers(4).double()):
        assert torch.autograd.gradcheck(
            lambda x, weight=weight: torch.native_group_norm(x, weight, None, 2, 4, 3, 2, 0.5), (x,)
        )
        assert torch.autograd.gradgradcheck(
            lambda x, weight=weight: torch.native_group_norm(x, weight, None, 2, 4, 3, 2, 0.5), (x,)
        )
    empty = torch.ones(0, 2, requires_grad=True)
    torch.native_group_norm(empty, None, None, 0, 2, 1, 1, 1e-5)[1].sum().backward()
    assert empty.grad.shape == (0, 2)


def test_statistics_of_evaluation_are_empty():
    ones = torch.ones(4)
    output, mean, rstd = torch.native_batch_norm(torch.ones(3, 4), ones, ones, ones, ones, False, 0.1, 0.0)
    assert output.tolist() == [[1.0] * 4] * 3
    assert mean.shape == rstd.shape == (0,)
