"""Loaders' worker processes: memory that is shared and used again, deaths, ends, seeds. Every wait has an end."""

import ctypes
import faulthandler
import gc
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

import flambeau
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

ROOT = pathlib.Path(__file__).parent.parent


class Images(Dataset):
    def __init__(self, count=64, size=(3, 16, 16)):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        return flambeau.full(self.size, float(i)), i


def run(code, timeout=30, **kwargs):
    """A program of its own: (status, output, errors)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        **kwargs,
    )
    return done.returncode, done.stdout, done.stderr


def test_batches_arrive_in_shared_memory_and_keep_their_values():
    loader = DataLoader(Images(), batch_size=8, num_workers=2)
    kept = list(loader)  # all at once: none may be written over while it is held
    for number, (x, y) in enumerate(kept):
        assert x.is_shared() and x.is_contiguous() and x.shape == (8, 3, 16, 16)
        assert y.tolist() == list(range(8 * number, 8 * number + 8))
        assert x[:, 0, 0, 0].tolist() == [float(i) for i in y.tolist()]
    kept[0][0].fill_(-1)
    assert kept[1][0][0, 0, 0, 0].item() == 8


def test_memory_comes_back_to_the_workers():
    loader = DataLoader(Images(400), batch_size=8, num_workers=2, persistent_workers=True)
    addresses = {x.data_ptr() for _ in range(2) for x, _ in loader}
    assert len(addresses) <= 12  # of 100 batches


def test_memory_that_was_held_for_long_is_given_back():
    loader = DataLoader(Images(300), batch_size=1, num_workers=1, persistent_workers=True)
    loader.collate_fn = lambda batch: flambeau.ones(3000) * batch[0][1]
    held = list(loader)
    assert len(loader._iterator._crew._channels[0]._segments) >= 300
    del held
    assert [int(x[0]) for x in loader] == list(range(300))
    assert len(loader._iterator._crew._channels[0]._segments) < 60


def test_fast_way_of_tensor_datasets():
    x, y = flambeau.randn(20, 5), flambeau.arange(20)
    data = TensorDataset(x, y)
    order = [3, 19, 0, 3]
    for workers in (0, 1):
        a, b = next(iter(DataLoader(data, batch_sampler=[order], num_workers=workers)))
        assert flambeau.equal(a, x[order]) and b.tolist() == order
    a, b = next(iter(DataLoader(data, batch_sampler=[[-1, 2]])))
    assert b.tolist() == [19, 2]
    with pytest.raises(IndexError, match="out of bounds|out of range"):
        list(DataLoader(data, batch_sampler=[[20]]))
    weight = flambeau.ones(3, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(weight), batch_size=2)))
    batch.sum().backward()
    assert weight.grad.tolist() == [[1, 1], [1, 1], [0, 0]]


class Kinds(Images):
    """Every way in which memory can come out of a worker."""

    def __init__(self):
        super().__init__(4)
        self.whole = flambeau.arange(100000.0)
        self.shared = flambeau.zeros(3000).share_memory_()

    def __getitem__(self, i):
        base = flambeau.arange(5000.0)
        return {
            "row": self.whole[i : i + 3],  # little of much
            "transposed": flambeau.arange(6000.0).reshape(60, 100).t(),
            "together": (base[:4000], base[1000:]),
            "shared": self.shared,
            "empty": flambeau.empty(0, 3),
            "parameter": flambeau.nn.Parameter(flambeau.full((2000,), 2.0)),
            "half": flambeau.ones(3000, dtype=flambeau.bfloat16),
            "meta": flambeau.empty(3, device="meta"),
            "text": "x" * 50000,
        }


def test_tensors_of_all_kinds():
    data = Kinds()
    loader = DataLoader(data, batch_size=None, num_workers=1)
    for i, item in enumerate(loader):
        assert item["row"].tolist() == [i, i + 1, i + 2] and item["row"].untyped_storage().nbytes() < 100
        assert item["transposed"].stride() == (1, 100) and item["transposed"][3, 2].item() == 203
        first, second = item["together"]
        first[1500] = -5
        assert second[500].item() == -5
        item["shared"][i] = 1  # the very memory of the dataset
        assert item["empty"].shape == (0, 3) and item["meta"].device.type == "meta"
        assert type(item["parameter"]) is flambeau.nn.Parameter and item["parameter"].sum().item() == 4000
        assert item["half"].dtype is flambeau.bfloat16 and item["text"] == "x" * 50000
    assert data.shared[:5].tolist() == [1, 1, 1, 1, 0]


def test_requests_larger_than_a_socket():
    loader = DataLoader(range(10**6), batch_sampler=[list(range(200000))] * 6, num_workers=1, collate_fn=len)
    assert list(loader) == [200000] * 6


def ends(how):
    class Ending(Images):
        def __getitem__(self, i):
            if i == 5:
                how()
            return super().__getitem__(i)

    return Ending()


def crash():
    faulthandler.disable()  # pytest's report would only disturb
    ctypes.string_at(0)


DEATHS = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), "is killed by signal: Killed"),
    "crashed": (crash, "is killed by signal: Segmentation fault"),
    "left": (lambda: os._exit(3), "exited unexpectedly with exit code 3"),
    "sys.exit": (lambda: sys.exit(4), "exited unexpectedly with exit code 4"),
}


@pytest.mark.parametrize("name", DEATHS)
def test_a_worker_that_dies_is_an_error(name):
    how, text = DEATHS[name]
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly") as info:
        list(DataLoader(ends(how), batch_size=2, num_workers=2))
    assert text in str(info.value.__cause__)
    assert time.monotonic() - start < 5


def test_a_worker_that_dies_idle_is_noticed():
    loader = DataLoader(Images(8), batch_size=1, num_workers=2, persistent_workers=True)
    list(loader)
    os.kill(loader._iterator._crew._processes[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader)


def test_going_on_after_an_error():
    def fail():
        raise ValueError("five")

    iterator = iter(DataLoader(ends(fail), batch_size=None, num_workers=2))
    seen = []
    while len(seen) < 10:
        try:
            seen.append(next(iterator)[1])
        except ValueError as error:
            assert "Caught ValueError in DataLoader worker process 1" in str(error)
            seen.append("error")
    assert seen == [0, 1, 2, 3, 4, "error", 6, 7, 8, 9]


def test_errors_that_cannot_be_sent():
    class Local(Exception):
        pass

    def fail():
        raise Local("five")

    with pytest.raises(RuntimeError, match="(?s)Local.*five"):
        list(DataLoader(ends(fail), num_workers=1))
    with pytest.raises(Exception, match="(?i)pickle|local object"):
        list(DataLoader(Images(), num_workers=1, collate_fn=lambda batch: (flambeau.ones(5000), lambda: 0)))
    with pytest.raises(RuntimeError, match="Cowardly refusing"):
        weight = flambeau.ones(5000, requires_grad=True)
        list(DataLoader(Images(), num_workers=1, collate_fn=lambda batch: weight * 2))


def test_leaving_early_ends_the_workers_soon():
    start = time.monotonic()
    for context in ("fork", "forkserver"):
        iterator = iter(DataLoader(Images(1000), num_workers=2, multiprocessing_context=context))
        next(iterator)
        processes = list(iterator._crew._processes)
        pids = [process.pid for process in processes]
        del iterator
        gc.collect()
        for pid in pids:
            if context == "fork":
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)
    assert time.monotonic() - start < 5


def test_two_loaders_at_once_and_one_inside_the_other():
    total = 0
    for x, _ in DataLoader(Images(4), num_workers=1):
        for y, _ in DataLoader(Images(3), num_workers=1):
            total += x[0, 0, 0, 0].item() * y[0, 0, 0, 0].item()
    assert total == 6 * 3
    first, second = (iter(DataLoader(Images(6), num_workers=2)) for _ in range(2))
    assert [next(first)[1].item(), next(second)[1].item()] == [0, 0]
    del first
    assert [int(y) for _, y in second] == [1, 2, 3, 4, 5]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_end(pids):
    """Whether the processes end within ten seconds."""
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_running, pids))


@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(3)", "1 / 0", "import os; os._exit(3)"])
def test_the_interpreter_ends_with_workers_at_work(ending):
    status, _, errors = run(
        f"""
        import flambeau, os, sys, time
        from flambeau.utils.data import DataLoader
        iterator = iter(DataLoader(range(10**6), num_workers=2))
        next(iterator)
        sys.stderr.write("".join(f"PID {{p.pid}} " for p in iterator._crew._processes) + "\\n")
        {ending}
        """
    )
    assert status == {"pass": 0, "1 / 0": 1}.get(ending, 3)
    assert "Traceback" not in errors or ending == "1 / 0"
    pids = [word for word in errors.splitlines()[0].split() if word.isdigit()]
    assert len(pids) == 2 and all_end(pids)


def test_killing_the_parent_ends_the_workers():
    code = """
        import os
        from flambeau.utils.data import DataLoader
        iterator = iter(DataLoader(range(10**6), num_workers=2))
        next(iterator)
        print(*(p.pid for p in iterator._crew._processes), flush=True)
        os.kill(os.getpid(), 9)
    """
    status, output, _ = run(code)
    assert status == -9
    pids = output.split()
    assert len(pids) == 2 and all_end(pids)


def memory_and_descriptors():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    maps = len(pathlib.Path("/proc/self/maps").read_text().splitlines())
    return pages * os.sysconf("SC_PAGESIZE"), len(os.listdir("/proc/self/fd")), maps


@pytest.mark.parametrize("persistent", [False, True])
def test_nothing_grows_over_epochs(persistent):
    loader = DataLoader(Images(32, (3, 64, 64)), batch_size=8, num_workers=2, persistent_workers=persistent)
    figures = []
    for epoch in range(20):
        for x, _ in loader:
            x.sum()
        if epoch == 10:
            next(iter(loader))
        del x
        gc.collect()
        figures.append(memory_and_descriptors())
    memory, descriptors, maps = zip(*figures[2:], strict=True)
    assert max(memory) - min(memory) < 20 << 20
    assert max(descriptors) - min(descriptors) <= 2 and descriptors[-1] <= descriptors[0] + 1
    assert maps[-1] <= maps[0] + 6


class Varying(Images):
    def __getitem__(self, i):
        return flambeau.full((2000 + 977 * (i * 7 % 13),), float(i))


def test_batches_of_varying_sizes():
    loader = DataLoader(Varying(300), batch_size=None, num_workers=1)
    kept = {}
    for i, x in enumerate(loader):
        assert x.shape == (2000 + 977 * (i * 7 % 13),) and x[0].item() == i == x[-1].item()
        if i % 10 == 0:
            kept[i] = x
    assert all((x == i).all() for i, x in kept.items())


class Seeds(IterableDataset):
    def __iter__(self):
        import random

        import numpy

        info = get_worker_info()
        yield info.seed, flambeau.initial_seed(), random.random(), float(numpy.random.rand())


def test_seeds_of_workers():
    """The numbers that PyTorch's workers draw for the same seed."""
    pytest.importorskip("numpy", reason="arrays of NumPy are what is tested")
    flambeau.manual_seed(3)
    rows = list(DataLoader(Seeds(), batch_size=None, num_workers=2))
    assert [tuple(row[:2]) for row in rows] == [(BASE_SEED + i, BASE_SEED + i) for i in range(2)]
    assert [list(row[2:]) for row in rows] == DRAWN


