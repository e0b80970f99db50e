"""Names that programs import now and then: branches and loops, trees as text, overrides, rules of own operators, checks of
texts. What they give is what PyTorch gives."""

import collections
import dataclasses
import inspect
import os
import subprocess
import sys
import time

import pytest

import flambeau
from flambeau.testing import FileCheck, assert_allclose
from flambeau.utils import _pytree as pytree
from flambeau.utils._python_dispatch import TorchDispatchMode
from flambeau.utils.module_tracker import ModuleTracker

T = flambeau.tensor

# ---- branches and loops


@pytest.mark.parametrize(
    "pred, wanted",
    [(True, 2), (False, 0), (T(True), 2), (T([False]), 0), (T(1), 2), (0, 0), (2.5, 2)],
)
def test_cond(pred, wanted):
    x = flambeau.ones(2)
    assert flambeau.cond(pred, lambda x: x + 1, lambda x: x - 1, (x,)).tolist() == [wanted] * 2


def test_cond_records_what_ran():
    x = flambeau.ones(2, requires_grad=True)
    (grad,) = flambeau.autograd.grad(flambeau.cond(T(True), lambda x: x * 3, lambda x: x, [x]).sum(), x)
    assert grad.tolist() == [3, 3]
    assert flambeau.cond(T(True), lambda: (x, {"a": 1}), lambda: None)[1] == {"a": 1}


def test_cond_of_each_example():
    def f(p, x):
        return flambeau.cond(p, lambda x: (x * 3, x), lambda x: (x + 1, -x), (x,))

    x = flambeau.ones(2, 3)
    found = flambeau.vmap(f)(T([True, False]), x)
    assert [t.tolist() for t in found] == [[[3] * 3, [2] * 3], [[1] * 3, [-1] * 3]]
    assert flambeau.vmap(f, in_dims=(None, 0))(T(True), x)[0].tolist() == [[3] * 3] * 2
    grads = flambeau.vmap(flambeau.func.grad(lambda x, p: f(p, x)[0].sum()))(x, T([1, 0]))
    assert grads.tolist() == [[3] * 3, [1] * 3]
    with pytest.raises(RuntimeError, match="single-element"):
        flambeau.vmap(f)(T([[True, False]]), x[:1])


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((T([True, True]), abs, abs, (1,)), "single-element tensor"),
        (("x", abs, abs, (1,)), "bool or tensor, but got x"),
        ((True, 3, abs, (1,)), "true_fn to be callable"),
        ((True, abs, 3, (1,)), "false_fn to be callable"),
        ((True, abs, abs, flambeau.ones(1)), "operands to be a tuple"),
    ],
)
def test_cond_checks(arguments, text):
    with pytest.raises(RuntimeError, match=text):
        flambeau.cond(*arguments)


def test_while_loop():
    loop = flambeau.while_loop
    i, x = loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (T(0), flambeau.ones(2)))
    assert i.item() == 3 and x.tolist() == [8, 8]
    assert loop(lambda i: i < -3, lambda i: (i + 1,), (T(0),)) == (T(0),)
    start = flambeau.ones(2, requires_grad=True)
    out = loop(lambda i, d: i < 3, lambda i, d: [i + 1, {"a": d["a"] * 2}], [0, {"a": start}])
    assert out[0] == 3 and flambeau.autograd.grad(out[1]["a"].sum(), start)[0].tolist() == [8, 8]
    for arguments, text in (
        ((1, abs, (T(0),)), "callable"),
        ((lambda i: True, abs, T(0)), "tuple or a list"),
        ((lambda i: flambeau.ones(2) > 0, abs, (T(0),)), "single-element"),
        ((lambda i: i < 3, lambda i: (i + 1.5,), (T(0),)), "same metadata"),
        ((lambda i: i < 3, lambda i: (i, i), (T(0),)), "same metadata"),
        ((lambda i: True, abs, ("a",)), "tensors and ints only"),
    ):
        with pytest.raises(RuntimeError, match=text):
            loop(*arguments)


