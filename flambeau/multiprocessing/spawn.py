"""Running a function in several processes, and learning what became of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tempfile

__all__ = [
    "ProcessContext",
    "ProcessException",
    "ProcessExitedException",
    "ProcessRaisedException",
    "SpawnContext",
    "spawn",
    "start_processes",
]


class ProcessException(Exception):
    """A process failed. ``error_index`` says which one, ``error_pid`` its process id."""

    def __init__(self, msg: str, error_index: int, pid: int):
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.pid = self.error_pid = pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """The function raised an exception in a process; the message holds its traceback."""

    def __init__(self, msg: str, error_index: int, error_pid: int):
        super().__init__(msg, error_index, error_pid)


class ProcessExitedException(ProcessException):
    """A process was killed by a signal or left with an exit code: ``signal_name``, ``exit_code``."""

    def __init__(
        self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None
    ):
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _end_with_parent() -> None:
    """Linux sends us this signal when the parent dies."""
    import ctypes

    PR_SET_PDEATHSIG = 1
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:  # it died before
        os.kill(os.getpid(), signal.SIGINT)


def _run(function, index: int, args: tuple, error_file: str) -> None:
    _end_with_parent()
    try:
        function(index, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted too, and it is the one to tell
    except Exception:
        import traceback

        with open(error_file, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """Processes that run together; `join` waits for them.

    Attributes:
        processes: the `multiprocessing.Process` objects.
    """

    def __init__(self, processes: list, error_folder: tempfile.TemporaryDirectory):
        self.processes = processes
        self._error_folder = error_folder  # removed with this object
        self.sentinels = {process.sentinel: index for index, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The processes' ids."""
        return [int(process.pid) for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until all processes have ended, or one has failed, or the time is over.

        If one has failed, the others are told to end, and are killed after `grace_period` or 30 seconds.

        Args:
            timeout: seconds to wait; None waits for as long as it takes.
            grace_period: seconds that the other processes get to end by themselves after one has failed.

        Returns:
            Whether all have ended.

        Raises:
            ProcessRaisedException: the function raised an exception.
            ProcessExitedException: a process was killed, or left with an exit code that isn't 0.
        """
        from multiprocessing import connection

        if not self.sentinels:
            return True
        failed = None
        for sentinel in connection.wait(list(self.sentinels), timeout=timeout):
            index = self.sentinels.pop(sentinel)
            process = self.processes[index]
            process.join()
            if process.exitcode != 0 and failed is None:
                failed = index
        if failed is None:
            return not self.sentinels
        self._end_all(grace_period)
        self._raise(failed)

    def _end_all(self, grace_period: float | None) -> None:
        if grace_period is not None:
            self._wait(grace_period)
        for send in ("terminate", "kill"):
            for process in self.processes:
                if process.is_alive():
                    getattr(process, send)()
            self._wait(30)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))

    def _raise(self, index: int):
        process = self.processes[index]
        code, pid = process.exitcode, process.pid
        path = os.path.join(self._error_folder.name, str(index))
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                message = f"\n\n-- Process {index} terminated with the following error:\n{file.read()}"
            raise ProcessRaisedException(message, index, pid)
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"<Unknown signal {-code}>"
            raise ProcessExitedException(
                f"process {index} terminated with signal {name}", index, pid, code, name
            )
        raise ProcessExitedException(f"process {index} terminated with exit code {code}", index, pid, code)


class SpawnContext(ProcessContext):
    """The name that `ProcessContext` had when there was only `spawn`."""


def start_processes(
    fn,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
):
    """Run ``fn(i, *args)`` in `nprocs` processes, `i` being 0, 1, ...

    Args:
        fn: a function that can be pickled: defined at the top level of a module.
        args: its further arguments.
        nprocs: how many processes.
        join: wait for them all; otherwise return at once.
        daemon: end them when this process ends.
        start_method: how they are started: ``"spawn"``, ``"fork"`` or ``"forkserver"``.

    Returns:
        None, or a `ProcessContext` if `join` is False.
    """
    import tempfile

    context = multiprocessing.get_context(start_method)
    processes = []
    errors = tempfile.TemporaryDirectory(prefix="flambeau-processes-")
    for index in range(nprocs):
        path = os.path.join(errors.name, str(index))
        process = context.Process(target=_run, args=(fn, index, args, path), daemon=daemon)
        process.start()
        processes.append(process)
    together = ProcessContext(processes, errors)
    if not join:
        return together
    while not together.join():
        pass
    return None


def spawn(
    fn,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
):
    """Run ``fn(i, *args)`` in `nprocs` new processes; if one fails, the others are ended and its error is raised here.

    For the arguments see `start_processes`; the start method is always ``"spawn"`` here.
    """
    if start_method != "spawn":
        warnings.warn(
            f"This method only supports start_method=spawn (got: {start_method}).\nTo use a different start_method use:\n"
            "\t\t torch.multiprocessing.start_processes(...)",
            FutureWarning,
            stacklevel=2,
        )
    return start_processes(fn, args, nprocs, join, daemon, start_method="spawn")
