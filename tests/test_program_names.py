"""Names that programs import: marks do nothing, questions get the truth, and what cannot work says so when it is used."""

import hashlib
import http.server
import pickle
import threading
import typing

import pytest

import flambeau
from flambeau import _jit_internal, nn
from flambeau.testing import assert_close
from flambeau.utils import _pytree as pytree

# ---- names that stand for other names


def test_torch_holds_a_name_for_itself():
    assert flambeau.torch is flambeau
    assert flambeau.functional.einsum is flambeau.einsum and not hasattr(flambeau.functional, "relu")
    assert flambeau._tensor_str.printoptions is flambeau._tensor.printing.printoptions


def test_the_class_of_the_class_of_tensors_can_be_derived_from():
    class Meta(flambeau._C._TensorMeta):
        pass

    class Mine(flambeau.Tensor, metaclass=Meta):
        pass

    assert isinstance(flambeau.Tensor, flambeau._C._TensorMeta) and type(Mine) is Meta
    assert type(flambeau.ones(2).as_subclass(Mine)) is Mine


def test_names_of_the_native_module():
    parse = flambeau._C._nn._parse_to
    assert parse("meta", flambeau.float64) == (flambeau.device("meta"), flambeau.float64, False, None)
    assert parse(flambeau.ones(1, dtype=flambeau.int8)) == (
        flambeau.device("cpu"),
        flambeau.int8,
        False,
        None,
    )
    assert not flambeau._C._are_functorch_transforms_active() and flambeau._C._get_tracing_state() is None
    flambeau.vmap(lambda x: x if flambeau._C._are_functorch_transforms_active() else 1 / 0)(flambeau.ones(2))
    with pytest.raises(AttributeError, match="torch._C"):
        flambeau._C.no_such_name  # noqa: B018


def test_questions_about_devices_and_dtypes():
    assert flambeau._utils._element_size(flambeau.complex64) == 8
    with pytest.raises(RuntimeError, match="expected torch.dtype"):
        flambeau._utils._element_size(3)
    index = flambeau._utils._get_device_index
    assert (index("cuda:1"), index(3), index(None, optional=True), index("cpu", allow_cpu=True)) == (
        1,
        3,
        None,
        -1,
    )
    with pytest.raises(ValueError, match="non cpu device"):
        index("cpu")
    with pytest.raises(ValueError, match="specified index"):
        index("cuda")


def test_nothing_is_fake():
    from flambeau._subclasses.fake_tensor import FakeTensor, FakeTensorMode, is_fake
    from flambeau.fx.experimental.proxy_tensor import get_proxy_mode

    assert not is_fake(flambeau.ones(1, device="meta")) and not is_fake(1) and get_proxy_mode() is None
    for make in (FakeTensor, FakeTensorMode):
        with pytest.raises(RuntimeError, match="flambeau"):
            make()


# ---- compilers


def test_marks_return_what_they_are_given():
    def f(x):
        return x + 1

    for mark in (
        flambeau.jit.script, flambeau.jit.ignore, flambeau.jit.unused, flambeau.jit.export, flambeau.jit.script_if_tracing,
        flambeau.jit.script_method, flambeau.compiler.disable, flambeau.compiler.allow_in_graph, flambeau.fx.wrap,
        flambeau._dynamo.disable, flambeau.compiler.assume_constant_result,
        _jit_internal._copy_to_script_wrapper, _jit_internal._overload_method, _jit_internal.unused,
    ):  # fmt: skip
        assert mark(f) is f
    for options in (
        flambeau.jit.ignore(),
        flambeau.compiler.disable(recursive=False),
        flambeau.jit.ignore(drop=True),
    ):
        assert options(f) is f
    module = nn.Linear(2, 2)
    assert flambeau.jit.script(module) is module and flambeau.jit.annotate(int, 3) == 3


