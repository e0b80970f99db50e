"""One library, imported once: prepares and times workloads at the runner's command, a JSON line each.

    {"do": "prepare", "name": ...}            -> {"ok": true}, or {"missing": why}, {"failed": why}, {"died": why}
    {"do": "time", "seconds": s}              -> {"seconds": time of one run, the fastest of some batches}
    {"do": "end"}                             -> {"ok": true}

Every workload runs in a process of its own, forked after the import: what an allocator has learned from the workloads
before would change a time by half. Both libraries' processes are alive at once and take turns.
"""

import importlib
import json
import os
import sys
import time
import warnings

from .workloads import WORKLOADS


def seconds_per_run(function, budget: float) -> float:
    """The fastest of at least three batches, each long enough for the clock; about `budget` seconds in all."""
    clock = time.perf_counter
    start = clock()
    function()
    once = max(clock() - start, 1e-7)
    count = max(1, int(budget / 8 / once))
    best, end, batches = float("inf"), clock() + budget, 0
    while batches < 3 or clock() < end:
        start = clock()
        for _ in range(count):
            function()
        best = min(best, (clock() - start) / count)
        batches += 1
    return best


def serve(torch, request: dict, answers) -> None:
    """Prepares the workload that is asked for, and times it until the end is asked for."""
    function = None
    while True:
        try:
            if request["do"] == "prepare":
                torch.manual_seed(0)
                function = WORKLOADS[request["name"]].prepare(torch)
                function()
                answer = {"ok": True}
            else:
                answer = {"seconds": seconds_per_run(function, request["seconds"])}
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            answer = {"missing" if isinstance(error, AttributeError | ImportError) else "failed": text}
        print(json.dumps(answer), file=answers, flush=True)
        request = json.loads(sys.stdin.readline() or '{"do": "end"}')
        if request["do"] == "end":
            return


def main() -> None:
    library, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    torch = importlib.import_module(library)
    while line := sys.stdin.readline():
        request, status = json.loads(line), 0
        if request["do"] == "prepare":
            child = os.fork()
            if not child:
                torch.set_num_threads(threads)
                serve(torch, request, answers)
                os._exit(0)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ended = {"died": f"its process ended with {status}"} if status else {"ok": True}
        print(json.dumps(ended), file=answers, flush=True)


if __name__ == "__main__":
    main()
