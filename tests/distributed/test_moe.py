"""The layer of experts: routing by hand, equality with plain loops, and with itself over processes."""

import pytest
from processes import run

import flambeau as torch
import flambeau.distributed as dist
import flambeau.nn.functional as F
from flambeau.contrib.moe import MixtureOfExperts, load_balance_loss, route
from flambeau.nn.parallel import DistributedDataParallel as DDP


class TestRouting:
    def test_places_by_hand(self):
        p = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1], [0.9, 0.06, 0.04]])
        chosen = route(p, top_k=2, capacity=2)
        # First choices of all tokens, then second ones.
        assert chosen.expert.tolist() == [0, 0, 1, 0, 1, 2, 0, 1]
        assert chosen.position.tolist() == [0, 1, 0, 2, 1, 0, 3, 2]
        assert chosen.kept.tolist() == [True, True, True, False, True, True, False, False]
        assert chosen.counts.tolist() == [4, 3, 1]
        assert torch.allclose(chosen.weight[:4] + chosen.weight[4:], torch.ones(4))
        assert torch.allclose(chosen.weight[0], torch.tensor(2 / 3))
        plain = route(p, top_k=1, normalize=False)
        assert plain.kept.all() and torch.equal(plain.weight, p.max(-1).values)

    def test_loss_of_even_and_uneven_use(self):
        even = torch.full((8, 4), 0.25)
        assert load_balance_loss(even, torch.tensor([2, 2, 2, 2])).item() == pytest.approx(1)
        one = torch.eye(4)[[0] * 8]
        assert load_balance_loss(one, torch.tensor([8, 0, 0, 0])).item() == pytest.approx(4)

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="top_k = 3 of 2 experts"):
            route(torch.ones(1, 2), 3)
        with pytest.raises(RuntimeError, match="expected probabilities of shape"):
            route(torch.ones(2), 1)
        with pytest.raises(ValueError, match="capacity_factor must be positive"):
            MixtureOfExperts(2, 2, 2, capacity_factor=0)


def by_loops(layer, x):
    """Each token by itself."""
    tokens, result = x.reshape(-1, layer.dim), []
    for token in tokens:
        p = layer.router(token).softmax(-1)
        weights, experts = p.topk(layer.top_k)
        weights = weights / weights.sum()
        total = 0
        for weight, e in zip(weights, experts.tolist(), strict=True):
            inner = F.gelu(token @ layer.weight1[e] + layer.bias1[e, 0])
            total = total + weight * (inner @ layer.weight2[e] + layer.bias2[e, 0])
        result.append(total)
    return torch.stack(result).view(x.shape)


@pytest.mark.parametrize("top_k, factor", [(1, None), (2, None), (3, 4.0)])
def test_equals_plain_loops(top_k, factor):
    torch.manual_seed(0)
    layer = MixtureOfExperts(6, 10, 4, top_k, factor, dtype=torch.float64)
    x = torch.randn(2, 5, 6).double()
    grads = []
    for function in (layer, lambda x: by_loops(layer, x)):
        layer.zero_grad()
        own = x.clone().requires_grad_()
        y = function(own)
        (y * y).sum().backward()
        grads.append([y.detach(), own.grad, *(p.grad for p in layer.parameters())])
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(*grads, strict=True))
    assert layer.dropped == 0


def test_capacity_leaves_tokens_out():
    torch.manual_seed(0)
    layer = MixtureOfExperts(4, 4, 2, top_k=1, capacity_factor=0.5, dtype=torch.float64)
    x = torch.randn(8, 4).double()
    chosen = route(layer.router(x).softmax(-1), 1, 2)
    y, full = layer(x), by_loops(layer, x)
    assert torch.allclose(y[chosen.kept], full[chosen.kept]) and (y[~chosen.kept] == 0).all()
    assert layer.dropped == pytest.approx(1 - chosen.kept.float().mean().item()) and layer.dropped > 0
    assert layer(torch.empty(0, 4).double()).shape == (0, 4)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("factor", [None, 8.0])
def test_over_processes_equals_one_process(size, factor):
    def work(rank, size):
        torch.manual_seed(0)
        whole = MixtureOfExperts(6, 10, 8, 2, factor, dtype=torch.float64)
        torch.manual_seed(0)
        spread = MixtureOfExperts(6, 10, 8, 2, factor, dtype=torch.float64, group=dist.group.WORLD)
        assert spread.local_experts == 8 // size
        own = slice(rank * 8 // size, (rank + 1) * 8 // size)
        assert torch.equal(spread.weight1, whole.weight1[own]) and torch.equal(
            spread.router.weight, whole.router.weight
        )
        x, slope = torch.randn(4 * size, 6).double(), torch.randn(4 * size, 6).double()
        mine = slice(4 * rank, 4 * rank + 4)
        a, b = x.clone().requires_grad_(), x[mine].clone().requires_grad_()
        ya, yb = whole(a), spread(b)
        assert torch.allclose(ya[mine], yb, rtol=1e-10)
        assert torch.allclose(whole.load_balance_loss, spread.load_balance_loss, rtol=1e-12)
        ((ya * slope).sum() + size * whole.load_balance_loss).backward()
        ((yb * slope[mine]).sum() + spread.load_balance_loss).backward()
        assert torch.allclose(a.grad[mine], b.grad, rtol=1e-9, atol=1e-12)
        for name in spread.expert_parameter_names():
            assert torch.allclose(
                getattr(spread, name).grad, getattr(whole, name).grad[own], rtol=1e-9, atol=1e-12
            )
        dist.all_reduce(spread.router.weight.grad)
        assert torch.allclose(spread.router.weight.grad, whole.router.weight.grad, rtol=1e-9, atol=1e-12)

    run(size, work)


def test_trains_with_data_parallel():
    def work(rank, size):
        torch.manual_seed(0)
        layer = MixtureOfExperts(4, 8, 4, group=dist.group.WORLD)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), layer)
        DDP._set_params_and_buffers_to_ignore_for_model(model, layer.expert_parameter_names("1."))
        trained = DDP(model)
        step = torch.optim.Adam(trained.parameters(), lr=0.01)
        torch.manual_seed(rank)
        x = torch.randn(16, 4)
        losses = []
        for _ in range(30):
            step.zero_grad()
            loss = ((trained(x) - x.flip(-1)) ** 2).mean() + 0.01 * layer.load_balance_loss
            loss.backward()
            step.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0]
        return model[0].weight.tolist(), layer.router.weight.tolist(), layer.weight1.tolist()

    first, second = run(2, work)
    assert first[:2] == second[:2] and first[2] != second[2]
