"""Random numbers agree with PyTorch's bit for bit, and so do the generator's states."""

import json

import pytest
from make_random_golden import GOLDEN, cases, fingerprint

import flambeau

EXPECTED = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("expression", list(cases()))
def test_equals_pytorch(expression):
    assert fingerprint(flambeau, expression) == EXPECTED[expression]


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
    with pytest.raises(RuntimeError, match=message):
        eval(call, {"t": flambeau})
    assert flambeau.get_rng_state().tolist() == state


def test_overwriting_draws_cut_the_gradient():
    x = flambeau.ones(3, requires_grad=True)
    (x * 2).uniform_().sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_options_and_destinations():
    assert flambeau.rand(2, 3, dtype=flambeau.float64, requires_grad=True).requires_grad
    out = flambeau.empty(4, 2)[:, 0]
    flambeau.manual_seed(1)
    flambeau.randn(4, out=out)
    flambeau.manual_seed(1)
    assert out.tolist() == flambeau.randn(4).tolist()
    assert flambeau.randn(2, device="meta").device.type == "meta"
    like = flambeau.rand_like(flambeau.empty(3, 4).t())
    assert like.stride() == (1, 4)
    assert flambeau.bernoulli(flambeau.rand(3, 4).t()).stride() == (3, 1)
    assert flambeau.randint(2, 5, (100,)).unique().tolist() == [2, 3, 4]
    with pytest.raises(RuntimeError, match="does not match dtype of out"):
        flambeau.rand(2, out=flambeau.empty(2), dtype=flambeau.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("t.multinomial(t.rand(3), 0)", "cannot sample n_sample <= 0 samples"),
        ("t.multinomial(t.rand(3), 4)", "without replacement"),
        ("t.multinomial(t.rand(1, 2, 2), 1)", "prob_dist must be 1 or 2 dim"),
        ("t.multinomial(t.zeros(3), 1)", "sum of probabilities <= 0"),
        ("t.multinomial(t.tensor([1.0, float('inf')]), 1)", "either `inf`, `nan` or element < 0"),
        ("t.multinomial(t.rand(2, 0), 2, True)", "sum of probabilities <= 0"),
        ("t.normal(t.ones(2), -t.ones(2))", "all elements of std >= 0.0"),
        ("t.normal(t.ones(2), -1.0)", "expects std >= 0.0"),
        ("t.randperm(-1)", "negative dimension -1"),
        ("t.randperm(3000, dtype=t.float16)", "cannot be greater than 2049"),
        ("t.randint(5, 1, (2,))", "'from' to be less than 'to'"),
        ("t.empty(2, dtype=t.int64).exponential_()", "continuous probability distribution"),
    ],
)
def test_messages(call, message):
    with pytest.raises(RuntimeError, match=message):
        eval(call, {"t": flambeau})


def test_dropout():
    flambeau.manual_seed(0)
    x = flambeau.ones(1000)
    y = flambeau.dropout(x, 0.25, True)
    assert set(y.tolist()) <= {0.0, float(flambeau.tensor(1 / 0.75))}
    output, mask = flambeau.native_dropout(x, 0.25, True)
    assert mask.dtype == flambeau.bool and 650 < int(mask.sum()) < 850
    assert flambeau.equal(output != 0, mask)


def test_rrelu_draws_slopes_between_its_bounds_in_double_precision():
    for dtype in (flambeau.float32, flambeau.bfloat16, flambeau.float64):
        x = -flambeau.arange(1.0, 33.0).to(dtype)
        flambeau.manual_seed(7)
        got = flambeau.nn.functional.rrelu(x, 0.125, 1 / 3, training=True)
        flambeau.manual_seed(7)
        exact = flambeau.float64 if dtype is flambeau.float64 else flambeau.float32
        low, high = flambeau.tensor([0.125, 1 / 3], dtype=exact).tolist()
        slopes = (flambeau.rand(32, dtype=flambeau.float64) * (high - low) + low).to(exact)
        assert got.tolist() == (x.to(exact) * slopes).to(dtype).tolist()
    with pytest.raises(RuntimeError, match="Lower bound should be less than or equal"):
        flambeau.nn.functional.rrelu(x, 0.3, 0.1)


def test_gumbel_softmax_gives_distributions_and_choices():
    logits = flambeau.tensor([[0.0, 1.0, 2.0], [5.0, 5.0, -50.0]])
    flambeau.manual_seed(3)
    soft = flambeau.nn.functional.gumbel_softmax(logits, tau=0.5)
    assert flambeau.allclose(soft.sum(-1), flambeau.ones(2)) and soft[1, 2] < 1e-6
    hard = flambeau.nn.functional.gumbel_softmax(logits, hard=True)
    assert hard.sum(-1).tolist() == [1, 1] and set(hard.flatten().tolist()) == {0, 1}
