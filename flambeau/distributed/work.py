"""Operations under way: what an asynchronous call returns, and the thread that runs them one after the other."""

from __future__ import annotations

import threading
from collections import deque

import flambeau
from flambeau.futures import Future

from .constants import seconds_of

__all__ = ["Queue", "Work"]


class Work:
    """An operation that was started. Its tensors may be used again after `wait`."""

    def __init__(self, tensors=(), source: int | None = None):
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._tensors, self._source = list(tensors), source
        self._future: Future | None = None

    def _finish(self, error: BaseException | None = None) -> None:
        with self._lock:
            if self._done.is_set():
                return
            self._error = error
            future = self._future
            self._done.set()
        if future is not None:
            self._pass_on(future)

    def _pass_on(self, future: Future) -> None:
        if self._error is None:
            future.set_result(self._tensors)
        else:
            future.set_exception(self._error)

    def wait(self, timeout=None) -> bool:
        """Wait until it is done. Returns True.

        Args:
            timeout: a `timedelta` to wait at most; by default as long as the group allows the operation.

        Raises:
            RuntimeError: the operation failed, or is not done in time.
        """
        seconds = None if timeout is None or seconds_of(timeout) <= 0 else seconds_of(timeout)
        if not self._wait(seconds):
            raise RuntimeError(f"Operation timed out! It was not done within {seconds:g} s")
        if self._error is not None:
            raise self._error
        return True

    def _wait(self, seconds: float | None) -> bool:
        return self._done.wait(seconds)

    def synchronize(self) -> None:
        """The same as `wait` here."""
        self.wait()

    def is_completed(self) -> bool:
        """Whether it is done, or has failed."""
        return self._done.is_set()

    def is_success(self) -> bool:
        """Whether it is done and has not failed."""
        return self._done.is_set() and self._error is None

    def exception(self):
        """The error with which it failed, or None."""
        return self._error

    def source_rank(self) -> int:
        """Where a message came from."""
        if self._source is None:
            raise RuntimeError(
                "sourceRank() may only be called on work objects that correspond to a recv call"
            )
        return self._source

    _source_rank = source_rank

    def result(self) -> list:
        """The tensors that the operation wrote."""
        self.wait()
        return self._tensors

    def get_future(self) -> Future:
        """A future that completes with the operation; its value is the list of tensors."""
        with self._lock:
            made = self._future
            if made is None:
                made = self._future = Future()
                finished = self._done.is_set()
            else:
                return made
        if finished:
            self._pass_on(made)
        return made


class Queue:
    """Runs a group's operations in the order in which they were called.

    A call that does not want to go on meanwhile, and finds nothing under way, runs in its own thread: that saves two
    changes of threads, which cost more than a small message.
    """

    def __init__(self, name: str):
        self._name = name
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque = deque()
        self._busy = False
        self._thread: threading.Thread | None = None
        self._closed: BaseException | None = None

    def run(self, function, work: Work | None) -> Work | None:
        """Call `function`: now if `work` is None, otherwise when its turn comes."""
        if work is None:
            with self._lock:
                self._check()
                alone = not self._busy and not self._waiting
                if alone:
                    self._busy = True
            if alone:
                try:
                    function()
                finally:
                    with self._lock:
                        self._busy = False
                        if self._waiting or self._closed:
                            self._changed.notify_all()
                return None
            self.run(function, waited := Work())
            waited.wait()
            return None
        with self._lock:
            self._check()
            self._waiting.append((function, work))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, daemon=True, name=f"flambeau-{self._name}"
                )
                self._thread.start()
            self._changed.notify_all()
        return work

    def _check(self) -> None:
        if self._closed is not None:
            raise self._closed

    def _serve(self) -> None:
        flambeau.set_grad_enabled(False)  # of this thread
        while True:
            with self._lock:
                while self._busy or not self._waiting:
                    if self._closed is not None and not self._busy:
                        return
                    self._changed.wait()
                function, work = self._waiting.popleft()
                self._busy = True
            error = None
            try:
                function()
            except BaseException as raised:  # whoever waits for it gets it
                error = raised
            function = None  # lets go of tensors before others are told
            with self._lock:
                self._busy = False
                self._changed.notify_all()
            work._finish(error)
            work = None

    def close(self, reason: BaseException) -> None:
        """Take no more operations; those that wait fail."""
        with self._lock:
            self._closed = reason
            waiting, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for _, work in waiting:
            work._finish(reason)

    def join(self, seconds: float) -> None:
        """Wait for the thread, once closed."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)
