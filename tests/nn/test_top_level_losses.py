"""The losses of the top level: their reduction is a number, and is none unless given."""

import warnings

import pytest

import flambeau
from flambeau.nn import functional as F

A = flambeau.tensor([[0.1, 0.5], [0.3, -0.7]], dtype=flambeau.float64)
B = flambeau.tensor([[0.6, 0.2], [0.9, 0.4]], dtype=flambeau.float64)
SIGNS = flambeau.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=flambeau.float64)
LOG_PROBS = flambeau.arange(24.0).reshape(4, 2, 3).div(7).log_softmax(-1)
CASES = [
    ("binary_cross_entropy_with_logits", (A, B), {"pos_weight": B}, 2),
    ("kl_div", (A, B), {"log_target": True}, 2),
    ("hinge_embedding_loss", (A, SIGNS), {"margin": 0.5}, 2),
    ("margin_ranking_loss", (A, B, SIGNS), {"margin": 0.5}, 2),
    ("cosine_embedding_loss", (A, B, SIGNS[0]), {"margin": 0.1}, 1),
    ("triplet_margin_loss", (A, B, A + B), {"margin": 0.5, "p": 1.0, "eps": 1e-3, "swap": True}, 1),
    ("ctc_loss", (LOG_PROBS, flambeau.tensor([[1, 2], [2, 1]]), (4, 4), (2, 2)), {"zero_infinity": True}, 1),
    (
        "ctc_loss",
        (LOG_PROBS, flambeau.tensor([[1, 2], [2, 1]]), flambeau.tensor([4, 4]), flambeau.tensor([2, 2])),
        {"blank": 0},
        1,
    ),
]


@pytest.mark.parametrize(("name", "args", "more", "dims"), CASES)
def test_the_reduction_is_a_number_and_none_by_default(name, args, more, dims):
    function, reference = getattr(flambeau, name), getattr(F, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert function(*args).dim() == dims
        for reduction, word in ((0, "none"), (1, "mean"), (2, "sum"), (5, "none")):
            found = function(*args, **more, reduction=reduction)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # kl_div's about its mean
                expected = reference(*args, **more, reduction=word)
            assert flambeau.equal(found, expected)
    with pytest.raises(TypeError, match="reduction"):
        function(*args, reduction="mean")


def test_all_arguments_of_poisson_nll_loss_must_be_given():
    for log_input in (True, False):
        found = flambeau.poisson_nll_loss(A.abs(), B, log_input, True, 1e-3, 2)
        assert flambeau.equal(
            found, F.poisson_nll_loss(A.abs(), B, log_input, True, eps=1e-3, reduction="sum")
        )
    with pytest.raises(TypeError, match="missing"):
        flambeau.poisson_nll_loss(A, B)


def test_any_margin_of_triplets():
    # nn.functional wants a positive one.
    assert flambeau.triplet_margin_loss(A, B, A + B, -0.1).shape == (2,)
