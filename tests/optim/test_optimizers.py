"""Optimizers: options, groups, hooks, state dictionaries, and PyTorch's path over many steps."""

import copy

import pytest

import flambeau
from flambeau import nn, optim


def parameter(*values):
    p = nn.Parameter(flambeau.tensor(values))
    p.grad = flambeau.ones_like(p)
    return p


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda p: optim.SGD(p), TypeError, "should be an iterable of Tensors or dicts"),
        (lambda p: optim.SGD([3]), TypeError, "can only optimize Tensors, but one of the params is int"),
        (lambda p: optim.SGD([p * 1]), ValueError, "can't optimize a non-leaf Tensor"),
        (
            lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]),
            ValueError,
            "more than one parameter group",
        ),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "organized in ordered collections"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov momentum requires a momentum"),
        (lambda p: optim.Adam([p], betas=(1, 0.9)), ValueError, "Invalid beta parameter at index 0: 1"),
        (lambda p: optim.Adam([p], fused=True, foreach=True), RuntimeError, "cannot be `True` together"),
        (lambda p: optim.SparseAdam([p], eps=0.0), ValueError, "Invalid epsilon value: 0.0"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(parameter(1.0))


def test_printing():
    assert repr(optim.SGD([parameter(1.0)], lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.1\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)"
    )


def test_groups_and_names():
    a, b = parameter(1.0), parameter(1.0)
    o = optim.SGD([{"params": a, "lr": 0.5}, {"params": [b]}], lr=0.1)
    o.step()
    assert a.item() == 0.5 and b.item() == pytest.approx(0.9)
    named = optim.SGD([("a", a)], lr=1)
    assert named.state_dict()["param_groups"][0]["param_names"] == ["a"]
    with pytest.raises(ValueError, match="cannot add param group without names"):
        named.add_param_group({"params": [b]})


def test_closure_and_zero_grad():
    p = parameter(1.0)
    o = optim.SGD([p], lr=0.1)

    def closure():
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert o.step(closure).item() == 1
    assert p.item() == pytest.approx(0.8)
    o.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    o.zero_grad()
    assert p.grad is None


def test_hooks():
    seen = []
    o = optim.SGD([parameter(1.0)])
    o.register_step_pre_hook(lambda opt, args, kwargs: seen.append("pre"))
    o.register_step_post_hook(lambda opt, args, kwargs: seen.append("post"))
    o.register_state_dict_post_hook(lambda opt, state: {**state, "more": 1})
    o.step()
    assert seen == ["pre", "post"] and o.state_dict()["more"] == 1


def test_state_survives_a_round_trip():
    p, q = parameter(1.0, 2.0), parameter(1.0, 2.0)
    first, second = optim.AdamW([p]), optim.AdamW([q])
    first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    q.data.copy_(p)
    first.step()
    second.step()
    assert p.tolist() == q.tolist()
    assert second.state[q]["step"].item() == 2
    with pytest.raises(ValueError, match="different number of parameter groups"):
        first.load_state_dict({"state": {}, "param_groups": []})


def test_differentiable_step():
    lr = flambeau.tensor(0.1, requires_grad=True)
    start = flambeau.tensor([2.0], requires_grad=True)
    p = start.clone()
    p.grad = flambeau.ones(1)
    optim.SGD([p], lr=lr, differentiable=True).step()
    p.sum().backward()
    assert lr.grad.item() == -1 and start.grad.item() == 1


BASE = [{"weight_decay": w, "maximize": m} for w in (0, 0.1) for m in (False, True)]
RUNS = [
    *(("SGD", {"lr": 0.01, **b}) for b in BASE),
    *(("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.1, **b}) for b in BASE),
    *(("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, **b}) for b in BASE),
    *((n, {"amsgrad": a, **b}) for n in ("Adam", "AdamW") for a in (False, True) for b in BASE),
    *(("Adagrad", {"lr_decay": 0.1, **b}) for b in BASE),
    *((n, b) for n in ("Adadelta", "Adamax", "NAdam", "RAdam", "RMSprop", "ASGD") for b in BASE),
    *((n, {"decoupled_weight_decay": True, **b}) for n in ("NAdam", "RAdam") for b in BASE),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("ASGD", {"t0": 3}),
    ("Rprop", {}),
    ("LBFGS", {"lr": 0.1}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
    ("Adafactor", {"weight_decay": 0.1}),
    ("Muon", {}),
]


def path(library, name, options, steps=10):
    """Ten steps on a bumpy bowl; the parameters and the optimizer at the end."""
    values = [[[0.5, -1.0, 2.0, 0.1], [1.5, 0.3, -0.7, 0.9]], [0.2, -0.4, 0.6]]
    params = [library.tensor(v, requires_grad=True) for v in values]
    if name == "Muon":
        params = params[:1]
    optimizer = getattr(library.optim, name)(params, **options)

    def closure():
        optimizer.zero_grad()
        loss = 0
        for p in params:
            weights = library.arange(1, p.numel() + 1).reshape(p.shape)
            loss = loss + ((p - 1) ** 2 * weights).sum() + p.sin().sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return params, optimizer


@pytest.mark.parametrize(("name", "options"), RUNS, ids=lambda v: str(v))
def test_same_path_as_pytorch(name, options):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")
    expected, theirs = path(torch, name, options)
    params, ours = path(flambeau, name, options)
    for p, e in zip(params, expected, strict=True):
        torch.testing.assert_close(torch.tensor(p.tolist()), e.detach(), rtol=1e-5, atol=1e-6)
    state, expected_state = ours.state_dict(), theirs.state_dict()
    assert repr(state["param_groups"]) == repr(expected_state["param_groups"])
    assert {k: list(v) for k, v in state["state"].items()} == {
        k: list(v) for k, v in expected_state["state"].items()
    }


def test_rprop_has_no_weight_decay():
    p, q = parameter(1.0), parameter(1.0)
    for group in ({"params": [p]}, {"params": [q], "weight_decay": 0.5}):
        optimizer = optim.Rprop([group])
        group["params"][0].grad = flambeau.tensor([-0.1])
        optimizer.step()
    assert p.item() == q.item()


@pytest.mark.parametrize(("limit", "count"), [(None, 2), (2, 3), (3, 4), (100, 5)])
def test_line_search_keeps_within_max_eval(limit, count):
    p, calls = parameter(1.0, -2.0, 3.0), []
    optimizer = optim.LBFGS([p], lr=1e-3, max_iter=1, max_eval=limit, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((p - 0.3) ** 2 * flambeau.arange(1.0, 4.0)).sum() + p.sin().sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    optimizer.step(closure)
    assert len(calls) == count and calls == sorted(calls, reverse=True)


def test_line_search_of_steps_of_length_0_ends():
    p = parameter(1.0)
    optimizer = optim.LBFGS([p], lr=0.0, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert p.item() == 1


def test_classes_stand_in_the_modules_dictionary():
    # Programs choose an optimizer by `torch.optim.__dict__[name]`, and libraries walk through it.
    found = {name for name, value in vars(optim).items() if isinstance(value, type)}
    assert found == {name for name in optim.__all__ if name[0].isupper()}
