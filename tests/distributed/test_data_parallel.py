"""Training in several processes: gradients, buckets, hooks, batch normalisation over processes."""

import copy
import io
import warnings

import pytest
from processes import message_of, run

import flambeau as torch
import flambeau.distributed as dist
from flambeau import nn
from flambeau.distributed.algorithms.ddp_comm_hooks import default_hooks
from flambeau.distributed.reducer import assign_buckets
from flambeau.nn.parallel import DistributedDataParallel as DDP


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2)).double()


def data(rank, size, rows=4):
    torch.manual_seed(1)
    x, y = torch.randn(rows * size, 6).double(), torch.randn(rows * size, 2).double()
    own = slice(rank * rows, (rank + 1) * rows)
    return x, y, x[own], y[own]


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def close(a, b):
    return all(torch.allclose(x, y, rtol=1e-12, atol=1e-14) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bucket_cap_mb": 1e-4},
        {"gradient_as_bucket_view": True},
        {"find_unused_parameters": True},
        {"static_graph": True},
    ],
)
def test_training_equals_that_of_one_process(options):
    def work(rank, size):
        x, y, own_x, own_y = data(rank, size)
        alone, model = network(), DDP(network(seed=rank), **options)
        steps = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (alone, model)]
        for _ in range(3):
            for m, step, (a, b) in zip((alone, model), steps, ((x, y), (own_x, own_y)), strict=True):
                step.zero_grad()
                ((m(a) - b) ** 2).mean().backward()
            assert close(gradients(model), gradients(alone))
            for step in steps:
                step.step()
        assert close(model.parameters(), alone.parameters())
        assert list(model.state_dict())[0] == "module.0.weight"
        return [bytes(memoryview(p.detach().untyped_storage())) for p in alone.parameters()] and [
            p.tolist() for p in model.parameters()
        ]

    results = run(3, work)
    assert results[0] == results[1] == results[2]


def test_no_sync_accumulates():
    def work(rank, size):
        x, y, own_x, own_y = data(rank, size)
        alone, model = network(), DDP(network())
        for _ in range(3):
            ((alone(x) - y) ** 2).mean().backward()
        with model.no_sync():
            for _ in range(2):
                ((model(own_x) - own_y) ** 2).mean().backward()
        before = gradients(model)
        gathered = [None] * size
        dist.all_gather_object(gathered, before[0].sum().item())
        assert gathered[0] != gathered[1]
        ((model(own_x) - own_y) ** 2).mean().backward()
        assert close(gradients(model), gradients(alone))

    run(2, work)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.never = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x, use_first):
        return {"out": [self.first(x) if use_first else self.second(x)]}


def test_unused_parameters():
    def work(rank, size):
        torch.manual_seed(0)
        model = DDP(Branches(), find_unused_parameters=True)
        x = torch.ones(1, 3)
        for _ in range(2):
            model.zero_grad()
            loss = model(x, rank == 0)["out"][0].sum()
            dist.all_reduce(loss.detach().clone())  # which no bucket must overtake
            loss.backward()
            assert model.module.first.weight.grad.tolist() == [[0.5] * 3]
            assert model.module.second.weight.grad.tolist() == [[0.5] * 3]
            assert model.module.never.weight.grad is None
        strict = DDP(Branches())
        strict(x, True)["out"][0].sum().backward()
        text = message_of(lambda: strict(x, True))
        assert "Expected to have finished reduction in the prior iteration" in text
        assert "second.weight, second.bias, never.weight, never.bias" in text

    run(2, work)


def test_evaluation_and_two_forward_passes():
    def work(rank, size):
        model = DDP(network())
        x = torch.ones(2, 6).double() * (rank + 1)
        with torch.no_grad():
            model(x)
        model(x)  # whose backward pass never comes
        model(x).sum().backward()
        own = gradients(model)[0]
        other = own.clone()
        dist.broadcast(other, 0)
        assert torch.equal(own, other)
        shared = DDP(nn.Linear(2, 2))
        y = shared(shared(torch.ones(1, 2)))  # a parameter that is used twice
        y.sum().backward()

    run(2, work)


