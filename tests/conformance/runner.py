"""Shares the work of a suite out to worker processes, and keeps what a crash or a hang costs to one entry."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

KILL_AFTER = 150  # a worker that answers nothing for so many seconds is beyond its own alarm
Pair = tuple[str, str]
Answer = tuple[str, str]  # status and reason


class Worker:
    """A worker process and the thread-safe view of its answers."""

    def __init__(self, suite: str) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONFAULTHANDLER": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.worker", suite],
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

    def ask(self, name: str, part: str) -> Answer:
        try:
            self.process.stdin.write(json.dumps({"name": name, "part": part}) + "\n")
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


def run(suite: str, pairs: list[Pair], jobs: int, report) -> dict[Pair, Answer]:
    """The answer for every pair of name and part; `report(name, answers, seconds)` hears of each name as it is done."""
    by_name: dict[str, list[str]] = defaultdict(list)
    for name, part in pairs:
        by_name[name].append(part)
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for item in by_name.items():
        waiting.put(item)
    results: dict[Pair, Answer] = {}
    lock = threading.Lock()

    def work() -> None:
        worker = None
        while True:
            try:
                name, parts = waiting.get_nowait()
            except queue.Empty:
                break
            start, found = time.monotonic(), {}
            for part in parts:
                worker = worker or Worker(suite)
                found[name, part] = worker.ask(name, part)
                if found[name, part][0] == "CRASH":
                    worker.end()
                    worker = None
                elif found[name, part][0] == "MISSING" and len(found) == 1:
                    # The entry as a whole is absent: no need to ask again for each part.
                    found.update({(name, other): found[name, part] for other in parts})
                    break
            with lock:
                results.update(found)
                report(name, found, time.monotonic() - start)
        if worker is not None:
            worker.end()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
