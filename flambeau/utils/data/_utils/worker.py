"""What a loader's worker process does."""

from __future__ import annotations

import os
import queue
import random
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import flambeau

from .fetch import make_fetcher


@dataclass(frozen=True)
class WorkerInfo:
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


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a loader's worker process, what it knows of itself; elsewhere None."""
    return _info


@dataclass(frozen=True)
class Resume:
    """Asks a persistent worker to start another pass over the dataset."""

    seed: int


class EndOfDataset:
    """Says that a worker's dataset by iteration has no more samples."""


class WorkerError:
    """An exception on its way to the parent process."""

    def __init__(self, error: BaseException, where: str):
        self.kind = type(error)
        self.where = where
        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))

    def reraise(self):
        """Raise the exception again, with its traceback in its text."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            message = _Verbatim(message)
        try:
            error = self.kind(message)
        except Exception:  # exceptions may want other arguments
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """A text whose repr, which KeyError shows, is itself."""

    def __repr__(self):
        return str(self)


def _seed_everything(seed: int, worker_id: int, base_seed: int) -> None:
    random.seed(seed)
    flambeau.manual_seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        entropy = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
        numpy.random.seed(numpy.random.SeedSequence(entropy).generate_state(4))


def worker_loop(
    by_iteration,
    dataset,
    indices,
    results,
    auto_collation,
    collate_fn,
    drop_last,
    base_seed,
    init_fn,
    worker_id,
    count,
) -> None:
    """Fetch the batches that `indices` asks for, put them into `results`, until told to end.

    A request is a number and the batch's indices; a result is the number and the batch, or what stands in its place: a
    `WorkerError` or an `EndOfDataset`.
    """
    global _info
    parent = os.getppid()
    flambeau.set_num_threads(1)
    seed = base_seed + worker_id
    _seed_everything(seed, worker_id, base_seed)
    _info = WorkerInfo(id=worker_id, num_workers=count, seed=seed, dataset=dataset)
    where = f"in DataLoader worker process {worker_id}"
    failure = fetch = None
    try:
        if init_fn is not None:
            init_fn(worker_id)
        fetch = make_fetcher(by_iteration, dataset, auto_collation, collate_fn, drop_last)
    except Exception as error:
        failure = WorkerError(error, where)
    while os.getppid() == parent:
        try:
            request = indices.get(timeout=5)
        except queue.Empty:
            continue  # look whether the parent is still there
        if request is None:
            break
        if isinstance(request, Resume):
            # The generators go on where they are, as PyTorch's do; only a dataset by iteration starts again.
            if failure is None and by_iteration:
                try:
                    fetch = make_fetcher(by_iteration, dataset, auto_collation, collate_fn, drop_last)
                except Exception as error:
                    failure = WorkerError(error, where)
            results.put((request, worker_id))
            continue
        number, index = request
        if failure is not None:
            result, failure = failure, None
        else:
            try:
                result = fetch(index)
            except StopIteration as error:
                result = EndOfDataset() if by_iteration else WorkerError(error, where)
            except KeyboardInterrupt:
                break
            except Exception as error:
                result = WorkerError(error, where)
        results.put((number, _packed(result, where)))
    # What the parent will not read any more must not keep this process from ending.
    results.cancel_join_thread()
    results.close()


def _packed(result, where):
    """Pickle here, where an error has a place to go: a queue pickles in a thread of its own, which could only print it."""
    from multiprocessing.reduction import ForkingPickler

    try:
        return bytes(ForkingPickler.dumps(result))
    except Exception as error:
        return bytes(ForkingPickler.dumps(WorkerError(error, where)))
