"""Tensors between processes: the same memory for sender and receiver, freed with the last of them."""

import gc
import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from multiprocessing.reduction import ForkingPickler

import pytest

import flambeau
import flambeau.multiprocessing as mp
from flambeau import _C

ROOT = pathlib.Path(__file__).parent.parent
FORK = mp.get_context("fork")


@pytest.fixture(params=["file_descriptor", "file_system"])
def strategy(request):
    before = mp.get_sharing_strategy()
    mp.set_sharing_strategy(request.param)
    yield request.param
    mp.set_sharing_strategy(before)


def names_in_use():
    return {name for name in os.listdir("/dev/shm") if name.startswith("flambeau_")}


def run(code, timeout=40):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout, done.stderr


def in_child(function, *args):
    """Run in a forked process that must end well within ten seconds."""
    process = FORK.Process(target=function, args=args)
    process.start()
    process.join(10)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0


def test_share_memory():
    x = flambeau.arange(6.0)
    view = x[2:]
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and view.is_shared()
    in_child(lambda: x.mul_(2))
    assert x.tolist() == [0, 2, 4, 6, 8, 10] and view.tolist() == [4, 6, 8, 10]
    with pytest.raises(RuntimeError, match="Trying to resize storage that is not resizable"):
        x.resize_(100)
    assert flambeau.empty(0).share_memory_().is_shared()


def test_memory_that_others_show_can_be_shared():
    np = pytest.importorskip("numpy", reason="arrays of NumPy are what is tested")
    array = np.arange(3.0)
    x = flambeau.from_numpy(array).share_memory_()
    in_child(lambda: x.add_(1))
    assert x.tolist() == [1, 2, 3] and array.tolist() == [0, 1, 2]  # it moved away, as it does in PyTorch
    y = flambeau.arange(3.0)
    shown = y.numpy()
    y.share_memory_().fill_(7)
    assert shown.tolist() == [0, 1, 2] and y.tolist() == [7, 7, 7]  # the old memory is still good
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is read-only
        z = flambeau.frombuffer(b"\x01\x02", dtype=flambeau.uint8).share_memory_()
    assert z.fill_(3).tolist() == [3, 3]


def test_queue_shares_memory(strategy):
    queue = FORK.SimpleQueue()
    x = flambeau.arange(4.0)
    queue.put((x[:3], x[1:], x.t()))
    first, second, third = queue.get()
    first[1] = 9
    assert second[0].item() == 9 and x[1].item() == 9 and third.data_ptr() == x.data_ptr()
    queue.put(x)

    def double():
        queue.get().mul_(2)

    in_child(double)
    assert x.tolist() == [0, 18, 4, 6]


def test_every_kind_of_tensor(strategy):
    def there_and_back(obj):
        return pickle.loads(ForkingPickler.dumps(obj))

    for name in "bool uint8 int64 uint16 float16 bfloat16 float64 complex32 complex128 float8_e4m3fn".split():
        x = flambeau.ones(2, 3).to(getattr(flambeau, name)).t()
        y = there_and_back(x)
        assert y.dtype is x.dtype and y.stride() == x.stride() and repr(y) == repr(x) and y.is_shared()
    assert there_and_back(flambeau.empty(0, 2)).shape == (0, 2)
    assert there_and_back(flambeau.empty(3, device="meta")).device.type == "meta"
    weight = flambeau.nn.Parameter(flambeau.ones(2))
    again = there_and_back(weight)
    assert type(again) is flambeau.nn.Parameter and again.requires_grad and again.is_shared()
    assert there_and_back(flambeau.ones(2, requires_grad=True)).requires_grad
    z = flambeau.ones(2, dtype=flambeau.complex64) * 1j
    assert there_and_back(z.conj()).tolist() == z.conj().tolist()
    storage = flambeau.arange(3).storage()
    assert there_and_back(storage).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        ForkingPickler.dumps(weight * 2)
    assert not flambeau.ones(2).is_shared()


def test_plain_pickles_do_not_share():
    x = flambeau.ones(3)
    y = pickle.loads(pickle.dumps(x))
    y.zero_()
    assert x.tolist() == [1, 1, 1] and not x.is_shared()