# ---- trees

Point = collections.namedtuple("Point", "x y")
TREE = {
    "a": [1, (2, None)],
    "o": collections.OrderedDict(z=3),
    "d": collections.defaultdict(list, k=[4]),
    "q": collections.deque([5], 3),
}
#: What PyTorch writes.
LEAF = '{"type": null, "context": null, "children_spec": []}'
TEXT = (
    '[1, {"type": "builtins.dict", "context": "[\\"a\\", \\"o\\", \\"d\\", \\"q\\"]", "children_spec": ['
    f'{{"type": "builtins.list", "context": "null", "children_spec": [{LEAF}, '
    f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{LEAF}, {LEAF}]}}]}}, '
    f'{{"type": "collections.OrderedDict", "context": "[\\"z\\"]", "children_spec": [{LEAF}]}}, '
    '{"type": "collections.defaultdict", "context": {"default_factory_module": "builtins", '
    '"default_factory_name": "list", "dict_context": ["k"]}, "children_spec": '
    f'[{{"type": "builtins.list", "context": "null", "children_spec": [{LEAF}]}}]}}, '
    f'{{"type": "collections.deque", "context": "3", "children_spec": [{LEAF}]}}]}}]'
)


def test_structures_as_text():
    spec = pytree.tree_structure(TREE)
    assert pytree.treespec_dumps(spec) == TEXT and pytree.treespec_loads(TEXT) == spec
    assert pytree.treespec_pprint(spec) == (
        "{'a': [*, (*, *)], 'o': OrderedDict([('z', *)]), 'd': defaultdict(<class 'list'>, {'k': [*]}), "
        "'q': deque([*], maxlen=3)}"
    ).replace("OrderedDict([('z', *)])", repr(collections.OrderedDict(z=0)).replace("0", "*"))
    for bad, error in (
        (lambda: pytree.treespec_dumps(spec, 5), ValueError),
        (lambda: pytree.treespec_dumps(3), TypeError),
    ):
        with pytest.raises(error):
            bad()
    with pytest.raises(ValueError, match="Unknown protocol 2"):
        pytree.treespec_loads("[2, {}]")
    with pytest.raises(NotImplementedError, match="nobody.Knows"):
        pytree.treespec_loads('[1, {"type": "nobody.Knows", "context": "null", "children_spec": []}]')


def test_named_types_as_text():
    named = pytree.tree_structure(Point(1, 2))
    with pytest.raises(NotImplementedError, match="_register_namedtuple"):
        pytree.treespec_dumps(named)
    pytree._register_namedtuple(Point, serialized_type_name="tests.Point")
    assert pytree.treespec_loads(pytree.treespec_dumps(named)) == named

    class Box:
        def __init__(self, inside):
            self.inside = inside

    with pytest.raises(ValueError, match="must be None or registered"):
        pytree.register_pytree_node(Box, vars, vars, to_dumpable_context=list)
    pytree.register_pytree_node(Box, lambda b: ([b.inside], ("c", 1)), lambda c, _: Box(*c))
    with pytest.raises(NotImplementedError, match="serialized_type_name"):
        pytree.treespec_dumps(pytree.tree_structure(Box(1)))
    pytree._deregister_pytree_node(Box)
    pytree.register_pytree_node(
        Box,
        lambda b: ([b.inside], ("c", 1)),
        lambda c, _: Box(*c),
        serialized_type_name="tests.Box",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
    )
    text = pytree.treespec_dumps(pytree.tree_structure(Box(1)))
    assert text == f'[1, {{"type": "tests.Box", "context": ["c", 1], "children_spec": [{LEAF}]}}]'
    assert pytree.treespec_loads(text).context == ("c", 1)
    pytree._deregister_pytree_node(Box)
    assert pytree.tree_is_leaf(Box(1))


