"""Checkpointing, trees, hooks, limits of dtypes, switches of backends, random state, mixed precision, comparing."""

import collections
import copy
import gc
import importlib
import math
import pickle
import weakref

import pytest

import flambeau
from flambeau.testing import assert_close, make_tensor
from flambeau.utils import _pytree as pytree
from flambeau.utils.checkpoint import checkpoint, checkpoint_sequential
from flambeau.utils.hooks import RemovableHandle

# ---- limits of dtypes


def test_finfo():
    info = flambeau.finfo(flambeau.float32)
    assert repr(info) == (
        "finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07, smallest_normal=1.17549e-38, "
        "tiny=1.17549e-38, dtype=float32)"
    )
    assert (info.bits, info.eps, info.max, info.tiny) == (32, 2**-23, 3.4028234663852886e38, 2.0**-126)
    assert flambeau.finfo().dtype == "float32" and flambeau.finfo(flambeau.complex128).dtype == "float64"
    assert flambeau.finfo(flambeau.float16).max == 65504 and flambeau.finfo(flambeau.bfloat16).bits == 16
    assert info == flambeau.finfo(flambeau.complex64)
    with pytest.raises(TypeError, match=r"torch.finfo\(\) requires a floating point input type"):
        flambeau.finfo(flambeau.int8)
    with pytest.raises(TypeError, match="must be torch.dtype, not str"):
        flambeau.finfo("float32")


def test_iinfo():
    assert repr(flambeau.iinfo(flambeau.int32)) == "iinfo(min=-2.14748e+09, max=2.14748e+09, dtype=int32)"
    assert flambeau.iinfo(flambeau.uint64).max == 2**64 - 1 and flambeau.iinfo(flambeau.int64).min == -(2**63)
    for dtype, text in (
        (flambeau.float32, "requires an integer"),
        (flambeau.bool, "is not supported by torch.iinfo"),
    ):
        with pytest.raises(TypeError, match=text):
            flambeau.iinfo(dtype)


# ---- switches and devices that are not there


def test_backends_are_honest():
    backends = flambeau.backends
    for name in ("cudnn", "mkl", "mkldnn", "openmp", "mps", "cusparselt", "nnpack"):
        assert getattr(backends, name).is_available() is False
    assert backends.cudnn.version() is None and backends.cuda.is_built() is False
    before = backends.cudnn.deterministic
    with backends.cudnn.flags(deterministic=True, benchmark=True):
        assert backends.cudnn.deterministic and backends.cudnn.benchmark
    assert backends.cudnn.deterministic is before
    backends.cuda.matmul.allow_tf32 = backends.cuda.matmul.allow_tf32
    with pytest.raises(AttributeError, match="Unknown attribute nonsense"):
        backends.cudnn.nonsense = 1
    with pytest.raises(AttributeError, match="Unknown attribute nonsense"):
        backends.cuda.matmul.nonsense = 1
    assert importlib.import_module("flambeau.backends.cudnn") is backends.cudnn


def test_cuda_is_not_there():
    cuda = flambeau.cuda
    assert not cuda.is_available() and cuda.device_count() == 0 and not cuda.is_initialized()
    cuda.manual_seed(1)
    cuda.manual_seed_all(1)
    cuda.empty_cache()
    assert cuda.memory_allocated() == 0 and cuda.get_rng_state_all() == []
    for call in (
        cuda.current_device,
        cuda.synchronize,
        lambda: cuda.get_device_name(0),
        lambda: cuda.set_device(0),
    ):
        with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
            call()
    with pytest.raises(RuntimeError, match="requires CUDA support"):
        cuda.Stream()


# ---- random state


def test_random_state():
    flambeau.manual_seed(3)
    first = flambeau.rand(4)
    flambeau.manual_seed(3)
    assert flambeau.initial_seed() == 3
    state = flambeau.get_rng_state()
    with flambeau.random.fork_rng():
        flambeau.manual_seed(99)
        flambeau.rand(5)
    assert flambeau.rand(4).tolist() == first.tolist()
    flambeau.set_rng_state(state)
    assert flambeau.rand(4).tolist() == first.tolist()
    assert flambeau.seed() == flambeau.initial_seed()
    flambeau.manual_seed(-5)
    assert flambeau.initial_seed() == 2**64 - 5
    with pytest.raises(ValueError, match="Overflow"):
        flambeau.manual_seed(2**70)


# ---- mixed precision


def test_autocast_is_remembered():
    assert not flambeau.is_autocast_enabled("cpu")
    with flambeau.autocast("cpu"):
        assert flambeau.is_autocast_enabled("cpu") and flambeau.get_autocast_dtype("cpu") is flambeau.bfloat16
        with flambeau.autocast("cpu", enabled=False):
            assert not flambeau.is_autocast_enabled("cpu")
        assert flambeau.is_autocast_enabled("cpu")
    assert not flambeau.is_autocast_enabled("cpu")
    with pytest.warns(UserWarning, match="CUDA is not available"):
        with flambeau.autocast("cuda"):
            assert not flambeau.is_autocast_enabled("cuda")
    with pytest.raises(RuntimeError, match="at start of device string: nonsense"):
        flambeau.autocast("nonsense")

    @flambeau.autocast("cpu")
    def inside():
        return flambeau.is_autocast_enabled("cpu")

    assert inside()


