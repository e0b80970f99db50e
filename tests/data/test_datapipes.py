"""Data pipes: every step, one iterator at a time, shuffling as PyTorch's, shares of a loader's workers."""

import io
import pickle
import warnings

import pytest

import flambeau
from flambeau.utils import data
from flambeau.utils.data import graph, graph_settings
from flambeau.utils.data.datapipes import iter as steps
from flambeau.utils.data.datapipes import map as keyed

warnings.filterwarnings("ignore", message="Some child DataPipes are not exhausted")


def pipe(values):
    return steps.IterableWrapper(values)


def initial(word):
    return word[0]


CASES = {
    "map": (lambda: pipe(range(3)).map(lambda x: x * 2), [0, 2, 4]),
    "map a column": (lambda: pipe([(1, 2)]).map(lambda x: x + 1, input_col=1), [(1, 3)]),
    "map to a column": (lambda: pipe([(1, 2)]).map(lambda x: x + 1, input_col=1, output_col=0), [(3, 2)]),
    "map appends": (lambda: pipe([[1, 2]]).map(lambda x: x + 1, input_col=1, output_col=-1), [[1, 2, 3]]),
    "map columns": (lambda: pipe([(1, 2, 5)]).map(lambda x, y: x + y, input_col=[0, 1]), [(3, 5)]),
    "map a key": (lambda: pipe([{"a": 1}]).map(str, input_col="a", output_col="b"), [{"a": 1, "b": "1"}]),
    "filter": (lambda: pipe(range(5)).filter(lambda x: x > 2), [3, 4]),
    "filter by a column": (lambda: pipe([(1, 2), (0, 4)]).filter(bool, input_col=0), [(1, 2)]),
    "batch": (lambda: pipe(range(5)).batch(2), [[0, 1], [2, 3], [4]]),
    "batch, whole ones": (lambda: pipe(range(5)).batch(2, drop_last=True), [[0, 1], [2, 3]]),
    "unbatch": (lambda: pipe([[1, 2], [3, [4]]]).unbatch(), [1, 2, 3, [4]]),
    "unbatch all": (lambda: pipe([[1, 2], [3, [4]]]).unbatch(-1), [1, 2, 3, 4]),
    "unbatch twice": (lambda: pipe([[[1, 2]], [[3], [4]]]).unbatch(2), [1, 2, 3, 4]),
    "groupby": (lambda: pipe(["a1", "b1", "a2"]).groupby(initial), [["a1", "a2"], ["b1"]]),
    "groupby with keys": (
        lambda: pipe(["a1", "b1", "a2"]).groupby(initial, keep_key=True),
        [("a", ["a1", "a2"]), ("b", ["b1"])],
    ),
    "groupby in a small buffer": (
        lambda: pipe(["a1", "b1", "c1", "a2", "b2"]).groupby(
            initial, buffer_size=3, group_size=2, guaranteed_group_size=1
        ),
        [["a1"], ["b1"], ["c1"], ["a2"], ["b2"]],
    ),
    "concat": (lambda: pipe(range(2)).concat(pipe(range(3))), [0, 1, 0, 1, 2]),
    "zip": (lambda: pipe(range(2)).zip(pipe("abc")), [(0, "a"), (1, "b")]),
    "mux": (lambda: pipe(range(2)).mux(pipe(range(10, 19))), [0, 10, 1, 11]),
    "sampler": (lambda: steps.Sampler(range(3)), [0, 1, 2]),
    "stream": (
        lambda: steps.StreamReader(pipe([("n", io.StringIO("abc"))]), chunk=2),
        [("n", "ab"), ("n", "c")],
    ),
    "keyed map": (lambda: keyed.SequenceWrapper([1, 2]).map(str), ["1", "2"]),
    "keyed concat": (lambda: keyed.SequenceWrapper([1]).concat(keyed.SequenceWrapper([2, 3])), [1, 2, 3]),
    "keyed zip": (lambda: keyed.SequenceWrapper([1, 2]).zip(keyed.SequenceWrapper([3])), [(1, 3)]),
    "keyed batch": (lambda: keyed.SequenceWrapper(range(5)).batch(2), [[0, 1], [2, 3], [4]]),
}