def test_questions_get_the_truth():
    assert not (flambeau.jit.is_scripting() or flambeau.jit.is_tracing() or flambeau.compiler.is_compiling())
    assert not (flambeau.onnx.is_in_onnx_export() or flambeau.compiler.is_exporting())
    assert flambeau.compiler.list_backends() == [] and not flambeau._dynamo.eval_frame.is_dynamo_supported()
    assert not isinstance(flambeau.ones(1), flambeau.fx.Proxy) and not isinstance(1, flambeau.SymInt)
    assert not isinstance(nn.Linear(1, 1), flambeau._dynamo.OptimizedModule)
    assert flambeau.jit.isinstance([1], list[int]) and not flambeau.jit.isinstance([1.0], list[int])
    assert flambeau.jit.isinstance({"a": (1, 2.0)}, dict[str, tuple[int, float]])
    assert flambeau.jit.isinstance(None, typing.Optional[int])  # noqa: UP045
    assert flambeau.jit.wait(flambeau.jit.fork(lambda a, b: a + b, 1, b=2)) == 3


@pytest.mark.parametrize(
    "call",
    (
        lambda: flambeau.jit.trace(nn.Linear(1, 1), flambeau.ones(1)),
        lambda: flambeau.jit.load("model.pt"),
        lambda: flambeau.fx.symbolic_trace(nn.Linear(1, 1)),
        lambda: flambeau.fx.Tracer().trace(nn.Linear(1, 1)),
        lambda: flambeau.onnx.export(nn.Linear(1, 1), flambeau.ones(1), "x.onnx"),
        lambda: flambeau.export.export(nn.Linear(1, 1), (flambeau.ones(1),)),
        lambda: flambeau._dynamo.explain(abs),
        lambda: flambeau.SymInt(),
        lambda: flambeau.ao.quantization.quantize_dynamic(nn.Linear(1, 1)),
    ),
)
def test_what_cannot_work_says_so(call):
    with pytest.raises(RuntimeError, match="flambeau"):
        call()


def test_settings_of_the_absent_compiler_come_back():
    config = flambeau._dynamo.config
    with config.patch(suppress_errors=True, something_new=3):
        assert config.suppress_errors and config.something_new == 3
    assert not config.suppress_errors and not hasattr(config, "something_new")
    with pytest.raises(RuntimeError, match="invalid torch.compile stance"):
        flambeau.compiler.set_stance("lying down")


def test_sizes_and_named_results_are_trees():
    leaves, structure = pytree.tree_flatten([flambeau.Size([2, 3]), flambeau.ones(2).max(0)])
    assert leaves[:2] == [2, 3] and [leaf.item() for leaf in leaves[2:]] == [1, 0]
    size, result = structure.unflatten(leaves)
    assert size == (2, 3) and type(size) is tuple and type(result) is flambeau.return_types.max


def test_schedule_of_a_profiler():
    plan = flambeau.profiler.schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    names = [plan(step).name[:4] for step in range(11)]
    assert names == ["NONE", "NONE", "WARM", "RECO", "RECO", "NONE", "WARM", "RECO", "RECO", "NONE", "NONE"]
    assert plan(4) is flambeau.profiler.ProfilerAction.RECORD_AND_SAVE


# ---- operators of one's own


def test_custom_operators():
    @flambeau.library.custom_op("tests::scaled", mutates_args=())
    def scaled(x: flambeau.Tensor, factor: float = 2.0) -> flambeau.Tensor:
        return x * factor

    x = flambeau.ones(3, requires_grad=True)
    assert flambeau.equal(flambeau.ops.tests.scaled(flambeau.ones(2), factor=3.0), flambeau.full((2,), 3.0))
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        scaled(x).sum().backward()

    def setup(ctx, inputs, output):
        ctx.factor = inputs[1]

    scaled.register_autograd(lambda ctx, grad: (grad * ctx.factor, None), setup_context=setup)
    scaled(x, 5.0).sum().backward()
    assert flambeau.equal(x.grad, flambeau.full((3,), 5.0))
    scaled.register_fake(lambda x, factor=2.0: flambeau.empty_like(x))
    assert scaled(flambeau.ones(4, device="meta")).shape == (4,)
    assert flambeau.ops.tests.scaled.default is scaled and scaled.overloads() == ["default"]


