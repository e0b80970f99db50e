"""What a loader's worker process does."""

from __future__ import annotations

import os
import select
from typing import Any, NamedTuple

import flambeau
from flambeau import _C

from .seeding import seed_worker


class WorkerInfo(NamedTuple):
    """What a worker process knows of itself.

    Attributes:
        id: which worker this is, from 0 on.
        num_workers: how many there are.
        seed: what its random generators were seeded with.
        dataset: its copy of the dataset.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a loader's worker process, what it knows of itself; elsewhere None."""
    return _worker_info


class Resume:
    """Asks a persistent worker to start another pass over the dataset; it answers with the same."""

    def __init__(self, shared_seed: int | None = None):
        self.shared_seed = shared_seed  # of a data pipe's shuffling


class EndOfDataset:
    """Says that a worker's dataset by iteration has no more samples."""


class WorkerError:
    """An exception on its way to the parent process."""

    def __init__(self, error: BaseException, where: str):
        import traceback

        self.kind = type(error)
        self.where = where
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))

    def without_kind(self) -> WorkerError:
        """For an exception whose class can't be sent: it is named in the text only."""
        self.text, self.kind = f"{self.kind.__name__}: {self.text}", RuntimeError
        return self

    def reraise(self):
        """Raise the exception again, with its traceback in its text."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            message = _Verbatim(message)
        try:
            error = self.kind(message=message) if hasattr(self.kind, "message") else self.kind(message)
        except Exception:  # exceptions may want other arguments
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """A text whose repr, which KeyError shows, is itself."""

    def __repr__(self):
        return str(self)


class WorkerTask(NamedTuple):
    """All that a worker is told when it starts."""

    by_iteration: bool
    dataset: Any
    auto_collation: bool
    collate_fn: Any
    drop_last: bool
    base_seed: int
    init_fn: Any
    worker_id: int
    count: int

    def make_fetcher(self):
        from .fetch import make_fetcher

        return make_fetcher(
            self.by_iteration, self.dataset, self.auto_collation, self.collate_fn, self.drop_last
        )


def worker_loop(task: WorkerTask, sock) -> None:
    """Fetch the batches that are asked for over the socket, until it closes.

    A request is a number and the batch's indices. A result is the number, the batch or what stands in its place (a
    `WorkerError` or an `EndOfDataset`), and the segments that the parent may forget.
    """
    from .channel import Channel, Closed

    channel = Channel(sock)
    try:
        _Worker(task, channel).run()
    except (Closed, KeyboardInterrupt):
        pass  # the parent is gone, or was interrupted too and is the one to say so


class _Worker:
    def __init__(self, task: WorkerTask, channel):
        global _worker_info
        self._task = task
        self._channel = channel
        self._parent = os.getppid()
        self._where = f"in DataLoader worker process {task.worker_id}"
        self._failure: WorkerError | None = None
        self._fetch = None
        flambeau.set_num_threads(1)
        seed = seed_worker(task.base_seed, task.worker_id)
        _worker_info = WorkerInfo(id=task.worker_id, num_workers=task.count, seed=seed, dataset=task.dataset)

    def run(self) -> None:
        self._prepare(first=True)
        while self._wait():
            request = self._channel.receive()
            if isinstance(request, Resume):
                # The generators go on where they are, as PyTorch's do; only a dataset by iteration starts again.
                if request.shared_seed is not None:
                    from .pipes import seed

                    seed(self._task.dataset, request.shared_seed)
                self._prepare(first=False)
                self._channel.send(request)
            else:
                number, index = request
                self._send(number, self._result(index))

    def _wait(self) -> bool:
        """Wait for a request; False if the parent is gone without our socket's having noticed."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not poll.poll(5000):
            if os.getppid() != self._parent:
                return False
        return True

    def _prepare(self, first: bool) -> None:
        try:
            if first and self._task.init_fn is not None:
                self._task.init_fn(self._task.worker_id)
            if first or self._task.by_iteration:
                self._fetch = self._task.make_fetcher()
        except Exception as error:
            self._failure = WorkerError(error, self._where)

    def _result(self, index):
        if self._failure is not None:
            failure, self._failure = self._failure, None
            return failure
        try:
            return self._fetch(index)
        except StopIteration as error:
            return EndOfDataset() if self._task.by_iteration else WorkerError(error, self._where)
        except Exception as error:
            return WorkerError(error, self._where)

    def _send(self, number: int, result) -> None:
        from .channel import Closed

        forgotten = _C._segments_given_up()
        try:
            self._channel.send((number, result, forgotten))
            return
        except Closed:
            raise
        except Exception as error:  # what it cannot pickle
            failure = result if isinstance(result, WorkerError) else WorkerError(error, self._where)
        try:
            self._channel.send((number, failure, forgotten))
        except Closed:
            raise
        except Exception:
            self._channel.send((number, failure.without_kind(), forgotten))
