"""A loader's worker processes, seen from the loader."""

from __future__ import annotations

import os
import select
import signal
import time
import weakref

import flambeau.multiprocessing  # tensors in a dataset reach new processes as shared memory  # noqa: F401

from . import channel
from .worker import WorkerTask, worker_loop

_WORKER_MODULE = channel.__name__
_CHECK_EVERY = 1.0  # seconds: a death that the socket does not tell of is seen by then
_GRACE = 5.0  # seconds that workers get to finish what they are doing


class Crew:
    """Starts the workers, hands them messages, and waits for theirs.

    Args:
        context: of `multiprocessing`: how processes are started.
        tasks: one per worker.
        timeout: seconds to wait for a message; 0 waits for ever.
    """

    def __init__(self, context, tasks: list[WorkerTask], timeout: float):
        self._timeout = timeout
        self._processes: list = []
        self._channels: list[channel.Channel] = []
        self._ready: list[int] = []  # workers whose messages wait to be read
        self._poll = select.poll()
        self._worker_at: dict[int, int] = {}  # the worker at a file descriptor
        self.close = weakref.finalize(self, _end, os.getpid(), self._processes, self._channels)
        try:
            _warm_up(context)
            for task in tasks:
                self._start(context, task)
        except BaseException:
            self.close()
            raise

    def _start(self, context, task: WorkerTask) -> None:
        ours, theirs = channel.pair()
        self._channels.append(ours)
        with theirs:
            process = context.Process(target=worker_loop, args=(task, theirs), daemon=True)
            process.start()
        self._processes.append(process)
        self._worker_at[ours.fileno()] = task.worker_id
        self._poll.register(ours.fileno(), select.POLLIN)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def closed(self) -> bool:
        return not self.close.alive

    def send(self, worker: int, message) -> None:
        """Send without waiting; what the worker has no room for goes out while we wait for messages."""
        try:
            self._channels[worker].send_soon(message)
        except channel.Closed:
            return  # it has died: whoever waits for its answer will be told
        self._watch_for_room(worker)

    def _watch_for_room(self, worker: int) -> None:
        ours = self._channels[worker]
        self._poll.modify(ours.fileno(), select.POLLIN | (0 if ours.flush() else select.POLLOUT))

    def receive(self) -> tuple[int, object]:
        """The next message of any worker: the worker and what it says.

        Raises:
            RuntimeError: a worker has died, or none has sent anything for `timeout` seconds.
        """
        deadline = time.monotonic() + self._timeout if self._timeout else None
        while not self._ready:
            wait = _CHECK_EVERY if deadline is None else min(_CHECK_EVERY, deadline - time.monotonic())
            events = self._poll.poll(max(0, int(wait * 1000 + 0.999)))
            for descriptor, event in events:
                if event & select.POLLOUT:
                    self._flush(self._worker_at[descriptor])
                if event & ~select.POLLOUT:
                    self._ready.append(self._worker_at[descriptor])
            if self._ready:
                break
            if not events:
                dead = [worker for worker, process in enumerate(self._processes) if not process.is_alive()]
                if dead:
                    self._report(dead)
            if deadline is not None and time.monotonic() >= deadline:
                self.close()
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        worker = self._ready.pop(0)
        try:
            return worker, self._channels[worker].receive()
        except channel.Closed:
            self._report([worker])

    def _flush(self, worker: int) -> None:
        try:
            self._watch_for_room(worker)
        except channel.Closed:
            self._ready.append(worker)

    def forget(self, worker: int, segments: list[int]) -> None:
        """Let go of memory that a worker has given up."""
        self._channels[worker].forget(segments)

    def _report(self, dead: list[int]):
        """Say that workers have died, and how."""
        for worker in dead:
            self._processes[worker].join(1.0)
        # One worker's death may be that of others, too: the kernel ends what takes too much memory.
        dead = [w for w, process in enumerate(self._processes) if w in dead or process.exitcode is not None]
        first = self._processes[dead[0]]
        pids = ", ".join(str(self._processes[worker].pid) for worker in dead)
        cause = RuntimeError(_how_it_ended(first.pid, first.exitcode))
        self.close()
        raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly") from cause


def _warm_up(context) -> None:
    """Let the fork server, if it is what starts processes and isn't running yet, import us before it forks."""
    if context.get_start_method() != "forkserver":
        return
    from multiprocessing import forkserver

    server = forkserver._forkserver  # type: ignore[attr-defined]
    if server._forkserver_pid is None and _WORKER_MODULE not in server._preload_modules:
        context.set_forkserver_preload([*server._preload_modules, _WORKER_MODULE])


def _how_it_ended(pid: int, code: int | None) -> str:
    if code is None:
        return f"DataLoader worker (pid {pid}) closed its connection."
    if code >= 0:
        return (
            f"DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}. "
            "Its output may say why; with num_workers=0 the error shows up in this process."
        )
    text = f"DataLoader worker (pid {pid}) is killed by signal: {signal.strsignal(-code)}. "
    if -code == signal.SIGKILL:
        text += "Somebody killed it: often the system, when memory runs out."
    if -code == signal.SIGBUS:
        text += "It is possible that dataloader's workers are out of shared memory."
    return text


def _end(owner: int, processes: list, channels: list) -> None:
    """End the workers: by closing their sockets, and by force if that doesn't help."""
    if os.getpid() != owner:
        return  # a copy in a forked process
    for ours in channels:
        ours.shut_down()
        ours.close()
    deadline = time.monotonic() + _GRACE
    for end in (None, "terminate", "kill"):
        for process in processes:
            if end is not None and process.is_alive():
                getattr(process, end)()
                deadline = time.monotonic() + 1.0
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if not process.is_alive():
            process.close()