def test_dataclasses_and_constants():
    @dataclasses.dataclass
    class Pair:
        a: int
        b: object = None

    pytree.register_dataclass(Pair)
    leaves, spec = pytree.tree_flatten(Pair(1))
    assert leaves == [1] and spec.unflatten([2]) == Pair(2)
    assert pytree.tree_map(lambda x: x + 1, Pair(1, [2])) == Pair(2, [3])
    assert pytree.keystr(pytree.tree_leaves_with_path(Pair(1, [2]))[1][0]) == ".b[0]"
    with pytest.raises(ValueError, match="not a dataclass"):
        pytree.register_dataclass(int)

    class Setting:
        def __init__(self, n):
            self.n = n

        def __eq__(self, other):
            return self.n == other.n

        def __hash__(self):
            return self.n

    pytree.register_constant(Setting)
    leaves, spec = pytree.tree_flatten([Setting(1), 5])
    assert leaves == [5] and spec.unflatten([6])[0].n == 1 and pytree.is_constant_class(Setting)
    assert spec == pytree.tree_structure([Setting(1), 5]) != pytree.tree_structure([Setting(2), 5])
    with pytest.raises(TypeError, match="non-default `__eq__`"):
        pytree.register_constant(type("Plain", (), {}))


def test_kinds_of_tuples():
    results = flambeau.ones(2, 2).max(0)
    for value, named, struct in (
        (Point(1, 2), True, False),
        ((1,), False, False),
        (results, False, True),
        (time.localtime(), False, True),
    ):
        assert pytree.is_namedtuple(value) is pytree.is_namedtuple_instance(value) is named
        assert pytree.is_structseq(value) is pytree.is_structseq_instance(value) is struct
        assert pytree.is_namedtuple(type(value)) is pytree.is_namedtuple_class(type(value)) is named
        assert pytree.is_structseq(type(value)) is pytree.is_structseq_class(type(value)) is struct
        assert not pytree.is_namedtuple_class(value) and not pytree.is_structseq_class(value)


def test_structures_made_by_hand():
    leaf = pytree.treespec_leaf()
    assert (
        isinstance(leaf, pytree.LeafSpec)
        and isinstance(leaf, pytree.PyTreeSpec)
        and leaf == pytree.LeafSpec()
    )
    assert pytree.treespec_tuple([leaf, leaf]) == pytree.tree_structure((1, 2))
    assert pytree.treespec_dict({"b": leaf}, a=leaf) == pytree.tree_structure({"b": 1, "a": 2})
    assert pytree.arg_tree_leaves(1, [2], k=3) == [1, 2, 3]
    assert pytree.map_only(int)(lambda x: x + 1)(3) == 4 and pytree.map_only(int)(len)("ab") == "ab"
    wanted = pytree.tree_structure([(1, 2), 3])
    assert pytree._broadcast_to_and_flatten([1, 2], wanted) == [1, 1, 2]
    assert pytree._broadcast_to_and_flatten([1, 2, 3], wanted) is None


# ---- modules that are running


def test_module_tracker():
    seen = []

    class Shows(flambeau.nn.Module):
        def forward(self, x):
            seen.append((tracker.is_bw, tracker.parents))
            x.register_hook(lambda grad: seen.append((tracker.is_bw, tracker.parents)))
            return x * 1

    model = flambeau.nn.Sequential(flambeau.nn.Linear(2, 2), flambeau.nn.Sequential(Shows()))
    with ModuleTracker() as tracker:
        assert tracker.parents == {"Global"}
        out = model(flambeau.ones(2)).sum()
        assert tracker.parents == {"Global"} and not tracker.is_bw
        out.backward()
        assert tracker.parents == {"Global"} and not tracker.is_bw
    assert seen[0] == (False, {"Global", "Sequential", "Sequential.1", "Sequential.1.0"})
    assert seen[1][0] and {"Global", "Sequential"} < seen[1][1]


# ---- the processor as a device, backends, settings


