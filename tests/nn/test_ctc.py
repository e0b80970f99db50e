"""The CTC loss: against the sum over all alignments, finite differences, and PyTorch."""

import itertools
import math

import pytest
from peer import assert_same, to_flambeau, torch_or_skip

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck
from flambeau.nn import functional as F

double = flambeau.float64


def by_alignments(probs, labels, blank):
    """Minus the logarithm of the probability of all paths that collapse to the labels."""
    total = 0.0
    for path in itertools.product(range(len(probs[0])), repeat=len(probs)):
        collapsed = [c for c, _ in itertools.groupby(path) if c != blank]
        if collapsed == labels:
            total += math.prod(step[c] for step, c in zip(probs, path, strict=True))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize(
    "labels", [[], [1], [1, 1], [1, 3], [3, 1, 3], [3, 3, 1], [1, 1, 1], [1, 3, 1, 3, 1, 3]]
)
def test_the_loss_sums_over_all_alignments(labels, blank):
    probs = flambeau.randn(5, 4, dtype=double).softmax(1)
    expected = by_alignments(probs.tolist(), labels, blank)
    for dtype, tolerance in ((double, 1e-12), (flambeau.float32, 1e-5)):
        loss = F.ctc_loss(
            probs.to(dtype).log(), flambeau.tensor(labels).long(), (5,), (len(labels),), blank, "none"
        )
        assert loss.dtype == dtype and loss.item() == pytest.approx(expected, rel=tolerance)


def test_targets_in_both_forms_and_lengths_of_every_kind():
    logits = flambeau.randn(6, 3, 5)
    padded = flambeau.tensor([[1, 2, 2], [3, 9, 9], [4, 1, 9]])
    joined = flambeau.tensor([1, 2, 2, 3, 4, 1])
    expected = F.ctc_loss(logits.log_softmax(2), padded, (6, 4, 5), (3, 1, 2), reduction="none")
    tensors = (flambeau.tensor([6, 4, 5]), flambeau.tensor([3, 1, 2], dtype=flambeau.int32))
    for targets in (padded, joined, padded.int()):
        for lengths in (((6, 4, 5), (3, 1, 2)), ([6, 4, 5], [3, 1, 2]), tensors):
            found = F.ctc_loss(logits.log_softmax(2), targets, *lengths, reduction="none")
            assert flambeau.equal(found, expected)
    one = F.ctc_loss(logits[:, 0].log_softmax(1), padded[0], (6,), (3,), reduction="none")
    assert one.shape == () and flambeau.equal(one, expected[0])
    mean = nn.CTCLoss()(logits.log_softmax(2), padded, *tensors)
    assert flambeau.allclose(mean, (expected / flambeau.tensor([3.0, 1.0, 2.0])).mean())
    assert flambeau.allclose(
        nn.CTCLoss(reduction="sum")(logits.log_softmax(2), padded, *tensors), expected.sum()
    )


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_first_derivatives(reduction):
    logits = flambeau.randn(5, 3, 4, dtype=double, requires_grad=True)
    targets = flambeau.tensor([[1, 1, 3], [2, 0, 0], [0, 0, 0]])
    assert gradcheck(
        lambda x: F.ctc_loss(x.log_softmax(2), targets, (5, 3, 4), (3, 1, 0), reduction=reduction), logits
    )


def test_labels_that_do_not_fit():
    logits = flambeau.randn(4, 2, 3, requires_grad=True)
    targets = flambeau.tensor([[1, 1, 2], [1, 2, 0]])
    for zero, value in ((False, math.inf), (True, 0.0)):
        loss = F.ctc_loss(
            logits.log_softmax(2), targets, (3, 4), (3, 2), reduction="none", zero_infinity=zero
        )
        assert loss[0].item() == value and 0 < loss[1].item() < math.inf
        (grad,) = flambeau.autograd.grad(loss.sum(), logits)
        assert grad[:3, 0].isnan().all() if not zero else not grad[:, 0].any()
        assert grad[:, 1].isfinite().all() and grad[:, 1].any()
    impossible = flambeau.tensor([0.5, 0.5, 0.0]).log().expand(3, 1, 3).clone().requires_grad_()
    F.ctc_loss(impossible, flambeau.tensor([[1]]), (3,), (1,)).backward()
    assert impossible.grad.isfinite().all()


def test_the_bits_do_not_depend_on_the_number_of_threads():
    logits = flambeau.randn(50, 64, 30, requires_grad=True)
    targets = flambeau.randint(1, 30, (64, 20))
    results, threads = [], flambeau.get_num_threads()
    try:
        for count in (1, 3):
            flambeau.set_num_threads(count)
            loss = F.ctc_loss(logits.log_softmax(2), targets, (50,) * 64, (20,) * 64)
            results.append((loss.detach(), *flambeau.autograd.grad(loss, logits)))
    finally:
        flambeau.set_num_threads(threads)
    assert all(flambeau.equal(a, b) for a, b in zip(*results, strict=True))


