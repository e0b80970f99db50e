"""The functional forms of the optimizers' steps: the classes' results, PyTorch's results, and gradients through a step."""

import importlib
import inspect

import pytest

import flambeau

ADAM = {"beta1": 0.9, "beta2": 0.99, "lr": 0.1, "weight_decay": 0.01, "eps": 1e-8}
# name: class, states in the order of the arguments (name in the class's state, its initial value), options of the
# function, options of the class
FORMS = {
    "adadelta": (
        "Adadelta",
        ["square_avg", "acc_delta", "step"],
        {"lr": 0.5, "rho": 0.8, "eps": 1e-6, "weight_decay": 0.01, "maximize": False},
        {},
    ),
    "adagrad": (
        "Adagrad",
        ["sum", "step"],
        {"lr": 0.1, "weight_decay": 0.01, "lr_decay": 0.1, "eps": 1e-10, "maximize": True},
        {},
    ),
    "adam": (
        "Adam",
        ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"],
        ADAM | {"amsgrad": True, "maximize": False},
        {},
    ),
    "adamw": (
        "AdamW",
        ["exp_avg", "exp_avg_sq", None, "step"],
        ADAM | {"amsgrad": False, "maximize": True},
        {},
    ),
    "adamax": ("Adamax", ["exp_avg", "exp_inf", "step"], ADAM, {}),
    "asgd": (
        "ASGD",
        ["ax", "mu", "eta", "step"],
        {"lambd": 1e-2, "lr": 0.1, "t0": 1, "alpha": 0.75, "weight_decay": 0.01},
        {},
    ),
    "nadam": ("NAdam", ["exp_avg", "exp_avg_sq", "mu_product", "step"], ADAM | {"momentum_decay": 4e-3}, {}),
    "radam": ("RAdam", ["exp_avg", "exp_avg_sq", "step"], ADAM, {}),
    "rmsprop": (
        "RMSprop",
        ["square_avg", "grad_avg", "momentum_buffer", "step"],
        {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.01, "momentum": 0.5, "centered": True},
        {},
    ),
    "rprop": (
        "Rprop",
        ["prev", "step_size", "step"],
        {"step_size_min": 1e-6, "step_size_max": 50, "etaminus": 0.5, "etaplus": 1.2},
        {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50)},
    ),
    "sgd": (
        "SGD",
        ["momentum_buffer"],
        {
            "weight_decay": 0.01,
            "momentum": 0.9,
            "lr": 0.1,
            "dampening": 0.1,
            "nesterov": False,
            "maximize": False,
        },
        {},
    ),
}
# PyTorch's values of a state before the first step, where they are not zeros.
STARTS = {"mu": 1.0, "mu_product": 1.0, "eta": 0.1, "step_size": 0.1}
SCALARS = ("step", "mu", "mu_product", "eta")
VALUES = [[0.5, -1.0, 2.0], [[0.25], [-0.75]]]


def function(library, name):
    return getattr(importlib.import_module(f"{library.__name__}.optim.{name}"), name)


def fresh_states(library, names, params):
    def start(name, param):
        if name == "momentum_buffer" and names == ["momentum_buffer"]:
            return None  # made by the first step
        shape = () if name in SCALARS else param.shape
        return library.full(
            shape, STARTS.get(name, 0.0), dtype=library.float32 if name in SCALARS else param.dtype
        )

    return [[] if name is None else [start(name, param) for param in params] for name in names]


def gradients(library, params, step):
    return [library.sin(param.detach() * (step + 1)) for param in params]


def run_function(library, name, dtype="float32", steps=5, **more):
    _, names, options, _ = FORMS[name]
    params = [library.tensor(value, dtype=getattr(library, dtype)) for value in VALUES]
    states = fresh_states(library, names, params)
    for step in range(steps):
        function(library, name)(params, gradients(library, params, step), *states, **options, **more)
    return params, states


def class_options(name):
    _, _, options, own = FORMS[name]
    options = dict(own or options)
    if "beta1" in options:
        options["betas"] = (options.pop("beta1"), options.pop("beta2"))
    return options