def test_processor():
    cpu = flambeau.cpu
    event, stream = cpu.Event(), cpu.Stream()
    assert (
        cpu.is_initialized()
        and event.query()
        and event.record() is event.wait() is event.synchronize() is None
    )
    before = cpu.current_stream()
    with cpu.stream(stream), cpu.StreamContext(None):
        assert cpu.current_stream() is stream
    assert cpu.current_stream() is before and isinstance(stream.record_event(), cpu.Event)
    found = cpu.get_capabilities()
    assert found["num_logical_cores"] >= found["num_physical_cores"] >= found["num_sockets"] >= 1
    with pytest.raises(TypeError):
        found["avx2"] = True


def test_settings_without_effect_say_so():
    for module in (flambeau.backends.mkl, flambeau.backends.mkldnn):
        with module.verbose(module.VERBOSE_OFF):
            pass
        with pytest.raises(RuntimeError, match="no such library"):
            module.verbose(module.VERBOSE_ON).__enter__()
    deterministic = flambeau.utils.deterministic
    assert deterministic.fill_uninitialized_memory is False
    deterministic.fill_uninitialized_memory = False
    with pytest.raises(NotImplementedError, match="does not fill"):
        deterministic.fill_uninitialized_memory = True
    with pytest.raises(TypeError):
        deterministic.fill_uninitialized_memory = 1
    assert flambeau.GradScaler is flambeau.amp.GradScaler
    kinds = flambeau.profiler.DeviceType
    assert (
        str(kinds.CPU) == "DeviceType.CPU"
        and repr(kinds.CUDA) == "<DeviceType.CUDA: 1>"
        and kinds.PrivateUse1 == 20
    )


# ---- what can be overridden


def test_overridable_functions():
    overrides = flambeau.overrides
    functions, ignored = overrides.get_overridable_functions(), overrides.get_ignored_functions()
    everything = {f for found in functions.values() for f in found}
    for f in (
        flambeau.add,
        flambeau.where,
        flambeau.max,
        flambeau.nn.functional.relu,
        flambeau.linalg.norm,
        flambeau.Tensor.add,
    ):
        assert f in everything and f not in ignored
    for f in (
        flambeau.zeros,
        flambeau.tensor,
        flambeau.manual_seed,
        flambeau.is_grad_enabled,
        flambeau.save,
        flambeau.vmap,
    ):
        assert f in ignored and f not in everything
    dummies = overrides.get_testing_overrides()
    assert set(dummies) == everything and dummies[flambeau.nn.functional.linear](1, 2) == -1
    assert list(inspect.signature(dummies[flambeau.cat]).parameters) == ["tensors", "dim", "out"]
    with pytest.raises(TypeError):
        dummies[flambeau.add](1)


@pytest.mark.parametrize(
    "function, name, of_tensor",
    [
        (flambeau.add, "torch.add", False),
        (flambeau.Tensor.add, "torch.Tensor.add", True),
        (flambeau.Tensor.__add__, "torch.Tensor.__add__", True),
        (flambeau.Tensor.shape.__get__, "torch.Tensor.shape.__get__", True),
        (flambeau.nn.functional.relu, "torch.nn.functional.relu", False),
        (flambeau.fft.fft, "torch.fft.fft", False),
        (flambeau.ops.aten.add.Tensor, "aten.add.Tensor", False),
        (len, None, False),
    ],
)
def test_names_of_functions(function, name, of_tensor):
    assert flambeau.overrides.resolve_name(function) == name
    assert flambeau.overrides.is_tensor_method_or_property(function) is of_tensor


def test_overridable_functions_are_overridden():
    class Other:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return -1

    one, dummies = Other(), flambeau.overrides.get_testing_overrides()
    for function, args in (
        (flambeau.add, (one, 1)),
        (flambeau.cat, ([one, one],)),
        (flambeau.matmul, (one, one)),
        (flambeau.where, (one, one, one)),
        (flambeau.nn.functional.relu, (one,)),
    ):
        assert function(*args) == -1 == dummies[function](*args)


# ---- rules of operators of one's own


@pytest.fixture
def twice():
    seen = []

    @flambeau.library.custom_op("tests_tools::twice", mutates_args=())
    def twice(x: flambeau.Tensor) -> flambeau.Tensor:
        seen.append((x.dtype, tuple(x.shape)))
        return x * 2

    twice.seen = seen
    return twice


