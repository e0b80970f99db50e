"""Losses over many classes: adaptive softmax, and cross entropy of a linear layer's scores, whole and in chunks."""

import copy
import pickle
import warnings

import pytest
from peer import assert_same, to_flambeau, to_torch, torch_or_skip

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

double = flambeau.float64

# --- adaptive softmax ------------------------------------------------------------------------------------------------


def adaptive(**kwargs):
    return nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10], div_value=2.0, dtype=double, **kwargs)


@pytest.mark.parametrize("bias", [False, True])
def test_adaptive_softmax_is_a_distribution(bias):
    layer, x = adaptive(head_bias=bias), flambeau.randn(7, 16, dtype=double)
    log_probs = layer.log_prob(x)
    assert flambeau.allclose(log_probs.exp().sum(1), flambeau.ones(7, dtype=double))
    target = flambeau.tensor([0, 3, 4, 9, 10, 19, 12])
    output, loss = layer(x, target)
    assert flambeau.allclose(output, log_probs.gather(1, target[:, None])[:, 0])
    assert flambeau.allclose(loss, -output.mean())
    alone, alone_loss = layer(x[3], target[3])
    assert alone.shape == () and flambeau.allclose(alone, output[3])
    assert flambeau.allclose(alone_loss, -output[3])


def test_predictions_look_into_a_cluster_only_if_the_head_prefers_it():
    layer = adaptive()
    x = flambeau.randn(200, 16, dtype=double) * 5
    found, head = layer.predict(x), layer.head(x).argmax(1)
    full = layer.log_prob(x).argmax(1)
    assert flambeau.equal(found, flambeau.where(head < 4, head, full))
    assert (found >= 4).any() and (found < 4).any()


def test_derivatives_of_adaptive_softmax():
    layer, target = adaptive(), flambeau.tensor([1, 5, 18])
    x = flambeau.randn(3, 16, dtype=double, requires_grad=True)
    assert gradcheck(lambda x, *w: layer(x, target), (x, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, []), ValueError, "length larger than 0"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 4]), ValueError, "sorted in an increasing order"),
        (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 20]), ValueError, "between 1 and n_classes-1"),
        (
            lambda: adaptive()(flambeau.zeros(2, 16, dtype=double), flambeau.tensor([1, 20])),
            RuntimeError,
            r"should be in \[0, 19\], but values in range \[1, 20\]",
        ),
        (
            lambda: adaptive()(flambeau.zeros(2, 16, dtype=double), flambeau.tensor([1])),
            RuntimeError,
            "same size in the batch dimension",
        ),
        (
            lambda: adaptive()(flambeau.zeros(2, 16, dtype=double), flambeau.tensor([[1, 2]])),
            RuntimeError,
            "multi-target not supported",
        ),
        (
            lambda: adaptive()(flambeau.zeros(2, 16, dtype=double), flambeau.tensor(1)),
            RuntimeError,
            "0D target tensor expects 1D input",
        ),
        (
            lambda: adaptive()(flambeau.zeros(1, 16, dtype=double), flambeau.tensor([1.0])),
            RuntimeError,
            "int32/int64",
        ),
    ],
)
def test_errors_of_adaptive_softmax(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_adaptive_softmax_is_pytorchs():
    torch = torch_or_skip()
    torch.manual_seed(3)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10], div_value=2.0, head_bias=True)
    flambeau.manual_seed(3)
    ours = nn.AdaptiveLogSoftmaxWithLoss(16, 20, [4, 10], div_value=2.0, head_bias=True)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(to_torch(mine), other.detach())
    x, target = torch.randn(9, 16), torch.randint(0, 20, (9,))
    expected, found = theirs(x, target), ours(to_flambeau(x), to_flambeau(target))
    assert type(found).__name__ == type(expected).__name__
    expected.loss.backward()
    found.loss.backward()
    assert_same(found.output, expected.output)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(mine.grad, other.grad)
    assert_same(ours.log_prob(to_flambeau(x)), theirs.log_prob(x))
    assert_same(ours.predict(to_flambeau(x)), theirs.predict(x))


# --- cross entropy of a linear layer ---------------------------------------------------------------------------------

INPUT, WEIGHT = flambeau.randn(7, 3, dtype=double), flambeau.randn(5, 3, dtype=double)
TARGET = flambeau.tensor([0, 4, 1, 2, 2, 3, 0])
chunks = pytest.mark.parametrize(
    "options",
    [
        None,
        nn.LinearCrossEntropyOptions(),
        nn.LinearCrossEntropyOptions(batch_chunk_size=2),
        nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio:1", allow_retain_graph=True),
    ],
)