def test_buffers_come_from_process_0():
    def work(rank, size):
        torch.manual_seed(rank)
        model = DDP(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)))
        model(torch.randn(5, 3))
        model(torch.randn(5, 3)).sum().backward()
        own = DDP(nn.BatchNorm1d(3), broadcast_buffers=False)
        own(torch.full((5, 3), float(rank)))
        own(torch.full((5, 3), float(rank)))
        # What came before the last forward pass was process 0's.
        model.eval()
        with torch.no_grad():
            y = model(torch.ones(1, 3))
            other = y.clone()
            dist.broadcast(other, 0)
            assert torch.equal(y, other)
            if rank == 0:  # nothing is exchanged any more
                model(torch.ones(1, 3))
        return model.module[0].num_batches_tracked.item(), own.module.running_mean[0].item()

    (n0, m0), (n1, m1) = run(2, work)
    assert n0 == n1 == 2 and m0 == 0 and abs(m1 - 0.19) < 1e-6


def test_ignored_parameters_stay_local():
    def work(rank, size):
        module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        nn.init.constant_(module[0].weight, rank)
        DDP._set_params_and_buffers_to_ignore_for_model(module, ["0.weight"])
        model = DDP(module)
        model(torch.ones(1, 2)).sum().backward()
        return module[0].weight[0, 0].item()

    assert run(2, work) == [0, 1]


@pytest.mark.parametrize(
    "name", ["allreduce_hook", "fp16_compress_hook", "bf16_compress_hook", "wrapped", "own", "builtin"]
)
def test_communication_hooks(name):
    def work(rank, size):
        model = DDP(nn.Linear(4, 3), bucket_cap_mb=1e-5)
        seen = []

        def own(state, bucket):
            seen.append((state, bucket.index(), [p.shape for p in bucket.parameters()], bucket.is_last()))
            assert bucket.buffer().numel() == sum(g.numel() for g in bucket.gradients())
            future = torch.futures.Future()
            future.set_result(bucket.buffer() * 0 + 7)
            return future

        if name == "own":
            model.register_comm_hook("state", own)
        elif name == "wrapped":
            model.register_comm_hook(None, default_hooks.fp16_compress_wrapper(default_hooks.allreduce_hook))
        elif name == "builtin":
            from flambeau.distributed.algorithms.ddp_comm_hooks import BuiltinCommHookType

            model._register_builtin_comm_hook(BuiltinCommHookType.ALLREDUCE)
        else:
            model.register_comm_hook(None, getattr(default_hooks, name))
        assert "can only be called once" in message_of(lambda: model.register_comm_hook(None, own))
        for _ in range(2):
            model.zero_grad()
            (model(torch.ones(1, 4)) * (rank + 1)).sum().backward()
            expected = 7.0 if name == "own" else 1.5
            assert model.module.weight.grad.tolist() == [[expected] * 4] * 3
            assert model.module.bias.grad.dtype is torch.float32
        if name == "own":
            assert seen[:2] == [
                ("state", 0, [torch.Size([3])], False),
                ("state", 1, [torch.Size([3, 4])], True),
            ]

    run(2, work)


def test_buckets_go_by_size_and_dtype():
    params = [
        torch.ones(n, dtype=t)
        for n, t in [(1, torch.float32), (4, torch.float64), (2, torch.float32), (9, torch.float32)]
    ]
    groups = assign_buckets(params, [36, 1000])
    assert [[p.numel() for p in group] for group in groups] == [[9], [2, 1], [4]]


def test_arguments():
    def work(rank, size):
        assert "doesn't have any parameter" in message_of(lambda: DDP(nn.ReLU()))
        assert "device_ids [0]" in message_of(lambda: DDP(nn.Linear(1, 1), device_ids=[0]), ValueError)
        text = message_of(lambda: DDP(nn.Linear(2 + rank, 1)))
        assert rank == 0 or "appears not to match sizes of the same param in process 0" in text

    run(2, work)
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        DDP(nn.Linear(1, 1))


def test_copies_and_pickles():
    def work(rank, size):
        model = DDP(nn.Linear(2, 1))
        for other in (copy.deepcopy(model), _reloaded(model)):
            other(torch.ones(1, 2) * rank).sum().backward()
            assert other.module.weight.grad.tolist() == [[0.5, 0.5]]

    def _reloaded(model):
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        return torch.load(file, weights_only=False)

    run(2, work)