def test_autocast_rule(twice):
    flambeau.library.register_autocast(twice, "cpu", flambeau.bfloat16)
    dtypes = (flambeau.float32, flambeau.float64, flambeau.int64)
    with flambeau.autocast("cpu"):
        for dtype in dtypes:
            twice(flambeau.ones(2, dtype=dtype))
    twice(flambeau.ones(2))
    assert [dtype for dtype, _ in twice.seen] == [flambeau.bfloat16, *dtypes[1:], flambeau.float32]
    with pytest.raises(ValueError, match="unexpected type for op"):
        flambeau.library.register_autocast(3, "cpu", flambeau.bfloat16)
    with pytest.raises(RuntimeError, match="device string"):
        flambeau.library.register_autocast(twice, "nonsense", flambeau.bfloat16)


def test_vmap_rule(twice):
    x = flambeau.arange(6.0).reshape(3, 2)
    calls = []

    @flambeau.library.register_vmap("tests_tools::twice")
    def rule(info, in_dims, x):
        calls.append((info.batch_size, info.randomness, in_dims, tuple(x.shape)))
        return x * 2, in_dims[0]

    assert flambeau.vmap(twice, in_dims=1)(x).tolist() == (2 * x.T).tolist()
    assert calls == [(2, "error", (1,), (3, 2))] and not twice.seen
    assert flambeau.vmap(flambeau.vmap(twice), in_dims=1)(x).tolist() == (2 * x.T).tolist()
    assert twice(x).tolist() == (2 * x).tolist() and twice.seen
    twice.register_autograd(lambda ctx, grad: grad * 2)
    grads = flambeau.vmap(flambeau.func.grad(lambda x: twice(x).sum()))(x)
    assert grads.tolist() == [[2.0, 2.0]] * 3


def test_rule_in_a_mode(twice):
    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    class Inner(Mode):
        pass

    @flambeau.library.register_torch_dispatch("tests_tools::twice", Mode)
    def rule(mode, func, types, args, kwargs):
        assert isinstance(mode, Mode) and func is twice and types == () and kwargs == {}
        return func(*args) * 10

    x, names = flambeau.ones(2), []
    with Mode():
        assert twice(x).sum().item() == 40 and not any("mul" in name for name in names)
        assert names  # the mode is back
    with Inner(), flambeau.overrides.BaseTorchFunctionMode():
        assert twice(x).tolist() == [20, 20]
    assert twice(x).tolist() == [2, 2]
    with pytest.raises(NotImplementedError, match="no TorchDispatchMode"):
        flambeau.library.register_torch_dispatch("tests_tools::twice", flambeau.Tensor, rule)


def test_kernels(twice):
    get = flambeau.library.get_kernel
    assert get("tests_tools::twice", "CPU").call_boxed(None, flambeau.ones(1)).tolist() == [2]
    assert get(flambeau.ops.aten.add.Tensor, "CPU").call_boxed(None, flambeau.ones(1), 1).tolist() == [2]
    for arguments, error in (
        ((3, "CPU"), ValueError),
        (("tests_tools::twice", "Nope"), ValueError),
        (("tests_tools::nope", "CPU"), RuntimeError),
        (("aten::add.Tensor", "CUDA"), RuntimeError),
    ):
        with pytest.raises(error):
            get(*arguments)


# ---- checks


def test_assert_allclose():
    with pytest.warns(FutureWarning, match="assert_close"):
        assert_allclose(T([1.0]), T([1.00001], dtype=flambeau.float64))
    with pytest.warns(FutureWarning):
        assert_allclose(flambeau.ones(()), 1)
    with (
        pytest.warns(FutureWarning),
        pytest.raises(AssertionError, match=r"1e-05 allowed\)\n.*0.0001 allowed"),
    ):
        assert_allclose([1.0], [1.1])
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="no atol"):
        assert_allclose(flambeau.ones(1), flambeau.ones(1), rtol=1.0)


