"""The launcher's part on each host: starts workers, watches them, and starts all again if one fails.

Agents of several hosts share a store. The failure of a worker anywhere ends the attempt everywhere; the store then says
whether there is to be another.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta

from .elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from .errors import DistError, DistNetworkError
from .tcp_store import TCPStore

__all__ = ["Agent", "Plan"]

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 15.0


@dataclass
class Plan:
    """What is to be run, and where."""

    command: list[str]  # of one worker
    name: str
    workers: int = 1  # on this host
    nodes: int = 1
    node_rank: int | None = None  # None: in the order in which they come
    host: str = "127.0.0.1"
    port: int = 0
    serves: bool | None = None  # whether this agent serves the store; None: if it can
    run_id: str = "none"
    role: str = "default"
    max_restarts: int = 0
    interval: float = 0.1
    timeout: float = 900.0
    log_folder: str | None = None
    redirects: dict[int, int] = field(default_factory=dict)  # by local rank: 1 output, 2 errors, 3 both
    tee: dict[int, int] = field(default_factory=dict)
    adds_local_rank: bool = False


class _Stopped(Exception):
    """A signal asked this agent to end."""


class Agent:
    """Runs a plan on this host."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self._processes: list[subprocess.Popen] = []
        self._copiers: list[threading.Thread] = []
        self._folder = tempfile.mkdtemp(prefix="flambeau-run-")

    def run(self) -> None:
        """Run until all workers have ended well.

        Raises:
            ChildFailedError: a worker failed, and no attempt is left.
        """
        before = {
            each: signal.signal(each, self._stop) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            self._store = self._find_store()
            node = self.plan.node_rank
            self._node = self._store.add("agent/nodes", 1) - 1 if node is None else node
            if self._node >= self.plan.nodes:
                raise RuntimeError(f"node {self._node} came to a run of {self.plan.nodes} nodes")
            self._attempts()
            self._leave_together()
        except _Stopped as stopped:
            sys.stderr.write(f"received signal {stopped}: the workers were told to end\n")
            raise SystemExit(1) from None
        finally:
            self._end_workers()
            for each, handler in before.items():
                signal.signal(each, handler)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self, number, frame) -> None:
        raise _Stopped(signal.Signals(number).name)

    def _find_store(self) -> TCPStore:
        plan, timeout = self.plan, timedelta(seconds=self.plan.timeout)
        if plan.serves is not False:
            try:
                return TCPStore(plan.host, plan.port, None, True, timeout, wait_for_workers=False)
            except DistNetworkError:
                if plan.serves or plan.port == 0:
                    raise
        # Another agent serves it: on another host, or first on this one.
        return TCPStore(plan.host, plan.port, None, False, timeout, wait_for_workers=False)

    def _leave_together(self) -> None:
        # The store goes with the agent that serves it, so that one waits for the others.
        if self.plan.nodes == 1:
            return
        left = self._store.add("agent/left", 1)
        end = time.monotonic() + self.plan.timeout
        with contextlib.suppress(DistError):
            while self._store._server is not None and left < self.plan.nodes and time.monotonic() < end:
                time.sleep(self.plan.interval)
                left = self._store.add("agent/left", 0)

    # ---- attempts

    def _attempts(self) -> None:
        for attempt in range(self.plan.max_restarts + 1):
            failures = self._attempt(attempt)
            if failures is None:
                return
            if attempt < self.plan.max_restarts:
                left = self.plan.max_restarts - attempt
                sys.stderr.write(
                    f"[{self.plan.role}] a worker failed; {left}/{self.plan.max_restarts} attempts left\n"
                )
        raise ChildFailedError(self.plan.name, failures)

    def _attempt(self, attempt: int) -> dict[int, ProcessFailure] | None:
        """None if all workers ended well, otherwise the failures by rank."""
        first, total = self._ranks(attempt)
        for local_rank in range(self.plan.workers):
            self._processes.append(self._start(attempt, local_rank, first, total))
        failed = f"agent/failed/{attempt}"
        while True:
            ended = {i: p.returncode for i, p in enumerate(self._processes) if p.poll() is not None}
            bad = {i: code for i, code in ended.items() if code != 0}
            if bad:
                time.sleep(0.05)  # those that fail together are told together
                bad |= {i: p.returncode for i, p in enumerate(self._processes) if p.poll() not in (None, 0)}
                failures = {
                    first + i: ProcessFailure(i, self._processes[i].pid, code, self._error_file(attempt, i))
                    for i, code in bad.items()
                }
                self._store.set(failed, f"rank {min(failures)}")
                self._end_workers()
                return failures
            if len(ended) == len(self._processes) and self._all_done(attempt):
                self._end_workers()
                return None
            if self.plan.nodes > 1 and self._store.check([failed]):
                where = self._store.get(failed).decode()
                self._end_workers()
                failure = ProcessFailure(0, os.getpid(), 1, "<N/A>")
                failure.message = f"{where}, on another node, failed"
                return {first: failure}
            time.sleep(self.plan.interval)

    def _ranks(self, attempt: int) -> tuple[int, int]:
        """The first rank on this host, and the number of all workers."""
        if self.plan.nodes == 1:
            return 0, self.plan.workers
        prefix = f"agent/workers/{attempt}"
        self._store.set(f"{prefix}/{self._node}", str(self.plan.workers))
        counts = [int(self._store.get(f"{prefix}/{node}")) for node in range(self.plan.nodes)]
        return sum(counts[: self._node]), sum(counts)

    def _all_done(self, attempt: int) -> bool:
        if self.plan.nodes == 1:
            return True
        self._store.set(f"agent/done/{attempt}/{self._node}", "1")
        return self._store.check([f"agent/done/{attempt}/{node}" for node in range(self.plan.nodes)])

    # ---- workers

    def _error_file(self, attempt: int, local_rank: int) -> str:
        return os.path.join(self._folder, f"{attempt}-{local_rank}.json")

    def _environment(self, attempt: int, local_rank: int, first: int, total: int) -> dict[str, str]:
        plan = self.plan
        rank = first + local_rank
        return os.environ | {
            "LOCAL_RANK": str(local_rank),
            "RANK": str(rank),
            "GROUP_RANK": str(self._node),
            "ROLE_RANK": str(rank),
            "ROLE_NAME": plan.role,
            "LOCAL_WORLD_SIZE": str(plan.workers),
            "WORLD_SIZE": str(total),
            "GROUP_WORLD_SIZE": str(plan.nodes),
            "ROLE_WORLD_SIZE": str(total),
            "MASTER_ADDR": plan.host,
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_RESTART_COUNT": str(attempt),
            "TORCHELASTIC_MAX_RESTARTS": str(plan.max_restarts),
            "TORCHELASTIC_RUN_ID": plan.run_id,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_ERROR_FILE": self._error_file(attempt, local_rank),
            # A worker per core leaves nothing for threads.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1") if plan.workers > 1 else _threads(),
        }

    def _start(self, attempt: int, local_rank: int, first: int, total: int) -> subprocess.Popen:
        plan = self.plan
        command = (
            [*plan.command, f"--local-rank={local_rank}"] if plan.adds_local_rank else list(plan.command)
        )
        streams, copies = {}, []
        for bit, name in ((1, "stdout"), (2, "stderr")):
            to_file = plan.redirects.get(local_rank, 0) & bit
            copied = plan.tee.get(local_rank, 0) & bit
            log = self._log(attempt, local_rank, name) if to_file or copied else None
            if copied:
                streams[name] = subprocess.PIPE
                copies.append((name, log))
            elif to_file:
                streams[name] = log
        environment = self._environment(attempt, local_rank, first, total)
        if environment["OMP_NUM_THREADS"] == "":
            del environment["OMP_NUM_THREADS"]
        libc, parent = ctypes.CDLL(None), os.getpid()

        def end_with_agent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        process = subprocess.Popen(
            command,
            env=environment,
            start_new_session=True,  # a signal from the terminal comes once, from this agent
            preexec_fn=end_with_agent if sys.platform == "linux" else None,
            **streams,
        )
        for name, log in copies:
            thread = threading.Thread(
                target=_copy,
                args=(getattr(process, name), name, log, f"[{plan.role}{local_rank}]:"),
                daemon=True,
            )
            thread.start()
            self._copiers.append(thread)
        return process

    def _log(self, attempt: int, local_rank: int, name: str):
        if self.plan.log_folder is None:
            return None
        folder = os.path.join(self.plan.log_folder, self.plan.run_id, f"attempt_{attempt}", str(local_rank))
        os.makedirs(folder, exist_ok=True)
        return open(os.path.join(folder, f"{name}.log"), "wb")

    def _end_workers(self) -> None:
        for send, seconds in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, 5.0)):
            alive = [p for p in self._processes if p.poll() is None]
            for process in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, send)
            end = time.monotonic() + seconds
            for process in alive:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(end - time.monotonic(), 0.01))
        self._processes.clear()
        for thread in self._copiers:
            thread.join(2)
        self._copiers.clear()


def _threads() -> str:
    return os.environ.get("OMP_NUM_THREADS", "")


def _copy(source, name: str, log, prefix: str) -> None:
    """Show a worker's lines with its name before them, and write them down."""
    console = getattr(sys, name)
    for line in source:
        console.write(prefix + line.decode(errors="replace"))
        console.flush()
        if log is not None:
            log.write(line)
            log.flush()
