"""Random numbers agree with PyTorch's bit for bit, and so do the generator's states."""

import json

import pytest

from make_random_golden import GOLDEN, cases, fingerprint

flambeau = pytest.importorskip("flambeau")
if not hasattr(flambeau, "manual_seed"):
    pytest.skip("flambeau has no manual_seed yet", allow_module_level=True)

EXPECTED = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("expression", list(cases()))
def test_equals_pytorch(expression):
    try:
        got = fingerprint(flambeau, expression)
    except (AttributeError, NotImplementedError) as error:
        pytest.skip(f"needs an operator that is missing: {error}")
    assert got == EXPECTED[expression]


def test_state_restores_the_stream():
    flambeau.manual_seed(3)
    flambeau.randn(5)  # leaves a spare sample behind
    state = flambeau.get_rng_state()
    first = flambeau.randn(700).tolist()
    flambeau.set_rng_state(state)
    assert flambeau.randn(700).tolist() == first


def test_state_layout():
    flambeau.manual_seed(5)
    state = flambeau.get_rng_state()
    assert state.dtype == flambeau.uint8 and state.shape == (5056,)
    assert state[:24].tolist() == [5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0] + 8 * [0]


def test_generators_are_independent():
    a, b = flambeau.Generator().manual_seed(7), flambeau.Generator().manual_seed(7)
    flambeau.manual_seed(0)
    expected = flambeau.rand(3).tolist()
    flambeau.manual_seed(0)
    assert flambeau.rand(4, generator=a).tolist() == flambeau.rand(4, generator=b).tolist()
    assert flambeau.rand(3).tolist() == expected
    assert flambeau.Generator().initial_seed() == 67280421310721
    assert flambeau.Generator().manual_seed(-1).initial_seed() == 2**64 - 1


@pytest.mark.parametrize("damage", [lambda s: s[:5048], lambda s: flambeau.zeros(5056, dtype=flambeau.uint8)])
def test_bad_states_are_refused(damage):
    state = flambeau.get_rng_state()
    with pytest.raises(RuntimeError, match="5056|Invalid mt19937 state"):
        flambeau.set_rng_state(damage(state))
    assert flambeau.get_rng_state().tolist() == state.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("t.empty(3).uniform_(1, 0)", r"expects to return a \[from, to\) range"),
        ("t.empty(3).normal_(0, -1)", r"expects std >= 0\.0"),
        ("t.empty(3).exponential_(0)", r"expects lambda > 0\.0"),
        ("t.empty(3).cauchy_(0, 0)", r"expects sigma > 0\.0"),
        ("t.empty(3).geometric_(1)", r"expects p to be in \(0, 1\)"),
        ("t.empty(3).bernoulli_(1.5)", r"expects p to be in \[0, 1\]"),
        ("t.bernoulli(t.tensor([0.5, float('nan')]))", "p_in >= 0 && p_in <= 1"),
        ("t.empty(3, dtype=t.uint8).random_(0, 257)", "to - 1 is out of bounds for"),
        ("t.empty(3, dtype=t.uint8).random_(-1, 5)", "from is out of bounds for"),
        ("t.empty(3).random_(5, 5)", "'from' to be less than 'to'"),
        ("t.poisson(t.tensor([-1.0]))", "invalid Poisson rate"),
        ("t.multinomial(t.tensor([0.0, 0.0]), 2, True)", "sum of probabilities <= 0"),
        ("t.multinomial(t.tensor([-1.0, 2.0]), 2, True)", "probability entry < 0"),
        ("t.empty(3).expand(4, 3).uniform_()", "more than one element of the written-to tensor"),
    ],
)
def test_refused_arguments_leave_the_generator_alone(call, message):
    state = flambeau.get_rng_state().tolist()
    try:
        with pytest.raises(RuntimeError, match=message):
            eval(call, {"t": flambeau})
    except AttributeError as error:
        pytest.skip(f"needs an operator that is missing: {error}")
    assert flambeau.get_rng_state().tolist() == state
