"""Written for PyTorch: prints what two processes see. test_peer.py runs it on both libraries."""

import os
import sys
import warnings
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel as DDP

SUM, AVG = dist.ReduceOp.SUM, dist.ReduceOp.AVG
DTYPES = "float32 float64 float16 bfloat16 uint8 int8 int32 int64 bool".split()


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.second, self.third = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x, second):
        x = self.norm(torch.relu(self.first(x)))
        return self.second(x) if second else self.third(x)


def all_reduced(tensor, op=SUM):
    dist.all_reduce(tensor, op)
    return tensor.tolist()


def collectives(rank, size, show):
    for name in DTYPES:
        for op in (SUM, dist.ReduceOp.PRODUCT, dist.ReduceOp.MIN, dist.ReduceOp.MAX):
            value = torch.tensor([rank + 1, rank, 3, 0]).to(getattr(torch, name))
            show(f"{name} {op}", lambda value=value, op=op: all_reduced(value, op))
    show("average", lambda: all_reduced(torch.tensor([1.0, 2.0]) * rank, AVG))
    show("bits", lambda: all_reduced(torch.tensor([6, 3]) + rank, dist.ReduceOp.BAND))
    x = torch.arange(6.0).reshape(2, 3).t() * (rank + 1)
    show("transposed", lambda: (all_reduced(x), x.stride()))
    parts = [torch.zeros(2) for _ in range(size)]
    dist.all_gather(parts, torch.full((2,), float(rank)))
    show("all_gather", lambda: [p.tolist() for p in parts])
    out = torch.zeros(2)
    dist.reduce_scatter(out, [torch.arange(2.0) + rank * 10 + i for i in range(size)])
    show("reduce_scatter", out.tolist)
    sent, received = ([1, 2], [1, 3]) if rank == 0 else ([3, 1], [2, 1])
    out = torch.zeros(sum(received), 2)
    dist.all_to_all_single(out, torch.arange(sum(sent) * 2.0).view(-1, 2) + 100 * rank, received, sent)
    show("all_to_all", out.tolist)
    objects = [None] * size
    dist.all_gather_object(objects, {"rank": rank})
    show("objects", lambda: objects)
    y = torch.zeros(3)
    if rank == 0:
        dist.send(torch.arange(3.0), 1, tag=7)
    else:
        show("recv", lambda: (dist.recv(y, tag=7), y.tolist()))


def errors(rank, size, show):
    one, other = torch.ones(1), 1 - rank
    outside, both = dist.new_group([1 - rank] if rank else [1]), dist.new_group([0, 1])
    show("groups", lambda: (dist.get_rank(both), dist.get_process_group_ranks(both), dist.get_pg_count()))
    del outside
    for call in [
        lambda: dist.broadcast(one, 5),
        lambda: dist.all_gather([one], one),
        lambda: dist.gather(one, [one] * size, dst=other),
        lambda: dist.scatter(one, [one] * size, src=other),
        lambda: dist.new_group([7]),
        lambda: dist.init_process_group("gloo"),
        lambda: dist.reduce(one, 0, op=dist.ReduceOp.BAND),
        lambda: dist.send(one, rank),
        lambda: dist.isend(torch.ones(2, 2).t(), other),
        lambda: DDP(nn.ReLU()),
        lambda: dist.P2POp("x", one, 0),
    ]:
        show("error", call)


def training(rank, size, show):
    for as_views in (False, True):
        torch.manual_seed(rank)
        model = DDP(Network(), find_unused_parameters=True, gradient_as_bucket_view=as_views)
        step, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
        for i in range(6):
            torch.manual_seed(100 * i + rank)
            x = torch.randn(5, 4)
            step.zero_grad(set_to_none=bool(i % 2))
            if i == 3:
                with model.no_sync():
                    (model(x, False) ** 2).mean().backward()
            loss = (model(x, (i + rank) % 3 == 0) ** 2).mean()
            loss.backward()
            step.step()
            losses.append(round(loss.item(), 4))
        show("losses", lambda losses=losses: losses)
        state = model.state_dict()
        show(
            "state",
            lambda state=state: {name: round(v.double().sum().item(), 3) for name, v in state.items()},
        )
        model.eval()
        show("evaluation", lambda model=model: round(model(torch.ones(1, 4), True).sum().item(), 4))
    torch.manual_seed(3)
    model = DDP(nn.Linear(3, 1))
    step = torch.optim.SGD(model.parameters(), lr=0.1)
    with model.join():
        for i in range(2 + rank):
            step.zero_grad()
            model(torch.ones(2, 3) * i).sum().backward()
            step.step()
    show("uneven", lambda: [round(v, 4) for v in model.module.weight.flatten().tolist()])
    torch.manual_seed(0)
    deep = DDP(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)))
    step = ZeroRedundancyOptimizer(deep.parameters(), torch.optim.Adam, lr=0.1)
    for _ in range(3):
        step.zero_grad()
        deep(torch.ones(1, 3) * (rank + 1)).sum().backward()
        step.step()
    show("spread", lambda: [round(p.sum().item(), 4) for p in deep.parameters()])
    x = (torch.arange(3.0) + rank).requires_grad_()
    (torch.stack(differentiable.all_gather(x)).prod(0).sum() * (rank + 1)).backward()
    show("gradient", x.grad.tolist)


def work(rank, size, port, queue):
    warnings.simplefilter("ignore")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    where = f"tcp://127.0.0.1:{port}"
    dist.init_process_group(
        "gloo", init_method=where, rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    lines = []

    def show(name, call):
        try:
            value = call()
        except Exception as error:
            value = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
        lines.append(f"{name}: {value}")

    for part in (collectives, errors, training):
        part(rank, size, show)
    queue.put((rank, lines))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    queue = mp.get_context("spawn").SimpleQueue()
    context = mp.spawn(work, args=(2, int(sys.argv[1]), queue), nprocs=2, join=False)
    found = dict(queue.get() for _ in range(2))
    while not context.join():
        pass
    for rank, lines in sorted(found.items()):
        print("\n".join(f"[{rank}] {line}" for line in lines))