def test_queues_of_multiprocessing_itself_share_too():
    status, output, errors = run(
        """
        import multiprocessing, flambeau
        queue = multiprocessing.get_context("fork").SimpleQueue()
        x = flambeau.zeros(2)
        queue.put([x])
        queue.get()[0].fill_(5)
        print(x.tolist())
        """
    )
    assert output == "[5.0, 5.0]\n", errors


def test_one_storage_for_what_arrives_twice(strategy):
    x = flambeau.arange(3.0)
    a, b = (pickle.loads(ForkingPickler.dumps(x)) for _ in range(2))
    assert a.data_ptr() == b.data_ptr() == x.data_ptr()


def test_memory_is_freed(strategy):
    def figures():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(names_in_use())

    queue = FORK.SimpleQueue()
    queue.put(flambeau.ones(2))  # starts what sharing needs
    queue.get()
    before = figures()
    for _ in range(20):
        queue.put([flambeau.ones(1000), flambeau.ones(3)])
        queue.get()
    assert figures() == before
    held = flambeau.ones(1000).share_memory_()
    assert figures()[0] == before[0] + 1
    del held
    assert figures() == before


def test_names_do_not_outlive_their_processes():
    before = names_in_use()
    status, output, errors = run(
        """
        import os, time
        import flambeau, flambeau.multiprocessing as mp
        mp.set_sharing_strategy("file_system")
        context = mp.get_context("fork")
        queue = context.Queue()

        def work():
            queue.put(flambeau.ones(1000))
            time.sleep(60)

        process = context.Process(target=work)
        process.start()
        received = queue.get(timeout=20)
        process.kill()
        process.join()
        print(received.sum().item(), sum(n.startswith("flambeau_") for n in os.listdir("/dev/shm")) > 0, flush=True)
        queue.put(flambeau.ones(10))
        time.sleep(0.2)
        os.kill(os.getpid(), 9)
        """
    )
    assert output == "1000.0 True\n", errors
    deadline = time.monotonic() + 10
    while names_in_use() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not names_in_use() - before


def test_a_sender_that_is_gone_is_an_error():
    queue = FORK.SimpleQueue()

    def send_and_die():
        queue.put(flambeau.ones(3))
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=send_and_die)
    process.start()
    process.join(10)
    with pytest.raises(
        (FileNotFoundError, ConnectionError, EOFError), match="the process that sent it has ended"
    ):
        queue.get()


def test_what_arrives_is_checked():
    anonymous = os.memfd_create("test")
    os.ftruncate(anonymous, 100)
    with pytest.raises(RuntimeError, match="not shared memory of a fixed size"):
        _C._storage_by_descriptor(anonymous, 100)  # it could be cut while we read
    with pytest.raises(RuntimeError, match="not shared memory"):
        _C._storage_by_descriptor(os.open("/dev/null", os.O_RDWR), 10)
    shared = flambeau.ones(4).share_memory_().untyped_storage()
    for size in (17, 2**62, 0, -1):
        with pytest.raises(RuntimeError, match="16 bytes was received"):
            _C._storage_by_descriptor(os.dup(_C._share_by_descriptor(shared)), size)
    with pytest.raises(RuntimeError, match="segment"):
        _C._map_segment(os.dup(_C._share_by_descriptor(shared)), 4096)
    with pytest.raises(RuntimeError, match="unable to open shared memory object"):
        _C._storage_by_name("/flambeau_none", 4)
    with pytest.raises(ValueError, match="not a name of shared memory"):
        _C._storage_by_name("/../tmp/x", 4)
    for call in (_C._share_by_descriptor, _C._share_by_name, _C._send_segment, _C._shared_by):
        with pytest.raises(TypeError, match="expected an UntypedStorage"):
            call(3)
    with pytest.raises(AssertionError, match="set_sharing_strategy"):
        mp.set_sharing_strategy("pigeon")
    assert mp.get_all_sharing_strategies() == {"file_descriptor", "file_system"}


def test_too_many_descriptors_is_an_error():
    status, output, errors = run(
        """
        import resource, flambeau
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        kept = []
        try:
            for i in range(100):
                kept.append(flambeau.ones(2).share_memory_())
        except RuntimeError as error:
            print(len(kept) > 10, "ulimit -n" in str(error), "file_system" in str(error))
        """
    )
    assert output == "True True True\n", errors