BASE_SEED = 937055941807507096
DRAWN = [[0.21793848432592644, 0.8794862824005928], [0.09049729754573688, 0.13554665930590137]]


NUMPY_IN_WORKER = """
    import sys
    from flambeau.utils.data import DataLoader, Dataset
    import flambeau

    class Data(Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, i):
            before = "numpy" in sys.modules
            import numpy
            return before, numpy.random.rand()

    flambeau.manual_seed(3)
    print(*DataLoader(Data(), batch_size=None, num_workers=1))
"""


def test_numpy_is_seeded_when_a_worker_imports_it():
    pytest.importorskip("numpy", reason="arrays of NumPy are what is tested")
    status, output, errors = run(NUMPY_IN_WORKER)
    assert status == 0, errors
    assert output.strip() == str([False, DRAWN[0][1]])


MAIN = """
import sys
import flambeau
from flambeau.utils.data import DataLoader, Dataset

class Data(Dataset):
    def __init__(self):
        self.table = flambeau.arange(100000.0)

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return self.table[i], "numpy" in sys.modules

if __name__ == "__main__":
    for context in ("spawn", "forkserver"):
        print([(x.tolist(), bool(y)) for x, y in DataLoader(Data(), num_workers=2, multiprocessing_context=context)])
"""


def test_new_processes_from_a_script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(MAIN)
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    expected = str([([float(i)], False) for i in range(4)])  # and nobody imported NumPy
    assert done.stdout.split("\n")[:2] == [expected, expected], done.stderr


def test_arguments_that_workers_need():
    with pytest.raises(AssertionError, match="prefetch_factor must be greater than 0"):
        iter(DataLoader(Images(), num_workers=1, prefetch_factor=0))
    with pytest.raises(AssertionError, match="requires timeout == 0"):
        iter(DataLoader(Images(), timeout=1))
    with pytest.raises(Exception, match="(?i)pickle|local object"):
        iter(DataLoader(Images(), num_workers=1, collate_fn=lambda x: x, multiprocessing_context="spawn"))