@pytest.mark.parametrize("name", FORMS)
def test_same_as_the_class(name):
    params, states = run_function(flambeau, name)
    own = [flambeau.tensor(value, requires_grad=True) for value in VALUES]
    optimizer = getattr(flambeau.optim, FORMS[name][0])(own, **class_options(name))
    for step in range(5):
        for param, grad in zip(own, gradients(flambeau, own, step), strict=True):
            param.grad = grad
        optimizer.step()
    for i, (param, mine) in enumerate(zip(params, own, strict=True)):
        assert flambeau.equal(param, mine)
        for key, state in zip(FORMS[name][1], states, strict=True):
            if key is not None:
                assert flambeau.equal(state[i], optimizer.state[mine][key]), key


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("name", FORMS)
def test_same_as_pytorch(name, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")
    more = {} if name == "sgd" else {"has_complex": dtype == "complex64"}
    if dtype == "complex64" and name == "adagrad":
        more["foreach"] = False
    expected, expected_states = run_function(torch, name, dtype, **more)
    params, states = run_function(flambeau, name, dtype, **more)
    got = [*params, *(t for state in states for t in state)]
    for a, b in zip(got, [*expected, *(t for state in expected_states for t in state)], strict=True):
        assert tuple(a.shape) == tuple(b.shape) and str(a.dtype) == str(b.dtype)
        flambeau.testing.assert_close(a, flambeau.tensor(b.tolist(), dtype=a.dtype), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", FORMS)
def test_signature_is_pytorch_s(name):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")

    def shape(library):
        parameters = inspect.signature(function(library, name)).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    assert shape(flambeau) == shape(torch)


@pytest.mark.parametrize("name", [name for name in FORMS if name not in ("sgd", "rprop")])
def test_differentiable_steps_have_gradients(name):
    _, names, options, _ = FORMS[name]

    def two_steps(start, first, second):
        params = [start.clone()]
        states = fresh_states(flambeau, names, params)
        for grad in (first, second):
            function(flambeau, name)(params, [grad], *states, **options, differentiable=True)
        return params[0], *(
            state[0] for state, key in zip(states, names, strict=True) if key and key not in SCALARS
        )

    inputs = [
        flambeau.tensor(values, dtype=flambeau.float64, requires_grad=True)
        for values in ([0.5, -1.0], [0.3, 0.7], [-0.6, 1.1])
    ]
    assert flambeau.autograd.gradcheck(two_steps, inputs)


def test_sgd_is_recorded_where_gradients_are():
    def step(start, grad):
        params, buffers = [start.clone()], [None]
        for _ in range(2):
            function(flambeau, "sgd")(params, [grad], buffers, **FORMS["sgd"][2])
        return params[0]

    inputs = [flambeau.tensor([v, -v], dtype=flambeau.float64, requires_grad=True) for v in (0.5, 0.3)]
    result = step(*inputs)
    to_start, to_grad = flambeau.autograd.grad(result.sum(), inputs)
    # The buffer starts as the first direction's values, a constant as in PyTorch, so only the second step counts.
    assert to_start.tolist() == pytest.approx([1 - 0.1 * 0.9 * 0.01] * 2, rel=1e-12)
    assert to_grad.tolist() == pytest.approx([-0.1 * 0.9] * 2, rel=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "sgd"])
def test_a_scaler_s_factor_and_overflow(name):
    _, names, options, _ = FORMS[name]

    def once(scale, **scaler):
        params = [flambeau.tensor([1.0, 2.0])]
        states = fresh_states(flambeau, names, params)
        function(flambeau, name)(params, [flambeau.tensor([0.5, -1.0]) * scale], *states, **options, **scaler)
        return params[0]

    plain = once(1)
    assert flambeau.equal(once(4, grad_scale=flambeau.tensor(4.0)), plain)
    assert flambeau.equal(once(4, grad_scale=flambeau.tensor(4.0), found_inf=flambeau.tensor(0.0)), plain)
    assert once(4, grad_scale=flambeau.tensor(4.0), found_inf=flambeau.tensor(1.0)).tolist() == [1, 2]


def test_steps_must_be_tensors():
    a = flambeau.zeros(2)
    with pytest.raises(RuntimeError, match="`state_steps` argument must contain a list of singleton tensors"):
        function(flambeau, "rprop")([a], [a], [a], [a], [1], **FORMS["rprop"][2])


@pytest.mark.parametrize("name", FORMS)
def test_lists_of_different_lengths_are_an_error(name):
    params = [flambeau.zeros(2)]
    states = fresh_states(flambeau, FORMS[name][1], params)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        function(flambeau, name)(params, [], *states, **FORMS[name][2])
