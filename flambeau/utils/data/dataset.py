"""What a loader reads from: datasets by index and datasets by iteration, and ways to combine them."""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import flambeau

_T_co = TypeVar("_T_co", covariant=True)


class Dataset(Generic[_T_co]):
    """A dataset by index. Subclasses define ``__getitem__`` and, for most uses, ``__len__``.

    A subclass may define ``__getitems__(indices)``, which a loader then calls once for a whole batch.
    """

    def __getitem__(self, index) -> _T_co:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[_T_co], Iterable[_T_co]):
    """A dataset by iteration. Subclasses define ``__iter__``.

    With several worker processes each has a copy: use `get_worker_info` in ``__iter__`` to divide the work.
    """

    def __add__(self, other: Dataset) -> ChainDataset:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple]):
    """Rows of tensors: item ``i`` is ``(tensors[0][i], tensors[1][i], ...)``.

    Args:
        tensors: tensors with the same size in their first dimension.

    >>> from flambeau.utils.data import TensorDataset
    >>> TensorDataset(flambeau.arange(3), flambeau.ones(3))[1]
    (tensor(1), tensor(1.))
    """

    def __init__(self, *tensors):
        assert all(tensor.size(0) == tensors[0].size(0) for tensor in tensors), (
            "Size mismatch between tensors: first dimensions are "
            + ", ".join(str(t.size(0)) for t in tensors)
        )
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset):
    """Datasets side by side: item ``i`` is a tuple (or, for keyword arguments, a dict) of everyone's item ``i``."""

    def __init__(self, *args, **kwargs):
        if args and kwargs:
            raise ValueError(
                "StackDataset: give datasets by position (items are tuples) or by keyword (items are dicts), not both. "
                "Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like input/output"
            )
        self.datasets = args or kwargs
        if not self.datasets:
            raise ValueError("At least one dataset should be passed")
        members = self._members()
        self._length = len(members[0])
        if any(len(member) != self._length for member in members):
            raise ValueError(
                f"Size mismatch between datasets: lengths are {[len(member) for member in members]}"
            )

    def _members(self) -> list:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _combine(self, values):
        return (
            dict(zip(self.datasets, values, strict=True))
            if isinstance(self.datasets, dict)
            else tuple(values)
        )

    def __getitem__(self, index):
        return self._combine([member[index] for member in self._members()])

    def __getitems__(self, indices: list) -> list:
        columns = []
        for member in self._members():
            if callable(getattr(member, "__getitems__", None)):
                items = member.__getitems__(indices)
                if len(items) != len(indices):
                    raise ValueError(
                        "Nested dataset's output size mismatch. "
                        f"Expected {len(indices)}, got {len(items)}: __getitems__ returns one item per index"
                    )
            else:
                items = [member[index] for index in indices]
            columns.append(items)
        return [self._combine(row) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[_T_co]):
    """Datasets one after the other.

    Args:
        datasets: datasets by index.
    """

    def __init__(self, datasets: Iterable[Dataset]):
        self.datasets = list(datasets)
        assert self.datasets, "datasets should not be an empty iterable"
        for dataset in self.datasets:
            assert not isinstance(dataset, IterableDataset), "ConcatDataset does not support IterableDataset"
        self.cumulative_sizes = list(itertools.accumulate(len(dataset) for dataset in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index):
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        start = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - start]


class ChainDataset(IterableDataset):
    """Datasets by iteration, one after the other."""

    def __init__(self, datasets: Iterable[Dataset]):
        super().__init__()
        self.datasets = datasets

    def __iter__(self):
        for dataset in self.datasets:
            assert isinstance(dataset, IterableDataset), "ChainDataset only supports IterableDataset"
            yield from dataset

    def __len__(self) -> int:
        total = 0
        for dataset in self.datasets:
            assert isinstance(dataset, IterableDataset), "ChainDataset only supports IterableDataset"
            total += len(dataset)
        return total


class Subset(Dataset[_T_co]):
    """Some items of a dataset.

    Args:
        dataset: where the items are.
        indices: which of them, in which order.
    """

    def __init__(self, dataset: Dataset[_T_co], indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index):
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list) -> list:
        chosen = [self.indices[i] for i in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(chosen)
        return [self.dataset[i] for i in chosen]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Dataset, lengths: Sequence, generator=None) -> list[Subset]:
    """Divide a dataset at random into parts that do not overlap.

    Args:
        dataset: what to divide.
        lengths: how many items each part gets; or fractions that sum to 1, where what rounding leaves is given out one
            by one from the first part on.
        generator: where the permutation comes from; None is the default generator.

    >>> from flambeau.utils.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        counts = []
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
            counts.append(math.floor(len(dataset) * fraction))
        for i in range(len(dataset) - sum(counts)):
            counts[i % len(counts)] += 1
        lengths = counts
        for i, length in enumerate(lengths):
            if length == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=2
                )
    if sum(lengths) != len(dataset):
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"(They sum to {sum(lengths)}, the dataset has {len(dataset)} items.)"
        )
    order = flambeau.randperm(sum(lengths), generator=generator).tolist()
    ends = itertools.accumulate(lengths)
    return [Subset(dataset, order[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