def train(model, data, target):
    optimizer = flambeau.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        flambeau.nn.functional.mse_loss(model(data), target).backward()
        optimizer.step()


def test_several_processes_train_one_model():
    flambeau.manual_seed(0)
    model = flambeau.nn.Linear(3, 1)
    model.share_memory()
    data = flambeau.randn(32, 3)
    target = data @ flambeau.tensor([[1.0], [-2.0], [0.5]])
    before = flambeau.nn.functional.mse_loss(model(data), target).item()
    processes = [FORK.Process(target=train, args=(model, data, target)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    after = flambeau.nn.functional.mse_loss(model(data), target).item()
    assert all(parameter.is_shared() for parameter in model.parameters())
    assert after < before / 100


def test_threads_that_share_and_drop():
    def work():
        for _ in range(50):
            assert flambeau.ones(100).share_memory_().sum().item() == 100

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


# ---- spawn -----------------------------------------------------------------------------------------------------------


def fill(index, tensor):
    tensor[index] = index + 1


def fail(index, other):
    if index == 1:
        raise ValueError("index one")
    time.sleep(30)


def leave(index):
    if index == 0:
        sys.exit(3)
    time.sleep(30)


def be_killed(index):
    os.kill(os.getpid(), signal.SIGKILL)


def test_spawn_runs_a_function_in_processes():
    shared = flambeau.zeros(2).share_memory_()
    assert mp.spawn(fill, (shared,), nprocs=2) is None
    assert shared.tolist() == [1, 2]
    context = mp.start_processes(fill, (shared,), nprocs=2, join=False, start_method="fork")
    assert len(context.pids()) == 2
    while not context.join(10):
        pass
    assert context.join()


@pytest.mark.parametrize(
    "function, args, kind, index, text",
    [
        (
            fail,
            (1,),
            mp.ProcessRaisedException,
            1,
            "(?s)Process 1 terminated with the following error.*index one",
        ),
        (leave, (), mp.ProcessExitedException, 0, "process 0 terminated with exit code 3"),
        (be_killed, (), mp.ProcessExitedException, 0, "process 0 terminated with signal SIGKILL"),
    ],
)
def test_processes_that_fail(function, args, kind, index, text):
    start = time.monotonic()
    with pytest.raises(kind, match=text) as info:
        nprocs = 1 if function is be_killed else 2
        mp.start_processes(function, args, nprocs=nprocs, start_method="fork")
    error = info.value
    assert error.error_index == index and error.error_pid > 0
    assert time.monotonic() - start < 10
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and again.error_index == index
    if kind is mp.ProcessExitedException:
        assert (error.exit_code, error.signal_name) in [(3, None), (-9, "SIGKILL")]


def test_names_of_multiprocessing():
    for name in multiprocessing.__all__:
        assert getattr(mp, name) is getattr(multiprocessing, name)
    import flambeau.multiprocessing.spawn  # the name is a function's, and stays so

    assert mp.spawn.__name__ == "spawn" and callable(mp.spawn)
    with FORK.Pool(2) as pool:
        assert pool.map_async(flambeau.neg, [flambeau.ones(1), flambeau.ones(2)]).get(20)[1].tolist() == [
            -1,
            -1,
        ]


def test_plain_pickles_of_native_objects():
    def again(obj):
        return pickle.loads(pickle.dumps(obj))

    for operator in (flambeau.neg, flambeau.nn.functional.linear, flambeau.relu, flambeau.Tensor.add_):
        assert again(operator) is operator
    values = again(flambeau.max(flambeau.tensor([1.0, 5.0]), 0))
    assert values.values.item() == 5 and values.indices.item() == 1
    assert type(values) is type(flambeau.max(flambeau.ones(2), 0))
    generator = flambeau.Generator().manual_seed(5)
    flambeau.rand(3, generator=generator)
    other = again(generator)
    assert other.initial_seed() == 5
    assert flambeau.rand(4, generator=generator).tolist() == flambeau.rand(4, generator=other).tolist()