def test_libraries_and_what_is_not_defined():
    library = flambeau.library.Library("tests_library", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="Could not run 'tests_library::twice'"):
        flambeau.ops.tests_library.twice(flambeau.ones(1))
    library.impl("twice", lambda x: 2 * x, "CompositeImplicitAutograd")
    x = flambeau.ones(1, requires_grad=True)
    flambeau.ops.tests_library.twice(x).backward()
    assert x.grad.item() == 2
    with pytest.raises(
        AttributeError, match="'_OpNamespace' 'tests_library' object has no attribute 'thrice'"
    ):
        flambeau.ops.tests_library.thrice(x)
    with pytest.raises(AttributeError, match="'_OpNamespace' 'aten' object has no attribute 'add_twice'"):
        flambeau.ops.aten.add_twice(x, x)
    with pytest.raises(OSError, match="binary interface"):
        flambeau.ops.load_library("libother.so")
    with pytest.raises(ValueError, match="namespace::name"):
        flambeau.library.custom_op("nameless", mutates_args=())(abs)
    with pytest.raises(RuntimeError, match="does not exist"):
        getattr(flambeau.classes, "missing")  # noqa: B009


def test_the_librarys_own_operators_by_their_names_in_the_registry():
    aten, x = flambeau.ops.aten, flambeau.tensor([1.0, -2.0, 3.0], requires_grad=True)
    assert flambeau.equal(aten.relu(x), x.relu()) and flambeau.equal(
        aten.gelu.default(x), nn.functional.gelu(x)
    )
    assert aten.add.Tensor is aten.add.Tensor and str(aten.add.Tensor) == "aten.add.Tensor"
    assert aten.add.Tensor.name() == "aten::add.Tensor" and aten.mm.default.name() == "aten::mm"
    assert repr(aten.mm.default) == "<OpOverload(op='aten.mm', overload='default')>"
    assert {aten.mm.default, aten.mm.default} == {aten.mm.default}
    assert pickle.loads(pickle.dumps(aten.mm.default)) is aten.mm.default
    aten.slice.Tensor(x, 0, 1, 10, 2).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
    assert aten.linalg_norm(x).item() == x.norm().item()
    shared = aten.alias(x.detach())
    assert shared is not x and shared.data_ptr() == x.data_ptr()
    assert aten.index.Tensor(flambeau.eye(3), [None, flambeau.tensor([1, 1])]).tolist() == [
        [0, 0],
        [1, 1],
        [0, 0],
    ]
    sparse = flambeau.eye(2).to_sparse_csr()
    assert aten._sparse_addmm(flambeau.ones(2, 2), sparse, flambeau.eye(2), alpha=2).tolist() == [
        [3, 1],
        [1, 3],
    ]
    assert aten._sparse_mm_reduce_impl(sparse, flambeau.eye(2), "amax")[0].tolist() == [[1, 0], [0, 1]]
    y = x.detach()
    assert aten.add_.Tensor(y, 1) is y and y.tolist() == [2, -1, 4]
    copy = aten._to_copy(y, dtype=flambeau.float64)
    assert copy.dtype == flambeau.float64 and aten._to_copy(y).data_ptr() != y.data_ptr()
    nothing = flambeau.full((2, 2), -flambeau.inf)
    assert aten._safe_softmax(nothing, 1).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(
        AttributeError, match="The underlying op of 'aten.add' has no overload name 'Nothing'"
    ):
        aten.add.Nothing  # noqa: B018
    with pytest.raises(RuntimeError, match="slice step must be positive"):
        aten.slice(x, 0, 0, 3, 0)


# ---- lists of tensors


@pytest.mark.parametrize(
    "name", ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "clamp_max", "clamp_min")
)
def test_foreach_binary(name):
    flambeau.manual_seed(0)
    a = [flambeau.rand(3) + 0.5, flambeau.rand(2, 2) + 0.5]
    b = [flambeau.rand(3) + 0.5, flambeau.rand(2, 2) + 0.5]
    function = getattr(flambeau, {"clamp_max": "minimum", "clamp_min": "maximum"}.get(name, name))
    out_of_place, in_place = getattr(flambeau, f"_foreach_{name}"), getattr(flambeau, f"_foreach_{name}_")
    for other in (b, 0.8, [0.7, 0.9]):
        others = other if isinstance(other, list) else [other] * 2
        expected = [
            function(x, y if isinstance(y, flambeau.Tensor) else flambeau.tensor(y))
            for x, y in zip(a, others, strict=True)
        ]
        assert_close(list(out_of_place(a, other)), expected)
        copies = [x.clone() for x in a]
        assert in_place(copies, other) is copies
        assert_close(copies, expected)


