"""How a worker that fails tells its launcher why, and how the launcher tells the user."""

from __future__ import annotations

import functools
import json
import os
import signal
import time
import traceback
from dataclasses import dataclass, field

__all__ = ["ChildFailedError", "ErrorHandler", "ProcessFailure", "get_error_handler", "record"]

_FILE = "TORCHELASTIC_ERROR_FILE"


@dataclass
class ProcessFailure:
    """The end of a worker: its numbers, its exit code, and what it wrote into its error file."""

    local_rank: int
    pid: int
    exitcode: int
    error_file: str
    error_file_data: dict = field(init=False)
    message: str = field(init=False)
    timestamp: int = field(init=False)

    def __post_init__(self):
        self.error_file_data, self.timestamp = {}, int(time.time())
        try:
            with open(self.error_file, encoding="utf-8") as file:
                self.error_file_data = json.load(file)
            written = self.error_file_data["message"]
            self.message = written["message"] if isinstance(written, dict) else str(written)
            self.timestamp = int(written.get("extraInfo", {}).get("timestamp", self.timestamp))
            self.traceback = written.get("extraInfo", {}).get("py_callstack", "")
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            self.traceback = ""
            killed = f"Signal {-self.exitcode} ({self.signal_name()}) received by PID {self.pid}"
            self.message = killed if self.exitcode < 0 else ""

    def signal_name(self) -> str:
        """The signal that ended it."""
        if self.exitcode >= 0:
            return "<N/A>"
        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return "<unknown>"


class ChildFailedError(Exception):
    """Workers failed: ``failures`` by their rank among all processes."""

    def __init__(self, name: str, failures: dict[int, ProcessFailure]):
        if not failures:
            raise AssertionError("a ChildFailedError needs failures")
        self.name, self.failures = name, failures
        super().__init__(self._text())

    def get_first_failure(self) -> tuple[int, ProcessFailure]:
        """The rank and the failure that came first."""
        rank = min(self.failures, key=lambda rank: self.failures[rank].timestamp)
        return rank, self.failures[rank]

    def _text(self) -> str:
        first = self.get_first_failure()[0]
        others = [rank for rank in self.failures if rank != first]
        lines = ["", "=" * 60, f"{self.name} FAILED", "-" * 60, "Failures:"]
        lines += [self._one(i + 1, rank) for i, rank in enumerate(others)] or ["  <NO_OTHER_FAILURES>"]
        lines += ["-" * 60, "Root Cause (first observed failure):", self._one(0, first), "=" * 60]
        return "\n".join(lines)

    def _one(self, number: int, rank: int) -> str:
        failure = self.failures[rank]
        what = (
            failure.traceback or failure.message or "its own output says why; @record gives a traceback here"
        )
        when = time.strftime("%Y-%m-%d_%H:%M:%S", time.localtime(failure.timestamp))
        return (
            f"[{number}]:\n  time      : {when}\n  rank      : {rank} (local_rank: {failure.local_rank})\n"
            f"  exitcode  : {failure.exitcode} (pid: {failure.pid})\n  error_file: {failure.error_file}\n"
            f"  traceback : " + what.strip().replace("\n", "\n  ")
        )


class ErrorHandler:
    """Writes exceptions to the file that the launcher named."""

    def initialize(self) -> None:
        """Nothing has to be prepared."""

    def record_exception(self, error: BaseException) -> None:
        """Write an exception down."""
        path = os.environ.get(_FILE)
        if not path:
            return
        text = "".join(traceback.format_exception(error))
        extra = {"py_callstack": text, "timestamp": str(int(time.time()))}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": {"message": f"{type(error).__name__}: {error}", "extraInfo": extra}}, file)


def get_error_handler() -> ErrorHandler:
    """The one that `record` uses."""
    return ErrorHandler()


def record(fn, error_handler: ErrorHandler | None = None):
    """Decorates a program's main function: an exception is written down for the launcher, and raised.

    >>> from flambeau.distributed.elastic.multiprocessing.errors import record
    >>> @record
    ... def main():
    ...     return 3
    >>> main()
    3
    """
    handler = error_handler or get_error_handler()

    @functools.wraps(fn)
    def recorded(*args, **kwargs):
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as end:
            if end.code not in (0, None):
                handler.record_exception(end)
            raise
        except Exception as error:
            handler.record_exception(error)
            raise

    return recorded
