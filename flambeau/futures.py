"""Values that are not there yet."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
S = TypeVar("S")


class Future(Generic[T]):
    """A value that some thread will set, or an exception in its place.

    >>> future = flambeau.futures.Future()
    >>> doubled = future.then(lambda done: 2 * done.value())
    >>> future.set_result(3)
    >>> doubled.wait()
    6
    """

    def __init__(self, *, devices=None):
        self._changed = threading.Condition()
        self._is_done = False
        self._value = None
        self._error: BaseException | None = None
        self._callbacks: list = []

    def done(self) -> bool:
        """Whether there is a value, or an exception."""
        return self._is_done

    def wait(self) -> T:
        """The value, once it is there; an exception that was set is raised."""
        with self._changed:
            while not self._is_done:
                self._changed.wait()
        return self.value()

    def value(self) -> T:
        """The value, which has to be there already."""
        if not self._is_done:
            raise RuntimeError(
                "Future.value() was called before the future was completed: call wait() instead"
            )
        if self._error is not None:
            raise self._error
        return self._value

    def then(self, callback) -> Future[S]:
        """A future for ``callback(self)``, which is called when this one is done: at once if it is already."""
        result: Future = Future()

        def run(done) -> None:
            try:
                value = callback(done)
            except BaseException as error:
                result.set_exception(error)
            else:
                result.set_result(value)

        self.add_done_callback(run)
        return result

    def add_done_callback(self, callback) -> None:
        """Call ``callback(self)`` when this future is done: at once if it is already. Its errors are not seen."""
        with self._changed:
            if not self._is_done:
                self._callbacks.append(callback)
                return
        self._call(callback)

    def _call(self, callback) -> None:
        try:
            callback(self)
        except Exception as error:
            import warnings

            warnings.warn(f"a callback of a Future raised {type(error).__name__}: {error}", stacklevel=2)

    def _complete(self, value, error) -> None:
        with self._changed:
            if self._is_done:
                raise RuntimeError(
                    "Attempting to mark a completed Future as complete again. Note that a Future can only be marked "
                    "completed once."
                )
            self._value, self._error, self._is_done = value, error, True
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        for callback in callbacks:
            self._call(callback)

    def set_result(self, result: T) -> None:
        """Complete the future with a value."""
        self._complete(result, None)

    def set_exception(self, result) -> None:
        """Complete the future with an exception, which `wait` and `value` raise."""
        if not isinstance(result, BaseException):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._complete(None, result)


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A future of the list of these futures, done when they all are; it fails as the first of them that failed did.

    >>> first, second = flambeau.futures.Future(), flambeau.futures.Future()
    >>> both = flambeau.futures.collect_all([first, second])
    >>> first.set_result(1), second.set_result(2)
    (None, None)
    >>> [future.value() for future in both.wait()]
    [1, 2]
    """
    result: Future = Future()
    left = len(futures)
    lock = threading.Lock()
    if not futures:
        result.set_result([])

    def count(_) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            failed = next((future for future in futures if future._error is not None), None)
            if failed is not None:
                result.set_exception(failed._error)
            else:
                result.set_result(futures)

    for future in futures:
        future.add_done_callback(count)
    return result


def wait_all(futures: list[Future]) -> list:
    """The values of all these futures, once they are all done."""
    return [future.wait() for future in collect_all(futures).wait()]