def test_grad_scaler():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not flambeau.amp.GradScaler("cuda").is_enabled()
    x = flambeau.ones(1, requires_grad=True)
    optimizer = flambeau.optim.SGD([x], 0.1)
    scaler = flambeau.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    scaler.scale(x * 2).sum().backward()
    assert x.grad.item() == 16
    scaler.unscale_(optimizer)
    assert x.grad.item() == 2
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 16 and abs(x.item() - 0.8) < 1e-6
    x.grad = flambeau.full((1,), math.inf)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 8 and abs(x.item() - 0.8) < 1e-6
    again = flambeau.amp.GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.get_scale() == 8


# ---- checkpointing


def reference(function, *inputs):
    inputs = [inp.detach().clone().requires_grad_() for inp in inputs]
    function(*inputs).sum().backward()
    return [inp.grad for inp in inputs]


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint_gives_the_same_gradients(use_reentrant):
    def function(a, b):
        return (a * b).exp().sin() * a

    a, b = (flambeau.linspace(-1, 1, 5).requires_grad_() for _ in range(2))
    calls = []

    def counted(*args):
        calls.append(1)
        return function(*args)

    checkpoint(counted, a, b, use_reentrant=use_reentrant).sum().backward()
    assert len(calls) == 2
    for leaf, wanted in zip((a, b), reference(function, a, b), strict=True):
        assert_close(leaf.grad, wanted)


def test_checkpoint_repeats_random_draws():
    for use_reentrant in (True, False):
        x = flambeau.ones(100, requires_grad=True)
        seen = []

        def function(x, seen=seen):
            mask = (flambeau.rand(100) > 0.5).float()
            seen.append(mask)
            return (x * mask).exp()

        checkpoint(function, x, use_reentrant=use_reentrant).sum().backward()
        assert seen[0].tolist() == seen[1].tolist()


def test_checkpoint_reaches_what_the_function_closes_over():
    weight = flambeau.ones(3, requires_grad=True)
    x = flambeau.ones(3)
    out = checkpoint(lambda x, scale: (x * weight).exp() * scale, x, scale=2.0, use_reentrant=False)
    (grad,) = flambeau.autograd.grad(out.sum(), [weight])
    assert_close(grad, flambeau.full((3,), 2 * math.e)) and weight.grad is None


def test_checkpoint_keeps_no_intermediate_results():
    kept = []

    def function(x):
        middle = x.exp()
        kept.append(weakref.ref(middle))
        return middle.sin()

    x = flambeau.ones(3, requires_grad=True)
    out = checkpoint(function, x, use_reentrant=False)
    gc.collect()
    assert kept[0]() is None
    out.sum().backward()
    assert_close(x.grad, reference(lambda x: x.exp().sin(), x)[0])