@pytest.mark.parametrize("name", CASES)
def test_steps(name):
    make, expected = CASES[name]
    made = make()
    assert list(made) == expected
    if name != "stream":
        assert list(made) == expected  # a second time, too
    try:
        length = len(made)
    except TypeError:
        return
    assert length == len(expected)


def test_collate_gives_tensors():
    (batch,) = pipe([[1, 2]]).collate()
    assert flambeau.equal(batch, flambeau.tensor([1, 2]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pipe([1]).nothing, AttributeError, "has no attribute 'nothing'"),
        (
            lambda: len(pipe(iter([1]))),
            TypeError,
            "IterableWrapperIterDataPipe instance doesn't have valid length",
        ),
        (lambda: pipe([1]).map(lambda x: x, output_col=1), ValueError, "`output_col` must be None"),
        (
            lambda: pipe([1]).map(lambda x, y: x, input_col=0),
            ValueError,
            "takes 2 positional parameters, but 1 are",
        ),
        (lambda: pipe([1]).map(lambda: 1), ValueError, "takes 0 parameters, but 1 are required"),
        (lambda: list(pipe([1]).filter(lambda x: 5)), ValueError, "Boolean output is required"),
        (
            lambda: list(pipe([1]).unbatch(2)),
            IndexError,
            "exceeds the depth of the DataPipe\nThis exception is thrown by",
        ),
        (lambda: list(pipe([1]).unbatch(-2)), ValueError, "unbatch_level must be -1 or >= 0"),
        (lambda: pipe([1]).batch(0), AssertionError, "larger than 0, got 0"),
        (lambda: pipe([1]).fork(0), ValueError, "Expected `num_instances` larger than 0"),
        (
            lambda: list(pipe([1]).demux(2, lambda x: 5)[0]),
            ValueError,
            "should be between 0 and 1. 5 is returned",
        ),
        (lambda: list(pipe([1]).demux(2, lambda x: None)[0]), ValueError, "None is returned"),
        (
            lambda: list(pipe(range(9)).fork(2, buffer_size=3)[0]),
            BufferError,
            "buffer size 3 is insufficient",
        ),
        (lambda: keyed.SequenceWrapper([1]).concat(3), TypeError, "Expected all inputs to be `MapDataPipe`"),
        (
            lambda: keyed.SequenceWrapper([1]).concat(keyed.SequenceWrapper([2]))[7],
            IndexError,
            "Index 7 is out of range",
        ),
        (
            lambda: list(pipe("abcd").groupby(str, buffer_size=2, group_size=2, guaranteed_group_size=2)),
            RuntimeError,
            "Failed to group items",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_one_iterator_at_a_time():
    numbers = pipe(range(5))
    first = iter(numbers)
    assert next(first) == 0
    second = iter(numbers)
    assert next(second) == 0
    with pytest.raises(RuntimeError, match="has been invalidated because another iterator has been created"):
        next(first)
    assert next(second) == 1


def test_fork_and_demux():
    a, b = pipe(range(4)).fork(2)
    assert list(zip(a, b, strict=True)) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert (list(a), list(b)) == ([0, 1, 2, 3], [0, 1, 2, 3])
    even, odd = pipe([0, None, 1, 2]).demux(2, lambda x: x and x % 2, drop_none=True)
    assert (list(even), list(odd)) == ([0, 2], [1])
    copied, same = pipe([[1]]).fork(2, copy="deep")
    assert next(iter(copied)) is not next(iter(same))


def test_a_named_step():
    @data.functional_datapipe("plus_for_this_test")
    class Plus(data.IterDataPipe):
        def __init__(self, source, amount):
            self.source, self.amount = source, amount

        def __iter__(self):
            for value in self.source:
                yield value + self.amount

    assert list(pipe([1, 2]).plus_for_this_test(4)) == [5, 6]
    assert "plus_for_this_test" in dir(pipe([]))
    with pytest.raises(Exception, match="plus_for_this_test as it is already taken"):
        data.functional_datapipe("plus_for_this_test")(Plus)


def test_validation_and_determinism():
    class Numbers(data.IterDataPipe[int]):
        def __init__(self, values):
            self.values = values

        @data.runtime_validation
        def __iter__(self):
            yield from self.values

    assert list(Numbers([1, 2])) == [1, 2]
    with pytest.raises(RuntimeError, match="Expected an instance as subtype of <class 'int'>"):
        list(Numbers([1, "a"]))
    with data.runtime_validation_disabled():
        assert list(Numbers([1, "a"])) == [1, "a"]

    @data.argument_validation
    def count(source: data.IterDataPipe):
        return len(list(source))

    assert count(pipe([1, 2])) == 2
    with pytest.raises(TypeError, match="Expected argument 'source' as a IterDataPipe"):
        count([1, 2])

    @data.non_deterministic
    class Any(data.IterDataPipe):
        def __iter__(self):
            yield 1

    assert list(Any()) == [1]
    with data.guaranteed_datapipes_determinism(), pytest.raises(TypeError, match="Any is non-deterministic"):
        Any()


def test_batches_are_chunks_and_pipes_can_be_pickled():
    batch = next(iter(pipe([1, 2]).batch(2)))
    assert type(batch) is data.DataChunk and batch == [1, 2] and list(batch.raw_iterator()) == [1, 2]
    assert list(pickle.loads(pickle.dumps(pipe([1, 2, 3]).batch(2).map(len)))) == [2, 1]
    assert str(pipe([1]).map(str)) == "MapperIterDataPipe"


def test_graph():
    source = pipe([1])
    end = source.map(str).zip(source.batch(1))
    assert {str(p) for p in graph_settings.get_all_graph_pipes(graph.traverse_dps(end))} == {
        "ZipperIterDataPipe",
        "MapperIterDataPipe",
        "BatcherIterDataPipe",
        "IterableWrapperIterDataPipe",
    }


def test_sharding():
    shared = pipe(range(7)).sharding_filter()
    graph_settings.apply_sharding(shared, 3, 1)
    assert list(shared) == [1, 4] and len(shared) == 2
    with pytest.raises(RuntimeError, match="Sharding twice on a single pipeline"):
        graph_settings.apply_sharding(shared.map(str).sharding_filter(), 3, 1)


def test_files(tmp_path):
    for name in ("b.txt", "a.txt", "c.csv"):
        (tmp_path / name).write_text(name)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.txt").write_text("d")
    listed = steps.FileLister(str(tmp_path), "*.txt", recursive=True)
    contents = [text for _, text in listed.open_files().read_from_stream()]
    assert contents == ["a.txt", "b.txt", "d"]


@pytest.mark.parametrize("workers", [0, 2])
def test_loader(workers):
    doubled = pipe(range(10)).map(lambda x: 2 * x).sharding_filter()
    seen = [
        x for batch in data.DataLoader(doubled, batch_size=2, num_workers=workers) for x in batch.tolist()
    ]
    assert sorted(seen) == list(range(0, 20, 2))


def shuffled(library, values=10):
    wrapper = library.utils.data.datapipes.iter.IterableWrapper
    return wrapper(range(values)).shuffle(buffer_size=4).sharding_filter()


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_shuffles_anew_in_every_epoch(workers):
    loader = data.DataLoader(
        shuffled(flambeau, 40),
        batch_size=5,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    epochs = [[x for batch in loader for x in batch.tolist()] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40))
    assert epochs[0] != epochs[1]
    still = data.DataLoader(shuffled(flambeau), batch_size=5, shuffle=False)
    assert [batch.tolist() for batch in still] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def orders(library, workers):
    import torch.utils.data.datapipes.iter  # noqa: F401

    library.manual_seed(7)
    found = [
        list(shuffled(library)),
        list(library.utils.data.datapipes.map.SequenceWrapper(range(9)).shuffle()),
    ]
    for shuffle in (None, True, False):
        options = {
            "batch_size": 5,
            "shuffle": shuffle,
            "num_workers": workers,
            "persistent_workers": workers > 0,
        }
        loader = library.utils.data.DataLoader(shuffled(library), **options)
        found += [[batch.tolist() for batch in loader] for _ in range(2)]
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_orders_are_pytorch_s(workers):
    torch = pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")
    assert orders(flambeau, workers) == orders(torch, workers)