@chunks
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("ignored", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_cross_entropy_is_both_in_turn(options, reduction, ignored, weighted):
    x, w = INPUT.clone().requires_grad_(), WEIGHT.clone().requires_grad_()
    bias = flambeau.arange(5.0, dtype=double, requires_grad=True)
    settings = {"reduction": reduction, "weight": flambeau.arange(1.0, 6, dtype=double) if weighted else None}
    found = F.linear_cross_entropy(
        x, w, TARGET, linear_bias=bias, ignore_index=ignored, options=options, **settings
    )
    expected = F.cross_entropy(
        F.linear(x, w, bias), TARGET, ignore_index=-100 if ignored is None else ignored, **settings
    )
    assert found.shape == expected.shape and flambeau.allclose(found, expected, rtol=1e-12)
    for mine, other in zip(
        flambeau.autograd.grad(found.sin().sum(), (x, w, bias)),
        flambeau.autograd.grad(expected.sin().sum(), (x, w, bias)),
        strict=True,
    ):
        assert flambeau.allclose(mine, other, rtol=1e-10)


@chunks
def test_derivatives_of_linear_cross_entropy(options):
    x, w = INPUT.clone().requires_grad_(), WEIGHT.clone().requires_grad_()
    assert gradcheck(lambda x, w: F.linear_cross_entropy(x, w, TARGET, options=options), (x, w))
    assert gradgradcheck(
        lambda x, w: F.linear_cross_entropy(x, w, TARGET, options=options), (x, w), fast_mode=True
    )


@chunks
def test_forms_of_inputs_and_targets(options):
    single = F.linear_cross_entropy(INPUT[1], WEIGHT, TARGET[1], reduction="none", options=options)
    each = F.linear_cross_entropy(INPUT, WEIGHT, TARGET, reduction="none", options=options)
    assert single.shape == () and flambeau.allclose(single, each[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if options else "error")
        probabilities = F.one_hot(TARGET, 5).double()
        soft = F.linear_cross_entropy(INPUT, WEIGHT, probabilities, reduction="none", options=options)
        assert flambeau.allclose(soft, each)
        deep = WEIGHT.reshape(5, 1, 3).expand(5, 2, 3)
        targets = TARGET[:, None].expand(7, 2)
        wide = F.linear_cross_entropy(INPUT, deep, targets, reduction="none", options=options)
        assert wide.shape == (7, 2) and flambeau.allclose(wide[:, 1], each)
    if options is not None:
        with pytest.warns(UserWarning, match="``options`` ignored"):
            F.linear_cross_entropy(INPUT, WEIGHT, TARGET, label_smoothing=0.1, options=options)


def test_the_layer():
    layer = nn.LinearCrossEntropyLoss(3, 5, out_features=(2,), bias=True, label_smoothing=0.1, dtype=double)
    assert list(layer.state_dict()) == ["linear.weight", "linear.bias"]
    targets = TARGET[:, None].expand(7, 2)
    scores = layer.linear(INPUT).unflatten(1, (5, 2))
    assert flambeau.allclose(layer(INPUT, targets), F.cross_entropy(scores, targets, label_smoothing=0.1))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert flambeau.equal(other(INPUT, targets), layer(INPUT, targets))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: F.linear_cross_entropy(INPUT[None], WEIGHT, TARGET), RuntimeError, "dimensionality 1 or 2, got 3"),
        (lambda: F.linear_cross_entropy(INPUT, WEIGHT[0], TARGET), RuntimeError, "at least 2, got 1"),
        (lambda: F.linear_cross_entropy(INPUT[:, :2], WEIGHT, TARGET), RuntimeError, "got 2 and 3, respectively"),
        (lambda: F.linear_cross_entropy(INPUT, WEIGHT, TARGET[:3]), ValueError, "to match target batch_size"),
        (lambda: F.linear_cross_entropy(INPUT[0], WEIGHT[None], TARGET), RuntimeError, "requires batched input"),
        (
            lambda: F.linear_cross_entropy(INPUT, WEIGHT, TARGET, linear_bias=INPUT),
            RuntimeError,
            r"expected linear_bias shape \(5,\), got \(7, 3\)",
        ),
        (
            lambda: F.linear_cross_entropy(INPUT, WEIGHT, flambeau.zeros(7, 5, dtype=double), ignore_index=1),
            RuntimeError,
            "ignore_index cannot be specified",
        ),
        (lambda: F.linear_cross_entropy(INPUT, WEIGHT, TARGET, reduction="most"), ValueError, "not a valid value"),
        (lambda: nn.LinearCrossEntropyLoss(3, 5, weight=flambeau.ones(3)), RuntimeError, r"to be \(5,\), got \(3,\)"),
        (lambda: nn.LinearCrossEntropyLoss(3, 5, label_smoothing=2), RuntimeError, r"in range \[0, 1\], got 2"),
        (lambda: nn.LinearCrossEntropyOptions(batch_chunk_size=0), ValueError, "positive int or None, got 0"),
        (lambda: nn.LinearCrossEntropyOptions(chunking_method="half"), ValueError, "invalid chunking_method: 'half'"),
        (lambda: nn.LinearCrossEntropyOptions(acc_policy="most"), ValueError, "invalid acc_policy: 'most'"),
        (lambda: nn.LinearCrossEntropyOptions(acc_dtype=flambeau.int64), ValueError, "acc_dtype must be one of"),
    ],
)  # fmt: skip
def test_errors_of_linear_cross_entropy(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_linear_cross_entropy_is_pytorchs():
    torch = torch_or_skip()
    if not hasattr(torch.nn, "LinearCrossEntropyLoss"):
        pytest.skip("this PyTorch has no LinearCrossEntropyLoss")
    torch.manual_seed(3)
    theirs = torch.nn.LinearCrossEntropyLoss(3, 5, out_features=(2,), bias=True, ignore_index=2)
    flambeau.manual_seed(3)
    ours = nn.LinearCrossEntropyLoss(3, 5, out_features=(2,), bias=True, ignore_index=2)
    assert repr(ours) == repr(theirs)
    x, target = torch.randn(6, 3), torch.randint(0, 5, (6, 2))
    expected, found = theirs(x, target), ours(to_flambeau(x), to_flambeau(target))
    expected.backward()
    found.backward()
    assert_same(found, expected)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(to_torch(mine), other.detach())
        assert_same(mine.grad, other.grad)
