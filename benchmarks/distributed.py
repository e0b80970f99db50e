"""Two processes of flambeau against two of PyTorch with gloo, in turn: ``python -m benchmarks.distributed``.

Each library's processes stay connected and wait, without using the processor, while the other's are timed. A figure is the
median over rounds of the mean time of a call in process 0; the ratio is PyTorch's over flambeau's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time

LIBRARIES = ("flambeau", "torch")
SIZE = 2


def all_reduce(torch, dist, nbytes):
    x = torch.zeros(nbytes // 4)
    return lambda: dist.all_reduce(x)


def asynchronous(torch, dist):
    tensors = [torch.zeros(16384) for _ in range(8)]

    def run():
        for work in [dist.all_reduce(x, async_op=True) for x in tensors]:
            work.wait()

    return run


def step(torch, dist, width, depth):
    layers = [torch.nn.Linear(width, width) for _ in range(depth)]
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(32, width)

    def run():
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    return run


def gather(torch, dist, nbytes):
    x = torch.zeros(nbytes // 4)
    out = [torch.zeros(nbytes // 4) for _ in range(SIZE)]
    return lambda: dist.all_gather(out, x)


def exchange(torch, dist, nbytes):
    x, y = torch.zeros(nbytes // 4), torch.zeros(nbytes // 4)
    peer = 1 - dist.get_rank()

    def run():
        ops = [dist.P2POp(dist.isend, x, peer), dist.P2POp(dist.irecv, y, peer)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()

    return run


#: By name: what makes the call, its arguments, and how often it is called in a round.
WORKLOADS = {
    "barrier": (lambda torch, dist: dist.barrier, (), 100),
    "all_reduce 4 B": (all_reduce, (4,), 200),
    "all_reduce 64 KB": (all_reduce, (1 << 16,), 100),
    "all_reduce 1 MB": (all_reduce, (1 << 20,), 40),
    "all_reduce 64 MB": (all_reduce, (1 << 26,), 2),
    "8 asynchronous all_reduces of 64 KB": (asynchronous, (), 20),
    "all_gather 4 MB": (gather, (1 << 22,), 10),
    "send and receive 64 KB": (exchange, (1 << 16,), 50),
    "send and receive 16 MB": (exchange, (1 << 24,), 4),
    "DDP step, 0.5 MB of parameters": (step, (128, 8), 10),
    "DDP step, 32 MB of parameters": (step, (1024, 8), 2),
}


def serve(library: str, rank: int, port: int) -> None:
    """A process: makes workloads and times them, as asked on its input."""
    if library == "flambeau":
        importlib.import_module("flambeau").install_as_torch()
    torch = importlib.import_module("torch")
    dist = importlib.import_module("torch.distributed")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=SIZE)
    made = {}
    for line in sys.stdin:
        name = json.loads(line)
        make, args, count = WORKLOADS[name]
        if name not in made:
            made[name] = make(torch, dist, *args)
            made[name]()
        run = made[name]
        dist.barrier()
        start = time.perf_counter()
        for _ in range(count):
            run()
        print(json.dumps((time.perf_counter() - start) / count), flush=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(library: str) -> list[subprocess.Popen]:
    port = free_port()
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.distributed", "--serve", library, str(rank), str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(SIZE)
    ]  # fmt: skip


def measure(processes: list[subprocess.Popen], name: str) -> float:
    for process in processes:
        process.stdin.write(json.dumps(name) + "\n")
        process.stdin.flush()
    return [json.loads(process.stdout.readline()) for process in processes][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="workloads whose names contain this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", action="store_true", help="print times as well as the ratio")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        library, rank, port = args.serve
        return serve(library, int(rank), int(port))
    processes = {library: start(library) for library in LIBRARIES}
    try:
        for name in WORKLOADS:
            if args.only not in name:
                continue
            times = {library: [] for library in LIBRARIES}
            for _ in range(args.rounds):
                for library in LIBRARIES:
                    times[library].append(measure(processes[library], name))
            ours, theirs = (statistics.median(times[library]) * 1e6 for library in LIBRARIES)
            print(
                f"{name:40} x{theirs / ours:.2f}",
                *([f"{ours:.0f} {theirs:.0f} us"] if args.times else ()),
                flush=True,
            )
    finally:
        for each in processes.values():
            for process in each:
                process.stdin.close()
                process.wait(20)


if __name__ == "__main__":
    main()