class TestUnevenInputs:
    @pytest.mark.parametrize("options", [{}, {"find_unused_parameters": True}])
    @pytest.mark.parametrize("by_all", [True, False])
    def test_those_who_are_done_answer(self, options, by_all):
        def work(rank, size):
            torch.manual_seed(0)
            model = DDP(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)), **options)
            step = torch.optim.SGD(model.parameters(), lr=0.1)
            found = []
            with model.join(divide_by_initial_world_size=by_all):
                for i in range(2 + 2 * rank):  # 2, 4, 6 inputs
                    step.zero_grad()
                    (
                        model(torch.full((4, 2), float(i)) * torch.arange(4.0)[:, None]).sum() * (i + 1)
                    ).backward()
                    found.append(model.module[2].bias.grad.item())
                    step.step()
            # The gradient of that bias is 4 * (i + 1) in each process that has an input.
            active = [3, 3, 2, 2, 1, 1]
            expected = [4.0 * (i + 1) * n / (3 if by_all else n) for i, n in enumerate(active)]
            assert found == pytest.approx(expected[: len(found)])
            with model.no_sync():  # the context is over
                model(torch.ones(4, 2))
            return [p.tolist() for p in model.parameters()], [b.tolist() for b in model.module.buffers()]

        results = run(3, work)
        assert results[0] == results[1] == results[2]

    def test_all_can_be_told_to_stop(self):
        def work(rank, size):
            model = DDP(nn.Linear(1, 1))

            def train():
                with model.join(throw_on_early_termination=True):
                    for _ in range(2 + rank):
                        model(torch.ones(1, 1)).sum().backward()

            assert "at least one rank that exhausted inputs" in message_of(train)

        run(2, work)


class TestSyncBatchNorm:
    @pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4), (6, 3, 2, 2)])
    @pytest.mark.parametrize("affine", [True, False])
    def test_equals_batch_norm_of_everything(self, shape, affine):
        def work(rank, size):
            torch.manual_seed(0)
            x, g = torch.randn(shape).double(), torch.randn(shape).double()
            own = [slice(0, 1), slice(1, 4), slice(4, 6)][rank]
            plain = nn.BatchNorm1d(3, affine=affine) if len(shape) < 4 else nn.BatchNorm2d(3, affine=affine)
            plain = plain.double()
            if affine:
                nn.init.uniform_(plain.weight)
            sync = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
            a, b = x.clone().requires_grad_(), x[own].clone().requires_grad_()
            ya, yb = plain(a), sync(b)
            assert torch.allclose(ya[own], yb, rtol=1e-10)
            (ya * g).sum().backward()
            (yb * g[own]).sum().backward()
            assert torch.allclose(a.grad[own], b.grad, rtol=1e-9, atol=1e-12)
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                assert torch.allclose(getattr(plain, name).double(), getattr(sync, name).double())
            if affine:
                for p, q in zip(plain.parameters(), sync.parameters(), strict=True):
                    total = q.grad.clone()
                    dist.all_reduce(total)
                    assert torch.allclose(total, p.grad, rtol=1e-9)
            sync.eval(), plain.eval()
            assert torch.allclose(plain(x)[own], sync(x[own]))

        run(3, work)

    def test_half_precision_groups_and_errors(self):
        def work(rank, size):
            pairs = [dist.new_group([0]), dist.new_group([1])]
            x = torch.randn(4, 2) + rank
            alone = nn.SyncBatchNorm(2, process_group=pairs[rank])(x)
            assert torch.equal(alone, nn.BatchNorm1d(2)(x))
            y = nn.SyncBatchNorm(2)(x.bfloat16())
            assert y.dtype is torch.bfloat16
            assert "at least 2D input" in message_of(lambda: nn.SyncBatchNorm(2)(torch.ones(2)), ValueError)
            empty = nn.SyncBatchNorm(2)(x[: 4 * rank])  # a process without data
            assert empty.shape == (4 * rank, 2)

        run(2, work)


def test_sampler_knows_the_group():
    def work(rank, size):
        return list(torch.utils.data.DistributedSampler(range(5), shuffle=False))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(2, work) == [[0, 2, 4], [1, 3, 0]]
