"""Speed as a ratio to PyTorch's, per workload and in the geometric mean.

    python -m benchmarks                          all workloads, on one and on two threads
    python -m benchmarks --only 'matrix*' --threads 1
    python -m benchmarks --limits                 how near each comes to the machine's limit, too

Both libraries run in processes of their own and take turns (A B A B), so that what else the machine does meets both.
A ratio of 2 says that flambeau takes half PyTorch's time; it is the median over the rounds. Times are not printed: they
say nothing away from the machine that they were taken on.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from .footprint import import_costs, installed_size
from .workloads import WORKLOADS

FOOTPRINT_TARGETS = {"import time": "8.0", "resident after import": "<= 45 MB", "installed size": "<= 60 MB"}


class Server:
    """One library's process, whose children run the workloads on a number of threads."""

    def __init__(self, library: str, threads: int) -> None:
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", library, str(threads)],
            cwd=Path(__file__).parent.parent,
            env=os.environ | counts,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: object) -> dict:
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"died": "the process ended"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"died": f"the process ended with {self.process.wait()}"}

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(name: str, servers: dict[str, Server], rounds: int, seconds: float) -> dict:
    """{"ratio": ..., "seconds": flambeau's} or {"problem": why}."""
    times: dict[str, list[float]] = {who: [] for who in servers}
    died: set[str] = set()

    def ask(who: str, **request: object) -> dict | None:
        """What is wrong, if anything is."""
        answer = servers[who].ask(**request)
        if "seconds" in answer:
            times[who].append(answer["seconds"])
        if "seconds" in answer or "ok" in answer:
            return None
        kind, text = next(iter(answer.items()))
        if kind == "died":
            died.add(who)
        return {"problem": f"{'' if who == 'ours' else 'PyTorch '}{kind} ({text})"}

    turns = [{"do": "prepare", "name": name}] + rounds * [{"do": "time", "seconds": seconds}]
    problem = None
    for turn in turns:
        for who in servers:
            problem = problem or ask(who, **turn)
    for who in servers.keys() - died:
        ask(who, do="end")
    if problem:
        return problem
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True)]
    return {"ratio": statistics.median(ratios), "seconds": statistics.median(times["ours"])}


def share_of_limit(name: str, seconds: float, limit: tuple[float, float]) -> str:
    workload = WORKLOADS[name]
    if workload.flops:
        return f"{workload.flops / seconds / limit[0]:4.0%} of FMA"
    if workload.bytes:
        return f"{workload.bytes / seconds / limit[1]:4.0%} of stream"
    return ""


def footprint(ours: str, theirs: str) -> None:
    first, second = import_costs(ours, theirs)
    rows = {
        "import time": f"{second[0] / first[0]:.1f}x less",
        "resident after import": f"{first[1]:.0f} MB, {second[1] / first[1]:.1f}x less",
    }
    sizes = installed_size(ours), installed_size(theirs)
    rows["installed size"] = f"{sizes[0]:.0f} MB, {sizes[1] / sizes[0]:.1f}x less"
    print("\nfootprint")
    for name, text in rows.items():
        print(f"  {name:56} {text:24} target {FOOTPRINT_TARGETS[name]}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", help="only the workloads that match (may be given again)")
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="per library, workload and round")
    parser.add_argument(
        "--limits", action="store_true", help="print the share of the machine's limit that is reached"
    )
    parser.add_argument("--list", action="store_true", help="list the workloads and their targets")
    parser.add_argument("--json", type=Path, help="write the ratios to this file")
    parser.add_argument("--no-footprint", action="store_true", help="leave out import time, memory and size")
    parser.add_argument(
        "--library", dest="ours", default="flambeau", help="what to compare; `torch` tests the harness"
    )
    parser.add_argument("--peer", default="torch", help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    names = [
        name
        for name in WORKLOADS
        if not arguments.only or any(fnmatchcase(name, only) for only in arguments.only)
    ]
    if arguments.list:
        for name in names:
            print(f"{name:60} {WORKLOADS[name].target or ''}")
        return 0

    record: dict[str, dict[str, float]] = {}
    for threads in arguments.threads or [1, 2]:
        print(f"\n{threads} thread{'s' if threads > 1 else ''}: times as fast as PyTorch")
        limit = None
        if arguments.limits:
            code = f"from benchmarks.limits import limits; print(*limits({threads}))"
            environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
            printed = subprocess.run(
                [sys.executable, "-c", code], check=True, capture_output=True, env=environment
            )
            limit = tuple(map(float, printed.stdout.split()))
        servers = {"ours": Server(arguments.ours, threads), "theirs": Server(arguments.peer, threads)}
        ratios, behind = {}, []
        for name in names:
            found = measure(name, servers, arguments.rounds, arguments.seconds)
            target = WORKLOADS[name].target
            if "problem" in found:
                print(f"  {name:56} {found['problem']}", flush=True)
                continue
            ratios[name] = found["ratio"]
            text = f"  {name:56} {found['ratio']:7.2f}"
            if target is not None:
                reached = found["ratio"] >= target
                text += f"  target {target:<4g} {'reached' if reached else 'NOT reached'}"
                behind += [] if reached else [name]
            if limit is not None:
                text += "  " + share_of_limit(name, found["seconds"], limit)
            print(text.rstrip(), flush=True)
        for server in servers.values():
            server.end()
        if ratios:
            mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
            print(f"  {f'geometric mean of {len(ratios)}':56} {mean:7.2f}")
            print(f"  {len(names) - len(ratios)} missing, {len(behind)} short of their target")
        record[str(threads)] = ratios
    if not arguments.no_footprint:
        footprint(arguments.ours, arguments.peer)
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