@pytest.mark.parametrize(
    "make, text, failure",
    [
        (lambda c: c.check("a").check_next("b"), "a\nb", None),
        (lambda c: c.check("a").check_next("b"), "a\nc\nb", "not find .*From CHECK-NEXT: b"),
        (lambda c: c.check("a").check_next("b"), "a\n\nb", "not find .*From CHECK-NEXT: b"),
        (lambda c: c.check("b").check("a"), "a b", 'Expected to find "a" but did not find it'),
        (
            lambda c: c.check("a").check_not("x").check("c"),
            "a\nx\nc",
            "a\nx\n~ <--- HERE\nc\nFrom CHECK-NOT: x",
        ),
        (lambda c: c.check_not("x").check("a"), "a x", None),
        (lambda c: c.check("a").check_not("x"), "a\ny x", "y x\n  ~ <--- HERE"),
        (lambda c: c.check_count("a", 2), "a a a", None),
        (lambda c: c.check_count("a", 2), "a", 'find "a"'),
        (lambda c: c.check_count("a", 2, exactly=True), "a a a", "a a a\n    ~ <--- HERE"),
        (lambda c: c.check_count("a", 2, exactly=True).check("b"), "a a b a", None),
        (lambda c: c.check_dag("b").check_dag("a"), "a b", None),
        (lambda c: c.check_dag("b").check_dag("a").check("c"), "a c b", 'find "c"'),
        (lambda c: c.check("a").check_same("b"), "a b", None),
        (lambda c: c.check("a").check_same("b"), "a\nb", "CHECK-SAME: b"),
        (lambda c: c.check_regex("a+b"), "aab", None),
        (lambda c: c.check_source_highlighted("foo"), "a foo\n  ~~~ <--- HERE", None),
        (lambda c: c.check_source_highlighted("foo"), "a foo\n  ~~ <--- HERE", "find"),
        (lambda c: c, "x", "No checks"),
    ],
)
def test_file_check(make, text, failure):
    if failure is None:
        assert make(FileCheck()).run(text) is None
    else:
        with pytest.raises(RuntimeError, match="(?s)" + failure):
            make(FileCheck()).run(text)


def test_file_check_reads_instructions():
    instructions = """
        # CHECK-COUNT-2: a
        # CHECK-COUNT-EXACTLY-1: b
        # CHECK-NOT: z
        # CHECK-DAG: d
        # CHECK-SAME: e
        # CHECK-REGEX: f+
    """
    FileCheck().run(instructions, "a a b d e ff")
    with pytest.raises(RuntimeError, match="CHECK-NOT: z"):
        FileCheck().run(instructions, "a a b z d e ff")


# ---- where a problem happened


def test_environment_for_reports(capsys):
    from flambeau.utils import collect_env

    found = collect_env.get_env_info()
    assert found.torch_version == flambeau.__version__ and found.is_cuda_available == "False"
    assert found.cpu_capability == flambeau.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2", "AVX512")
    assert found.threads.startswith(str(flambeau.get_num_threads())) and "scipy-openblas32" in found.openblas
    collect_env.main()
    printed = capsys.readouterr().out
    assert collect_env.get_pretty_env_info() in printed
    for name in ("Python version: ", "numpy==", "Kernels' instruction set: ", "no GPU backend"):
        assert name in printed


@pytest.mark.parametrize("level, wanted", [("default", "DEFAULT"), ("avx2", "AVX2")])
def test_the_instruction_set_that_was_asked_for_is_told(level, wanted):
    if level == "avx2" and not flambeau.cpu.get_capabilities().get("avx2"):
        pytest.skip("the processor has no AVX2")
    done = subprocess.run(
        [sys.executable, "-m", "flambeau", "-m", "torch.utils.collect_env"],
        env={**os.environ, "FLAMBEAU_CPU_CAPABILITY": level},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr
    assert f"Kernels' instruction set: {wanted}\n" in done.stdout
    assert f"FLAMBEAU_CPU_CAPABILITY={level}" in done.stdout