def test_checkpoint_errors():
    x = flambeau.ones(3, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(lambda x: x * 2, x)
    with pytest.raises(ValueError, match="Unexpected keyword arguments: scale"):
        checkpoint(lambda x, scale: x, x, scale=1, use_reentrant=True)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(lambda x: x * 2, flambeau.ones(1), use_reentrant=True)
    sizes = iter((3, 2))
    out = checkpoint(lambda x: x[: next(sizes)].exp(), x, use_reentrant=False)
    with pytest.raises(RuntimeError, match="different metadata"):
        out.sum().backward()


def test_checkpoint_sequential():
    parts = [lambda x: x.exp(), lambda x: x.sin(), lambda x: x * x, lambda x: x + 1]
    for use_reentrant in (True, False):
        x = flambeau.linspace(0, 1, 4).requires_grad_()
        checkpoint_sequential(parts, 2, x, use_reentrant=use_reentrant).sum().backward()
        assert_close(x.grad, reference(lambda x: x.exp().sin() ** 2 + 1, x)[0])


# ---- trees and hooks


def test_trees():
    Point = collections.namedtuple("Point", "x y")
    tree = {"a": [1, (2, None)], "b": Point(3, collections.OrderedDict(c=4)), "d": collections.deque([5], 2)}
    leaves, spec = pytree.tree_flatten(tree)
    assert leaves == [1, 2, None, 3, 4, 5] and spec.num_leaves == 6
    assert pytree.tree_unflatten(leaves, spec) == tree
    doubled = pytree.tree_map_only(int, lambda leaf: leaf * 2, tree)
    assert doubled["b"] == Point(6, {"c": 8}) and doubled["d"].maxlen == 2 and doubled["a"] == [2, (4, None)]
    assert pytree.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert (
        repr(pytree.tree_structure([1, {"a": 2}]))
        == "TreeSpec(list, None, [*,\n  TreeSpec(dict, ['a'], [*])])"
    )
    assert pytree.tree_any(lambda leaf: leaf == 2, tree) and not pytree.tree_all(lambda leaf: leaf == 2, tree)
    for bad in ([1], [1, [2]], (1, (2,))):
        with pytest.raises(ValueError, match="mismatch"):
            pytree.tree_map(lambda a, b: a, [1, (2,)], bad)
    with pytest.raises(ValueError, match="has length 1"):
        spec.unflatten([1])
    with pytest.raises(ValueError, match="already registered"):
        pytree.register_pytree_node(list, list, list)


def test_removable_handles():
    hooks, extra = collections.OrderedDict(), collections.OrderedDict()
    handle = RemovableHandle(hooks, extra_dict=extra)
    hooks[handle.id] = extra[handle.id] = print
    handle.remove()
    handle.remove()
    assert not hooks and not extra
    with RemovableHandle(hooks) as handle:
        hooks[handle.id] = len
    assert not hooks
    handle = RemovableHandle(hooks)
    hooks[handle.id] = len
    copied_hooks, copied = copy.deepcopy((hooks, handle))
    copied.remove()
    assert not copied_hooks and hooks
    pickle.loads(pickle.dumps(handle)).remove()


# ---- comparing


def test_assert_close_passes():
    nan = float("nan")
    assert_close(flambeau.tensor([1.0]), flambeau.tensor([1.0 + 1e-7]))
    assert_close(flambeau.tensor([nan]), flambeau.tensor([nan]), equal_nan=True)
    assert_close(flambeau.tensor([1.0]), flambeau.tensor([1.0], dtype=flambeau.float64), check_dtype=False)
    assert_close({"a": [1.0, flambeau.ones(2)]}, {"a": (1.0, flambeau.ones(2))})
    assert_close(None, None)
    assert_close(flambeau.empty(0), flambeau.empty(0))


T = flambeau.tensor


@pytest.mark.parametrize(
    "actual, expected, kwargs, text",
    [
        (
            T([1.0, 2.0]),
            T([1.0, 3.0]),
            {},
            "Tensor-likes are not close!\n\nMismatched elements: 1 / 2 (50.0%)",
        ),
        (
            T([1.0, 2.0]),
            T([1.0, 3.0]),
            {},
            "Greatest absolute difference: 1.0 at index (1,) (up to 1e-05 allowed)\n"
            "Greatest relative difference: 0.3333333432674408 at index (1,) (up to 1.3e-06 allowed)",
        ),
        (T([1, 2]), T([1, 3]), {}, "Tensor-likes are not equal!"),
        (T(1.0), T(2.0), {}, "Scalars are not close!\n\nExpected 2.0 but got 1.0."),
        (
            T([1.0]),
            T([1.0, 2.0]),
            {},
            "The values for attribute 'shape' do not match: torch.Size([1]) != torch.Size([2])",
        ),
        (T([1.0]), T([1]), {}, "The values for attribute 'dtype' do not match: torch.float32 != torch.int64"),
        ([T(1.0)], [T(2.0)], {}, "The failure occurred for item [0]"),
        ({"a": 1}, {"b": 1}, {}, "The keys of the mappings do not match"),
        ([1], [1, 2], {}, "The length of the sequences mismatch: 1 != 2"),
        (1.0, 1, {}, "The (d)types do not match"),
        (True, False, {}, "Booleans mismatch: True is not False"),
        (None, 1, {}, "None mismatch: None is not 1"),
        (T([float("nan")]), T([float("nan")]), {}, "Tensor-likes are not close!"),
        (T([1.0]), T([2.0]), {"msg": "mine"}, "mine"),
        (T([1.0]), T([2.0]), {"msg": lambda text: "more: " + text}, "more: Tensor-likes"),
    ],
)
def test_assert_close_reports(actual, expected, kwargs, text):
    with pytest.raises(AssertionError) as info:
        assert_close(actual, expected, **kwargs)
    assert text in str(info.value)


def test_assert_close_misuse():
    with pytest.raises(ValueError, match="but got no atol"):
        assert_close(1.0, 1.0, rtol=1)
    for actual, expected in (("a", "a"), (1.0, flambeau.tensor(1.0))):
        with pytest.raises(TypeError, match="No comparison pair was able to handle"):
            assert_close(actual, expected)


def test_make_tensor():
    flambeau.manual_seed(0)
    assert str(make_tensor((3,), dtype=flambeau.float32)) == "tensor([-0.0674,  4.8280, -7.4074])"
    flambeau.manual_seed(0)
    assert make_tensor(3, dtype=flambeau.int64, low=-3, high=3).tolist() == [-1, 0, 2]
    flambeau.manual_seed(0)
    spread = make_tensor(2, 3, dtype=flambeau.float32, noncontiguous=True)
    assert spread.stride() == (6, 2) and not spread.is_contiguous()
    assert make_tensor(50, dtype=flambeau.int8, low=0, high=2, exclude_zero=True).tolist() == [1] * 50
    assert make_tensor((2,), dtype=flambeau.complex64, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="not supported for boolean and integral"):
        make_tensor(2, dtype=flambeau.int64, requires_grad=True)