def test_foreach_by_the_names_of_parameters():
    xs, ys = (
        [flambeau.ones(2), flambeau.full((1,), 2.0)],
        [flambeau.full((2,), 3.0), flambeau.full((1,), 6.0)],
    )
    for given, expected in (
        (flambeau._foreach_lerp(xs, tensors1=ys, weight=0.5), [[2, 2], [4]]),
        (flambeau._foreach_lerp(self=xs, tensors1=ys, weights=xs), [[3, 3], [10]]),
        (flambeau._foreach_add(xs, other=ys, alpha=2), [[7, 7], [14]]),
        (flambeau._foreach_add(xs, scalar=1.0), [[2, 2], [3]]),
        (flambeau._foreach_mul(xs, scalars=[2.0, 3.0]), [[2, 2], [6]]),
        (flambeau._foreach_pow(xs, exponent=3), [[1, 1], [8]]),
        (flambeau._foreach_addcmul(xs, tensor1=ys, tensor2=ys, value=2.0), [[19, 19], [74]]),
        (flambeau._foreach_addcdiv(xs, tensor1=ys, tensor2=xs, scalars=[1.0, 2.0]), [[4, 4], [8]]),
    ):
        assert [t.tolist() for t in given] == expected
    with pytest.raises(TypeError, match="weigth"):
        flambeau._foreach_lerp_(xs, ys, weigth=0.5)


def test_foreach_others():
    a, b = [flambeau.ones(2), flambeau.full((3,), 4.0)], [flambeau.ones(2) * 2, flambeau.ones(3)]
    assert_close(flambeau._foreach_sqrt(a)[1], flambeau.full((3,), 2.0))
    assert_close(flambeau._foreach_addcmul(a, b, b, [1.0, 2.0])[1], flambeau.full((3,), 6.0))
    assert_close(flambeau._foreach_addcdiv(a, b, b, value=2.0)[0], flambeau.full((2,), 3.0))
    assert_close(flambeau._foreach_lerp(a, b, 0.5)[1], flambeau.full((3,), 2.5))
    assert_close(flambeau._foreach_add(a, b, alpha=3)[0], flambeau.full((2,), 7.0))
    assert [n.item() for n in flambeau._foreach_norm(a, 1)] == [2.0, 12.0]
    flambeau._foreach_copy_(a, b)
    assert flambeau.equal(a[0], b[0]) and a[0] is not b[0]
    flambeau._foreach_zero_(a)
    assert a[1].sum() == 0
    with pytest.raises(RuntimeError, match="same number of elements as scalar list"):
        flambeau._foreach_add(a, [1.0])
    with pytest.raises(RuntimeError, match="must have at least one tensor"):
        flambeau._foreach_exp([])


# ---- checks and sizes


def test_checks():
    flambeau._check(True)
    with pytest.raises(RuntimeError, match="because"):
        flambeau._check(False, lambda: "because")
    with pytest.raises(TypeError, match="cond must be a bool"):
        flambeau._check(1)
    for function, error in (("value", ValueError), ("index", IndexError), ("type", TypeError)):
        with pytest.raises(error, match="Expected cond to be True"):
            getattr(flambeau, f"_check_{function}")(False)
    flambeau._check_tensor_all(flambeau.tensor([True]))
    with pytest.raises(RuntimeError):
        flambeau._check_tensor_all(flambeau.tensor([True, False]))
    with pytest.raises(RuntimeError, match="got zero"):
        flambeau._assert_async(flambeau.tensor(0))
    assert flambeau.sym_max(1, 2) == 2 and flambeau.sym_min(1, 2.0) == 1.0 and flambeau.sym_sum([1, 2]) == 3


