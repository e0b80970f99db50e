"""Datasets, samplers and loaders."""

import collections
import json
import os
import pathlib
import random
import time
import warnings

import pytest

import flambeau
from flambeau.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden" / "data.json").read_text())


class Numbers(Dataset):
    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        return i


class Counting(IterableDataset):
    def __init__(self, size=7):
        self.size = size

    def __iter__(self):
        info = get_worker_info()
        step, start = (1, 0) if info is None else (info.num_workers, info.id)
        return iter(range(start, self.size, step))


def lists(loader):
    return [batch.tolist() for batch in loader]


def test_random_orders_are_pytorchs():
    """Against golden/data.json, which golden/data_cases.py made with PyTorch."""
    import sys

    sys.path.insert(0, str(pathlib.Path(__file__).parent / "golden"))
    try:
        from data_cases import results
    finally:
        sys.path.pop(0)
    found = json.loads(json.dumps(results(flambeau)))
    assert found.keys() == GOLDEN.keys()
    for name, wanted in GOLDEN.items():
        assert found[name] == wanted, name


def test_batches():
    assert lists(DataLoader(Numbers(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Numbers(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Numbers(3), batch_size=None)) == [0, 1, 2]
    assert lists(DataLoader(Numbers(5), batch_sampler=[[4, 0], [1]])) == [[4, 0], [1]]
    assert lists(DataLoader(Numbers(5), sampler=[3, 1], batch_size=2)) == [[3, 1]]
    assert lists(DataLoader(Counting(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Counting(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Numbers(4), batch_size=2, collate_fn=list)) == [[0, 1], [2, 3]]
    assert [len(DataLoader(Numbers(5), batch_size=2, drop_last=drop)) for drop in (False, True)] == [3, 2]
    x, y = next(
        iter(DataLoader(TensorDataset(flambeau.arange(6.0).reshape(3, 2), flambeau.arange(3)), batch_size=2))
    )
    assert x.tolist() == [[0, 1], [2, 3]] and y.tolist() == [0, 1]


def test_getitems_is_called_once_per_batch():
    class Whole(Numbers):
        calls = 0

        def __getitems__(self, indices):
            self.calls += 1
            return [i * 10 for i in indices]

    data = Whole(4)
    assert lists(DataLoader(data, batch_size=2)) == [[0, 10], [20, 30]]
    assert data.calls == 2
    assert lists(DataLoader(Subset(data, [3, 0]), batch_size=2)) == [[30, 0]]


def test_combined_datasets():
    both = Numbers(3) + Numbers(2)
    assert [both[i] for i in range(5)] == [0, 1, 2, 0, 1] and both[-1] == 1 and len(both) == 5
    with pytest.raises(ValueError, match="absolute value of index should not exceed"):
        both[-6]
    assert list(ChainDataset([Counting(2), Counting(1)])) == [0, 1, 0]
    assert list(Counting(1) + Counting(2)) == [0, 0, 1]
    stack = StackDataset(a=Numbers(3), b=TensorDataset(flambeau.arange(3)))
    assert stack[1]["a"] == 1 and len(stack) == 3
    assert StackDataset(Numbers(2), Numbers(2)).__getitems__([1, 0]) == [(1, 1), (0, 0)]
    assert Subset(Numbers(5), [4, 2])[1] == 2
    for call, error, text in [
        (lambda: TensorDataset(flambeau.ones(2), flambeau.ones(3)), AssertionError, "Size mismatch"),
        (lambda: ConcatDataset([]), AssertionError, "should not be an empty iterable"),
        (lambda: ConcatDataset([Counting()]), AssertionError, "does not support IterableDataset"),
        (lambda: StackDataset(), ValueError, "At least one dataset"),
        (lambda: StackDataset([1], b=[1]), ValueError, "both"),
        (lambda: StackDataset([1], [1, 2]), ValueError, "Size mismatch"),
        (lambda: Dataset()[0], NotImplementedError, "should implement __getitem__"),
        (lambda: random_split(range(3), [1, 1]), ValueError, "Sum of input lengths does not equal"),
        (lambda: random_split(range(3), [-0.5, 1.5]), ValueError, "not between 0 and 1"),
    ]:
        with pytest.raises(error, match=text):
            call()
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(range(1), [0.5, 0.5])


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: RandomSampler(range(3), num_samples=-1), "num_samples should be a positive integer"),
        (lambda: RandomSampler([]), "num_samples should be a positive integer"),
        (lambda: BatchSampler(range(3), 0, True), "batch_size should be a positive integer"),
        (lambda: BatchSampler(range(3), 2, 1), "drop_last should be a boolean"),
        (lambda: WeightedRandomSampler([1.0], 0), "num_samples should be a positive integer"),
        (lambda: WeightedRandomSampler([[1.0]], 1), "weights should be a 1d sequence"),
        (lambda: DistributedSampler(range(3), num_replicas=2, rank=2), "Invalid rank 2"),
        (lambda: DataLoader(Numbers(), num_workers=-1), "num_workers option should be non-negative"),
        (lambda: DataLoader(Numbers(), timeout=-1), "timeout option should be non-negative"),
        (lambda: DataLoader(Numbers(), prefetch_factor=2), "prefetch_factor option could only be specified"),
        (lambda: DataLoader(Numbers(), persistent_workers=True), "persistent_workers option needs"),
        (lambda: DataLoader(Numbers(), shuffle=True, sampler=[1]), "mutually exclusive with shuffle"),
        (
            lambda: DataLoader(Numbers(), batch_sampler=[[1]], batch_size=2),
            "batch_sampler option is mutually exclusive",
        ),
        (lambda: DataLoader(Numbers(), batch_size=None, drop_last=True), "disables auto-batching"),
        (lambda: DataLoader(Numbers(), batch_size=0), "batch_size should be a positive integer"),
        (lambda: DataLoader(Counting(), shuffle=True), "expected unspecified shuffle option"),
        (lambda: DataLoader(Counting(), sampler=[1]), "expected unspecified sampler option"),
        (
            lambda: setattr(DataLoader(Numbers()), "batch_size", 3),
            "should not be set after DataLoader is initialized",
        ),
        (
            lambda: DataLoader(Numbers(), multiprocessing_context="spawn"),
            "multiprocessing_context can only be used",
        ),
    ],
)
def test_bad_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_samplers_by_process():
    parts = [list(DistributedSampler(range(10), num_replicas=3, rank=i, shuffle=False)) for i in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
    sampler = DistributedSampler(range(10), num_replicas=2, rank=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler) and len(sampler) == 5
    with pytest.raises(NotImplementedError):
        iter(Sampler())


def test_collate():
    Pair = collections.namedtuple("Pair", "a b")
    pair = default_collate([Pair(1, 2.0), Pair(3, 4.0)])
    assert type(pair) is Pair and pair.a.tolist() == [1, 3] and pair.b.dtype is flambeau.float64
    assert default_collate([{"a": "x"}, {"a": "y"}]) == {"a": ["x", "y"]}
    assert type(default_collate([collections.OrderedDict(a=1)])) is collections.OrderedDict
    assert [type(part) for part in default_collate([(1, "a"), (2, "b")])] == [flambeau.Tensor, tuple]
    assert default_collate([[1, 2], [3, 4]])[1].tolist() == [2, 4]
    assert default_collate([True, False]).dtype is flambeau.bool
    assert default_collate([flambeau.ones(2), flambeau.zeros(2)]).shape == (2, 2)
    for batch, error, text in [
        ([object()], TypeError, "default_collate: batch must contain tensors, numpy arrays, numbers"),
        ([[1], [1, 2]], RuntimeError, "equal size"),
        ([flambeau.ones(1), flambeau.ones(2)], RuntimeError, "stack expects each tensor to be equal size"),
    ]:
        with pytest.raises(error, match=text):
            default_collate(batch)


def test_collate_numpy():
    np = pytest.importorskip("numpy", reason="arrays of NumPy are what is tested")
    assert default_collate([np.ones(2), np.zeros(2)]).tolist() == [[1, 1], [0, 0]]
    assert default_collate([np.float32(1), np.float32(2)]).dtype is flambeau.float32
    with pytest.raises(TypeError, match="default_collate"):
        default_collate([np.array(["a"])])
    converted = default_convert([np.ones(2), "a", 1, {"b": np.int32(3)}, (1, np.array(["s"]))])
    assert (
        converted[0].dtype is flambeau.float64
        and converted[1:3] == ["a", 1]
        and converted[3]["b"].item() == 3
    )
    assert isinstance(converted[4][1], np.ndarray)


def test_collate_is_open_to_new_types():
    from flambeau.utils.data._utils.collate import collate, default_collate_fn_map

    class Mine:
        pass

    functions = {**default_collate_fn_map, Mine: lambda batch, *, collate_fn_map: len(batch)}
    assert collate([Mine(), Mine()], collate_fn_map=functions) == 2
    assert collate([[Mine(), 1]], collate_fn_map=functions)[0] == 1


def test_length_of_a_dataset_by_iteration():
    class Liar(Counting):
        def __len__(self):
            return 3

    loader = DataLoader(Liar(7), batch_size=1)
    assert len(loader) == 3
    with pytest.warns(UserWarning, match="Length of IterableDataset"):
        list(loader)
    with pytest.raises(TypeError):
        len(DataLoader(Counting()))


def test_a_length_asked_for_during_the_pass_does_not_count(recwarn):
    class Short(Counting):
        def __len__(self):
            return 2

    assert len(list(DataLoader(Short(7)))) == 7  # list() asks for the length behind the iterator's start
    assert not recwarn


def test_more_workers_than_processors_are_warned_of():
    count = len(os.sched_getaffinity(0))
    with pytest.warns(UserWarning, match=f"suggested max number of worker in current system is {count}"):
        DataLoader([1], num_workers=count + 1)


# ---- worker processes ------------------------------------------------------------------------------------------------


class Slow(Numbers):
    def __getitem__(self, i):
        if i == 0:
            time.sleep(0.5)
        return i


class Failing(Numbers):
    def __getitem__(self, i):
        if i == 2:
            raise KeyError("no item two")
        return i


class Dying(Numbers):
    def __getitem__(self, i):
        os._exit(3)


class Telling(Numbers):
    def __getitem__(self, i):
        info = get_worker_info()
        return info.id, info.num_workers, info.seed, flambeau.initial_seed(), random.random()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same_batches(context):
    data = TensorDataset(flambeau.arange(40.0).reshape(20, 2), flambeau.arange(20))
    found = []
    for workers in (0, 2):
        flambeau.manual_seed(3)
        kwargs = {"multiprocessing_context": context} if workers else {}
        loader = DataLoader(data, batch_size=3, shuffle=True, num_workers=workers, **kwargs)
        found.append([(x.tolist(), y.tolist()) for x, y in loader])
    assert found[0] == found[1]


def test_workers_know_themselves():
    flambeau.manual_seed(0)
    rows = list(DataLoader(Telling(4), num_workers=2, batch_size=None, collate_fn=tuple))
    assert [row[:2] for row in rows] == [(0, 2), (1, 2), (0, 2), (1, 2)]
    assert rows[1][2] == rows[0][2] + 1 and all(row[2] == row[3] for row in rows)
    assert len({row[4] for row in rows}) == 4


def test_a_dataset_that_is_its_own_iterator_goes_on_from_batch_to_batch():
    class Own(IterableDataset):
        def __iter__(self):
            self.left = iter(range(5))
            return self

        def __next__(self):
            return next(self.left)

    for workers in (0, 1):
        loader = DataLoader(Own(), batch_size=2, num_workers=workers)
        for _ in range(2):
            assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


def test_an_epoch_that_is_left_early_can_end_its_workers():
    iterator = iter(DataLoader(TensorDataset(flambeau.arange(8)), batch_size=2, num_workers=1))
    next(iterator)
    iterator._shutdown_workers()
    assert iterator._crew.closed
    iterator._shutdown_workers()


def test_worker_errors():
    for context in ("fork", "spawn"):
        loader = DataLoader(Failing(), num_workers=2, multiprocessing_context=context)
        with pytest.raises(KeyError, match="in DataLoader worker process 0") as info:
            list(loader)
        assert "no item two" in str(info.value) and "__getitem__" in str(info.value)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(DataLoader(Dying(), num_workers=1))
    with pytest.raises(RuntimeError, match="timed out after"):
        list(DataLoader(Slow(), num_workers=1, timeout=0.1))
    with pytest.raises((TypeError, AttributeError, RuntimeError, Exception), match="(?i)pickle|local object"):
        list(DataLoader(Numbers(), num_workers=1, collate_fn=lambda batch: lambda: 0))


def test_worker_init_and_persistence():
    def start(worker_id):
        get_worker_info().dataset.size = 100 + worker_id

    class Sized(Numbers):
        def __getitem__(self, i):
            return self.size, os.getpid()

    loader = DataLoader(
        Sized(4), num_workers=2, worker_init_fn=start, persistent_workers=True, batch_size=None
    )
    first, second = ([tuple(int(v) for v in row) for row in loader] for _ in range(2))
    assert first == second and {row[0] for row in first} == {100, 101}
    next(iter(loader))  # an epoch that is not finished
    assert [tuple(int(v) for v in row) for row in loader] == first


def test_workers_iterating():
    for persistent in (False, True):
        loader = DataLoader(Counting(11), num_workers=3, batch_size=2, persistent_workers=persistent)
        for _ in range(2):
            assert sorted(sum(lists(loader), [])) == list(range(11))


def test_order_of_arrival():
    assert sum(lists(DataLoader(Slow(6), num_workers=2)), []) == list(range(6))
    arrived = sum(lists(DataLoader(Slow(6), num_workers=2, in_order=False)), [])
    assert sorted(arrived) == list(range(6)) and arrived[0] != 0


def test_pin_memory_is_honest():
    with pytest.warns(UserWarning, match="no accelerator is found"):
        loader = DataLoader(Numbers(2), pin_memory=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lists(loader) == [[0], [1]]


def test_subset_random_sampler():
    assert sorted(SubsetRandomSampler([5, 6, 7])) == [5, 6, 7]
