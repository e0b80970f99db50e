"""The runner: shares the operators out to worker processes, prints what they find and the summary.

python -m tests.conformance                      every operator, against expected.txt
python -m tests.conformance --op 'cum*' --verbose
python -m tests.conformance --update-expected    what passes now has to pass from now on
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

EXPECTED = Path(__file__).parent / "expected.txt"
HEADER = """# The pairs of operator and dtype (or `errors`, for the error inputs) that must pass: losing one fails the run.
# Written by `python -m tests.conformance --update-expected`.
"""
KILL_AFTER = 150  # a worker that answers nothing for so many seconds is beyond its own alarm
Pair = tuple[str, str]


class Worker:
    """A worker process and the thread-safe view of its answers."""

    def __init__(self) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.worker"],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.answers: queue.Queue[str | None] = queue.Queue()
        self.errors: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def _read_errors(self) -> None:
        for line in self.process.stderr:
            self.errors = [*self.errors[-30:], line.rstrip()]

    def ask(self, op: str, dtype: str) -> tuple[str, str]:
        try:
            self.process.stdin.write(json.dumps({"op": op, "dtype": dtype}) + "\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=KILL_AFTER)
        except BrokenPipeError:
            line = None
        except queue.Empty:
            return "CRASH", f"hangs: no answer in {KILL_AFTER} s"
        if line is None:
            code = self.process.wait()
            # After a fault the interpreter lists the frames: the innermost of them comes first.
            return "CRASH", f"exit status {code}: " + " | ".join(line.strip() for line in self.errors[:6])
        answer = json.loads(line)
        return answer["status"], answer["reason"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def run(pairs: list[Pair], jobs: int, report) -> dict[Pair, tuple[str, str]]:
    by_operator: dict[str, list[str]] = defaultdict(list)
    for op, dtype in pairs:
        by_operator[op].append(dtype)
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for item in by_operator.items():
        waiting.put(item)
    results: dict[Pair, tuple[str, str]] = {}
    lock = threading.Lock()

    def work() -> None:
        worker = None
        while True:
            try:
                op, dtypes = waiting.get_nowait()
            except queue.Empty:
                break
            start, found = time.monotonic(), {}
            for dtype in dtypes:
                worker = worker or Worker()
                found[op, dtype] = worker.ask(op, dtype)
                if found[op, dtype][0] == "CRASH":
                    worker.end()
                    worker = None
                elif found[op, dtype][0] == "MISSING" and len(found) == 1:
                    # The operator as a whole is absent: no need to ask again for each dtype.
                    found.update({(op, other): found[op, dtype] for other in dtypes})
                    break
            with lock:
                results.update(found)
                report(op, found, time.monotonic() - start)
        if worker is not None:
            worker.end()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def read_expected() -> set[Pair]:
    pairs = set()
    for line in EXPECTED.read_text().splitlines() if EXPECTED.exists() else ():
        if line and not line.startswith("#"):
            op, _, dtypes = line.partition(":")
            pairs |= {(op, dtype) for dtype in dtypes.split()}
    return pairs


def write_expected(pairs: set[Pair]) -> None:
    by_operator: dict[str, list[str]] = defaultdict(list)
    for op, dtype in sorted(pairs):
        by_operator[op].append(dtype)
    EXPECTED.write_text(HEADER + "".join(f"{op}: {' '.join(dtypes)}\n" for op, dtypes in by_operator.items()))


def worst(statuses: list[str]) -> str:
    order = ("CRASH", "FAIL", "MISSING", "PASS", "LEFT-OUT")
    return min(statuses, key=order.index)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--op", action="append", help="only the operators that match (may be given again)")
    parser.add_argument("--dtype", action="append", help="only these dtypes, or `errors`")
    parser.add_argument("--list", action="store_true", help="list the operators and dtypes, run nothing")
    parser.add_argument("--json", type=Path, help="write all results to this file")
    parser.add_argument(
        "--verbose", action="store_true", help="every dtype's result, passing and missing ones too"
    )
    parser.add_argument("--only-expected", action="store_true", help="run only what expected.txt names")
    parser.add_argument(
        "--update-expected", action="store_true", help="rewrite expected.txt for what was run"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()

    from .check import ERRORS, dtypes_of, operators
    from .left_out import reason

    expected = read_expected()
    pairs: list[Pair] = []
    for name, op in operators().items():
        if arguments.op and not any(fnmatchcase(name, pattern) for pattern in arguments.op):
            continue
        dtypes = [str(dtype).removeprefix("torch.") for dtype in dtypes_of(op)]
        dtypes += [ERRORS] if op.error_inputs_func is not None else []
        pairs += [(name, dtype) for dtype in dtypes if not arguments.dtype or dtype in arguments.dtype]
    if arguments.only_expected:
        pairs = [pair for pair in pairs if pair in expected]
    if arguments.list:
        for name, dtype in pairs:
            print(name, dtype, f"(left out: {reason(name)})" if reason(name) else "")
        return 0

    def report(op: str, found: dict[Pair, tuple[str, str]], seconds: float) -> None:
        status = worst([status for status, _ in found.values()])
        if status == "MISSING" and not arguments.verbose:
            return
        passed = sum(state == "PASS" for state, _ in found.values())
        print(f"{status:8} {op}  {passed} of {len(found)}  ({seconds:.1f} s)", flush=True)
        shown: set[str] = set()
        for (_, dtype), (state, why) in sorted(found.items()):
            if arguments.verbose or (state in ("FAIL", "CRASH") and why not in shown):
                print(f"           {dtype}: {state} {why}", flush=True)
                shown.add(why)

    start = time.monotonic()
    results = run(pairs, max(1, arguments.jobs), report)
    if arguments.json:
        rows = [
            {"op": op, "dtype": dtype, "status": s, "reason": r}
            for (op, dtype), (s, r) in sorted(results.items())
        ]
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")

    passed = {pair for pair, (status, _) in results.items() if status == "PASS"}
    counts = Counter(status for status, _ in results.values())
    by_operator = defaultdict(list)
    for (op, _), (status, _) in results.items():
        by_operator[op].append(status)
    by_status = Counter(worst(statuses) for statuses in by_operator.values())
    absent = sorted(op for op, statuses in by_operator.items() if worst(statuses) == "MISSING")
    out = {op: why for (op, _), (status, why) in sorted(results.items()) if status == "LEFT-OUT"}
    if absent:
        print(f"\nMISSING ({len(absent)} operators): {' '.join(absent)}")
    if out:
        print(f"\nLEFT-OUT ({len(out)} operators):")
        print("\n".join(f"  {op}: {why}" for op, why in out.items()))

    print(f"\noperators: {by_status['PASS']} of {len(by_operator)} pass; " + tally(by_status))
    considered = len(results) - counts["LEFT-OUT"]
    print(f"pairs of operator and dtype: {tally(counts)}; {time.monotonic() - start:.0f} s")
    print(f"{counts['PASS']} of {considered}")

    if arguments.update_expected:
        write_expected({pair for pair in expected if pair not in results} | passed)
    lost = sorted(pair for pair in expected & results.keys() if pair not in passed)
    for op, dtype in lost:
        print(f"LOST {op} {dtype}: {results[op, dtype][0]} {results[op, dtype][1]}")
    crashed = sorted(pair for pair, (status, _) in results.items() if status == "CRASH")
    for op, dtype in crashed:
        print(f"CRASH {op} {dtype}: {results[op, dtype][1]}")
    return 1 if crashed or (lost and not arguments.update_expected) else 0


def tally(counts: Counter) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