def test_absent_devices_streams_and_dtypes():
    for name in ("cuda", "xpu", "mtia"):
        module = getattr(flambeau, name)
        assert not module.is_available() and module.device_count() == 0 and module.memory_allocated() == 0
        module.manual_seed_all(1)
        with pytest.raises(AssertionError, match=f"not compiled with {name.upper()} enabled"):
            module.synchronize()
        with pytest.raises(RuntimeError):
            module.Stream()
        with module.device(-1), module.stream(None):
            pass
    assert flambeau.accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError, match="none is available"):
        flambeau.accelerator.synchronize()
    assert flambeau.get_device_module("cpu") is flambeau.cpu and flambeau.Stream().query()
    with pytest.raises(RuntimeError, match="doesn't support events"):
        flambeau.Event().record()
    assert issubclass(flambeau.OutOfMemoryError, RuntimeError)
    narrow = flambeau.float8_e4m3fn
    assert repr(narrow) == "torch.float8_e4m3fn" and pickle.loads(pickle.dumps(narrow)) is narrow
    assert flambeau.finfo(narrow).max == 448 and narrow != flambeau.float16


# ---- trees, scans, downloads


def test_paths_in_trees():
    tree = {"a": [1, (2,)], "b": flambeau.finfo}
    pairs, structure = pytree.tree_flatten_with_path(tree)
    assert [pytree.keystr(path) for path, _ in pairs] == ["['a'][0]", "['a'][1][0]", "['b']"]
    assert all(pytree.key_get(tree, path) is leaf for path, leaf in pairs)
    assert structure == pytree.tree_structure(tree)
    doubled = pytree.tree_map_with_path(lambda path, x, y: (len(path), x + y), [1, [2]], [10, [20]])
    assert doubled == [(1, 11), [(2, 22)]]


@pytest.mark.parametrize("size", (0, 1, 2, 3, 7, 8))
@pytest.mark.parametrize("reverse", (False, True))
def test_associative_scan(size, reverse):
    from flambeau._higher_order_ops import associative_scan

    x = flambeau.randn(2, size, 3, dtype=flambeau.float64, requires_grad=True)
    y = associative_scan(lambda a, b: a + b, x, 1, reverse=reverse)
    expected = x.flip(1).cumsum(1).flip(1) if reverse else x.cumsum(1)
    assert_close(y, expected)
    weights = flambeau.randn_like(y)
    got, want = (flambeau.autograd.grad((each * weights).sum(), x)[0] for each in (y, expected))
    assert_close(got, want)


def test_associative_scan_keeps_the_order():
    from flambeau._higher_order_ops import associative_scan

    a, b = flambeau.rand(6), flambeau.rand(6)
    _, states = associative_scan(lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1]), (a, b), 0)
    state = flambeau.zeros(())
    for step in range(6):
        state = a[step] * state + b[step]
        assert_close(states[step], state)


def test_hub(tmp_path, monkeypatch):
    saved = tmp_path / "weights.pt"
    flambeau.save({"w": flambeau.arange(3)}, saved)
    content = saved.read_bytes()

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        start = hashlib.sha256(content).hexdigest()[:8]
        url = f"http://127.0.0.1:{server.server_port}/weights-{start}.pt"
        loaded = flambeau.hub.load_state_dict_from_url(url, progress=False, check_hash=True)
        assert flambeau.equal(loaded["w"], flambeau.arange(3))
        assert (tmp_path / "home" / "hub" / "checkpoints" / f"weights-{start}.pt").read_bytes() == content
        with pytest.raises(RuntimeError, match="invalid hash value"):
            flambeau.hub.download_url_to_file(url, tmp_path / "other.pt", "00000000", progress=False)
        assert not (tmp_path / "other.pt").exists() and not list(tmp_path.glob("*.partial"))
    finally:
        server.shutdown()
        server.server_close()
    (tmp_path / "hubconf.py").write_text(
        "dependencies = []\n\ndef two(n=1):\n    '''Twice n.'''\n    return 2 * n\n"
    )
    assert flambeau.hub.load(str(tmp_path), "two", source="local", n=4) == 8
    assert (
        flambeau.hub.list(str(tmp_path)) == ["two"] and flambeau.hub.help(str(tmp_path), "two") == "Twice n."
    )
    with pytest.raises(RuntimeError, match="fetches no repositories"):
        flambeau.hub.load("owner/name", "two")