LOG_PROBS, TARGETS = flambeau.zeros(5, 2, 4), flambeau.tensor([[1, 2, 3], [2, 2, 1]])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((LOG_PROBS, TARGETS, (6, 4), (3, 2)), RuntimeError, "input_lengths to have value at most 5, but got value 6"),
        ((LOG_PROBS, TARGETS, (-1, 4), (3, 2)), RuntimeError, "input_lengths to have value at least 0"),
        ((LOG_PROBS, TARGETS, (5, 4), (3, -2)), RuntimeError, "target_lengths to have value at least 0"),
        ((LOG_PROBS, TARGETS, (5, 4), (4, 2)), RuntimeError, "size at least 4 at dimension 1, but got size 3"),
        ((LOG_PROBS, TARGETS, (5,), (3, 2)), RuntimeError, "input_lengths must be of size batch_size"),
        ((LOG_PROBS, TARGETS, (5, 4), (3,)), RuntimeError, "target_lengths must be of size batch_size"),
        ((LOG_PROBS, TARGETS[:1], (5, 4), (3, 2)), RuntimeError, "size 2 at dimension 0, but got size 1"),
        ((LOG_PROBS, TARGETS[0], (5, 4), (3, 2)), RuntimeError, "size 5 at dimension 0, but got size 3"),
        ((LOG_PROBS, TARGETS + 1, (5, 4), (3, 2)), RuntimeError, "target 4 of sequence 0 is out of bounds"),
        ((LOG_PROBS, TARGETS, (5, 4), (3, 2), 4), RuntimeError, "blank must be in label range"),
        ((LOG_PROBS, TARGETS, (5, 4), (3, 2), 0, "most"), ValueError, "most is not a valid value for reduction"),
        ((LOG_PROBS[:0], TARGETS, (0, 0), (3, 2)), RuntimeError, "log_probs tensor must not be empty"),
        ((LOG_PROBS[0, 0], TARGETS, (5, 4), (3, 2)), RuntimeError, "Expected 3-dimensional tensor"),
        ((LOG_PROBS.half(), TARGETS, (5, 4), (3, 2)), NotImplementedError, "not implemented for 'Half'"),
        ((LOG_PROBS, TARGETS, flambeau.tensor([5.0, 4.0]), flambeau.tensor([3, 2])), RuntimeError, "must be integral"),
        ((LOG_PROBS, TARGETS, flambeau.tensor([5, 4]), (3, 2)), TypeError, "invalid combination of arguments"),
    ],
)  # fmt: skip
def test_errors(arguments, kind, message):
    with pytest.raises(kind, match=message):
        F.ctc_loss(*arguments)


def test_second_derivatives_are_refused():
    x = flambeau.randn(4, 1, 3, requires_grad=True)
    (grad,) = flambeau.autograd.grad(F.ctc_loss(x, TARGETS[:1, :1], (4,), (1,)), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="_ctc_loss_backward is not implemented"):
        grad.sum().backward()


@pytest.mark.parametrize("seed", range(8))
def test_same_as_pytorch(seed):
    torch = torch_or_skip()
    random = torch.Generator().manual_seed(seed)
    draw = lambda *a: torch.randint(*a, generator=random)  # noqa: E731
    steps, batch, classes, longest = (
        draw(low, high, ()).item() for low, high in ((1, 40), (1, 6), (2, 9), (1, 12))
    )
    dtype = torch.float64 if seed % 2 else torch.float32
    x = torch.randn(steps, batch, classes, generator=random, dtype=dtype).log_softmax(2).requires_grad_()
    blank = draw(0, classes, ()).item()
    targets = (blank + draw(1, classes, (batch, longest))) % classes
    lengths = draw(0, steps + 1, (batch,)), draw(0, longest + 1, (batch,))
    lengths[1][0] = longest
    weights = torch.randn(batch, generator=random, dtype=dtype)
    expected = torch.nn.functional.ctc_loss(x, targets, *lengths, blank, "none", True)
    (expected * weights).sum().backward()
    ours = to_flambeau(x.detach()).requires_grad_()
    found = F.ctc_loss(ours, to_flambeau(targets), *to_flambeau(lengths), blank, "none", True)
    (found * to_flambeau(weights)).sum().backward()
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-11}
    assert_same(found, expected, **tolerance)
    assert_same(ours.grad, x.grad, **tolerance)
