"""One library in one process: prepares and times workloads at the runner's command, a JSON line each.

    {"do": "prepare", "name": ...}            -> {"ok": true}, or {"missing": why}
    {"do": "time", "seconds": s}              -> {"seconds": time of one run, the fastest of some batches}

A process per library, alive for the whole run, so that both meet the machine in the same state, in turn.
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


def main() -> None:
    library, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    torch = importlib.import_module(library)
    torch.set_num_threads(threads)
    function = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "prepare":
                function = None  # the last workload's memory goes before this one's comes
                torch.manual_seed(0)
                function = WORKLOADS[request["name"]].prepare(torch)
                function()
                answer = {"ok": True}
            else:
                answer = {"seconds": seconds_per_run(function, request["seconds"])}
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0][:160]
            answer = (
                {"missing": text} if isinstance(error, AttributeError | ImportError) else {"failed": text}
            )
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
