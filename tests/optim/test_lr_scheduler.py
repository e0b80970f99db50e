"""Learning rate schedules: errors, and PyTorch's rates over 25 epochs."""

import pytest

import flambeau
from flambeau import optim
from flambeau.optim import lr_scheduler

SCHEDULES = {
    "lambda": lambda L, o: L.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (e + 1)]),
    "multiplicative": lambda L, o: L.MultiplicativeLR(o, lambda e: 0.9),
    "step": lambda L, o: L.StepLR(o, 3, 0.5),
    "multistep": lambda L, o: L.MultiStepLR(o, [2, 2, 7], 0.5),
    "constant": lambda L, o: L.ConstantLR(o),
    "linear": lambda L, o: L.LinearLR(o, 0.2, 0.9, 7),
    "exponential": lambda L, o: L.ExponentialLR(o, 0.9),
    "polynomial": lambda L, o: L.PolynomialLR(o, 7, 2.0),
    "cosine": lambda L, o: L.CosineAnnealingLR(o, 6, 0.01),
    "warm restarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "cyclic": lambda L, o: L.CyclicLR(o, 0.1, [0.5, 0.7], 4, 6, mode="triangular2"),
    "one cycle": lambda L, o: L.OneCycleLR(o, [1.0, 2.0], 25, three_phase=True),
    "plateau": lambda L, o: L.ReduceLROnPlateau(o, patience=2, cooldown=1, min_lr=[0.01, 0.02]),
    "sequential": lambda L, o: L.SequentialLR(o, [L.ConstantLR(o, 0.1, 2), L.ExponentialLR(o, 0.9)], [3]),
    "chained": lambda L, o: L.ChainedScheduler([L.StepLR(o, 2), L.ExponentialLR(o, 0.9)]),
}


SCHEDULES["swa"] = lambda L, o: _swa_utils(L).SWALR(o, [0.05, 0.06], anneal_epochs=5)


def _swa_utils(schedulers):
    import importlib

    return importlib.import_module(schedulers.__name__.replace("lr_scheduler", "swa_utils"))


def rates(library, make, epochs=25):
    params = [library.ones(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": [params[0]], "lr": 0.3}, {"params": [params[1]]}]
    optimizer = library.optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule = make(library.optim.lr_scheduler, optimizer)
    seen = []
    for epoch in range(epochs):
        seen.append([(g["lr"], g["momentum"]) for g in optimizer.param_groups] + list(schedule.get_last_lr()))
        optimizer.step()
        if type(schedule).__name__ == "ReduceLROnPlateau":
            schedule.step(1 / (1 + min(epoch, 6)))
        else:
            schedule.step()
    return seen, schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_same_rates_as_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")
    expected, theirs = rates(torch, SCHEDULES[name])
    seen, ours = rates(flambeau, SCHEDULES[name])
    assert seen == expected
    state, expected_state = ours.state_dict(), theirs.state_dict()
    assert {k: repr(v) for k, v in state.items()} == {k: repr(v) for k, v in expected_state.items()}
    ours.load_state_dict(expected_state)


def optimizer():
    return optim.SGD([flambeau.ones(1, requires_grad=True)], lr=0.1)


def test_errors_and_warnings():
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        lr_scheduler.StepLR(3, 3)
    with pytest.raises(ValueError, match="Factor should be < 1.0"):
        lr_scheduler.ReduceLROnPlateau(optimizer(), factor=1)
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified"):
        lr_scheduler.StepLR(optimizer(), 3, last_epoch=2)
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step\\(\\)` before"):
        lr_scheduler.StepLR(optimizer(), 3).step()


@pytest.mark.parametrize(("T_mult", "last", "current", "period"), [(1, 4, 1, 2), (1, 7, 0, 2), (2, 5, 0, 4)])
def test_warm_restarts_go_on_behind_several_periods(T_mult, last, current, period):
    optimizer = optim.SGD([flambeau.ones(1, requires_grad=True)], lr=0.1)
    optimizer.param_groups[0]["initial_lr"] = 0.2
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult, last_epoch=last)
    assert (schedule.T_cur, schedule.T_i) == (current, period)
    assert schedule.get_last_lr() == pytest.approx([0.2 if current == 0 else 0.1])
