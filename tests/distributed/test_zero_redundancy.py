"""The optimizer whose state is spread over processes does what the whole one does."""

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist
from flambeau import nn
from flambeau.distributed.optim import ZeroRedundancyOptimizer


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def backward(model, i):
    model.zero_grad()
    (model(torch.ones(2, 3).double() * (i + 1)) ** 2).sum().backward()


@pytest.mark.parametrize(
    "kind, options", [(torch.optim.Adam, {"lr": 0.05}), (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9})]
)
def test_equals_the_whole_optimizer(kind, options):
    def work(rank, size):
        plain, spread = network(), network()
        whole = kind(plain.parameters(), **options)
        step = ZeroRedundancyOptimizer(spread.parameters(), kind, **options)
        schedulers = [torch.optim.lr_scheduler.StepLR(o, 2, 0.5) for o in (whole, step)]
        for i in range(5):
            for model, optimizer, scheduler in zip((plain, spread), (whole, step), schedulers, strict=True):
                backward(model, i)
                optimizer.step()
                scheduler.step()
            assert all(
                torch.equal(p, q) for p, q in zip(plain.parameters(), spread.parameters(), strict=True)
            )
        assert step.param_groups[0]["lr"] == whole.param_groups[0]["lr"]
        assert len(step._local.state) < 4  # the others are elsewhere
        step.consolidate_state_dict(to=1)
        if rank != 1:
            assert "has not been consolidated on this rank" in message_of(step.state_dict)
        found = [step.state_dict() if rank == 1 else None]
        dist.broadcast_object_list(found, src=1)
        state = found[0]
        expected = whole.state_dict()
        assert set(state["state"]) == set(expected["state"])
        for i, values in expected["state"].items():
            assert all(
                torch.equal(torch.as_tensor(v), torch.as_tensor(state["state"][i][k]))
                for k, v in values.items()
            )
        again = network()
        again.load_state_dict(spread.state_dict())
        loaded = ZeroRedundancyOptimizer(again.parameters(), kind, lr=1.0)
        loaded.load_state_dict(state)
        for model, optimizer in ((plain, whole), (again, loaded)):
            backward(model, 9)
            optimizer.step()
        assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), again.parameters(), strict=True))

    run(3, work)


def test_groups():
    def work(rank, size):
        model = network()
        first, second, third, fourth = model.parameters()
        step = ZeroRedundancyOptimizer(
            [{"params": [first], "lr": 0.5}, {"params": [second]}], torch.optim.SGD, lr=0.1
        )
        step.add_param_group({"params": [third, fourth], "lr": 0.0})
        assert [g["lr"] for g in step.param_groups] == [0.5, 0.1, 0.0]
        before = [p.detach().clone() for p in model.parameters()]
        backward(model, 0)
        step.step()
        for p, old, lr in zip(model.parameters(), before, (0.5, 0.1, 0.0, 0.0), strict=True):
            assert torch.allclose(p.detach(), old - lr * p.grad)

        def closure():
            backward(model, 1)
            return torch.tensor(7.0)

        assert step.step(closure).item() == 7
        for call, kind, text in [
            (lambda: ZeroRedundancyOptimizer([], torch.optim.SGD), ValueError, "empty parameter list"),
            (
                lambda: ZeroRedundancyOptimizer([3], torch.optim.SGD),
                TypeError,
                "iterable of Tensors or dicts",
            ),
            (lambda: ZeroRedundancyOptimizer([first], None), AssertionError, "has not been set"),
            (
                lambda: step.load_state_dict({"state": {}, "param_groups": []}),
                ValueError,
                "doesn't match the size",
            ),
        ]:
            assert text in message_of(call, kind)

    run(2, work)
