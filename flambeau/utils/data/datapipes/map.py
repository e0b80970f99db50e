"""Standard steps of pipes whose samples have keys."""

from __future__ import annotations

import copy
import random
import warnings

import flambeau

from ._decorator import functional_datapipe
from .datapipe import DataChunk, IterDataPipe, MapDataPipe, name_as_in_pytorch

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]


def _checked(pipes, kind, step):
    if not pipes:
        raise ValueError(f"Expected at least one DataPipe, but got nothing in {step}")
    if not all(isinstance(pipe, kind) for pipe in pipes):
        raise TypeError(f"Expected all inputs to be `{kind.__name__}`")
    return pipes


def _same(value):
    return value


class SequenceWrapper(MapDataPipe):
    """A sequence or mapping as a pipe; a copy of it, unless `deepcopy` is False."""

    def __init__(self, sequence, deepcopy=True):
        if deepcopy:
            try:
                sequence = copy.deepcopy(sequence)
            except TypeError:
                warnings.warn(
                    "The input sequence can not be deepcopied, please be aware of in-place modification would affect "
                    "source data",
                    stacklevel=2,
                )
        self.sequence = sequence

    def __getitem__(self, index):
        return self.sequence[index]

    def __len__(self):
        return len(self.sequence)


@functional_datapipe("map")
class Mapper(MapDataPipe):
    """``fn`` of every sample."""

    def __init__(self, datapipe, fn=_same):
        self.datapipe = datapipe
        self.fn = fn

    def __getitem__(self, index):
        return self.fn(self.datapipe[index])

    def __len__(self):
        return len(self.datapipe)


@functional_datapipe("concat")
class Concater(MapDataPipe):
    """Pipes one after another, with the keys 0, 1, ..."""

    def __init__(self, *datapipes):
        self.datapipes = _checked(datapipes, MapDataPipe, "concat")

    def __getitem__(self, index):
        offset = 0
        for pipe in self.datapipes:
            if index - offset < len(pipe):
                return pipe[index - offset]
            offset += len(pipe)
        raise IndexError(f"Index {index} is out of range.")

    def __len__(self):
        return sum(len(pipe) for pipe in self.datapipes)


@functional_datapipe("zip")
class Zipper(MapDataPipe):
    """Tuples of the samples that several pipes have for a key."""

    def __init__(self, *datapipes):
        self.datapipes = _checked(datapipes, MapDataPipe, "zip")

    def __getitem__(self, index):
        found = []
        for pipe in self.datapipes:
            try:
                found.append(pipe[index])
            except IndexError as error:
                raise IndexError(
                    f"Index {index} is out of range for one of the input MapDataPipes {pipe}."
                ) from error
        return tuple(found)

    def __len__(self):
        return min(len(pipe) for pipe in self.datapipes)


@functional_datapipe("batch")
class Batcher(MapDataPipe):
    """Lists of `batch_size` samples; the last may be shorter, or with `drop_last` is left out."""

    def __init__(self, datapipe, batch_size, drop_last=False, wrapper_class=DataChunk):
        if batch_size <= 0:
            raise AssertionError(f"Batch size is required to be larger than 0, got {batch_size}")
        self.datapipe = datapipe
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.wrapper_class = wrapper_class

    def __getitem__(self, index):
        first = index * self.batch_size
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of bound.")
        last = min(first + self.batch_size, len(self.datapipe))
        return self.wrapper_class([self.datapipe[i] for i in range(first, last)])

    def __len__(self):
        whole, rest = divmod(len(self.datapipe), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


class Shuffler(IterDataPipe):
    """The samples in a random order, which every iteration draws anew; keys are 0, 1, ... or `indices`."""

    def __init__(self, datapipe, *, indices=None):
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else indices
        self._enabled = True
        self._seed = None
        self._rng = random.Random()
        self._order = list(self.indices)

    def set_shuffle(self, shuffle=True):
        """Turn shuffling on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed):
        """The seed of the next iteration."""
        self._seed = seed
        return self

    def reset(self):
        if self._enabled:
            if self._seed is None:
                self._seed = int(flambeau.empty((), dtype=flambeau.int64).random_().item())
            self._rng.seed(self._seed)
            self._seed = None
            self._order = self._rng.sample(self.indices, len(self.indices))[
                ::-1
            ]  # PyTorch takes them from the end

    def __iter__(self):
        for index in self._order if self._enabled else self.indices:
            yield self.datapipe[index]

    def __len__(self):
        return len(self.datapipe)


# PyTorch's names of the classes, which show when a pipe is printed and in pickles.
name_as_in_pytorch(globals(), MapDataPipe, SequenceWrapper, Mapper, Concater, Zipper, Batcher)
name_as_in_pytorch(globals(), IterDataPipe, Shuffler)
MapDataPipe.register_datapipe_as_function("shuffle", Shuffler)
