"""The engine: accumulation, graphs kept and freed, higher derivatives, hooks, modes, errors that name lines."""

import gc
import threading
import weakref

import pytest

import flambeau


def leaf(*values):
    return flambeau.tensor(list(values), dtype=flambeau.float64, requires_grad=True)


def test_gradients_accumulate_in_place():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad is first
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_given_gradient_is_not_shared():
    x = leaf(1.0, 2.0)
    given = flambeau.ones(2, dtype=flambeau.float64)
    (x * 1).backward(given)
    x.backward(given)
    assert given.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_two_leaves_do_not_share_one_gradient():
    x, y = leaf(1.0), leaf(2.0)
    (x + y).sum().backward()
    x.grad.mul_(5)
    assert y.grad.tolist() == [1.0]


def test_broadcast_is_undone_and_dtype_restored():
    x = flambeau.ones(3, 1, requires_grad=True)
    y = flambeau.ones(2, 3, 4, dtype=flambeau.float64)
    (x * y).sum().backward()
    assert x.grad.shape == (3, 1) and x.grad.dtype == flambeau.float32
    assert x.grad.tolist() == [[8.0]] * 3


def test_backward_twice_needs_retain_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.grad_fn.next_functions[0][0]._saved_self  # noqa: B018


def test_a_graph_that_saved_no_tensor_runs_again():
    x = leaf(2.0)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0]


def test_saved_values_are_freed():
    x = leaf(2.0)
    kept = x * 3
    seen = weakref.ref(kept)
    y = (kept * kept).sum()
    del kept
    assert seen() is not None
    y.backward()
    assert seen() is None


def test_create_graph_gives_higher_derivatives():
    x = leaf(2.0)
    y = x * x * x * x
    for expected in (32.0, 48.0, 48.0, 24.0):
        (y,) = flambeau.autograd.grad(y.sum(), x, create_graph=True)
        assert y.tolist() == [expected]
    x.grad = None
    (x * x).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = flambeau.autograd.grad(x.grad.sum(), x)
    assert second.tolist() == [2.0]


def test_grad_leaves_dot_grad_alone_and_knows_intermediates():
    x, unused = leaf(3.0), leaf(1.0)
    y = x * x
    z = (y * 2).sum()
    gx, gy, none = flambeau.autograd.grad(z, (x, y, unused), allow_unused=True, retain_graph=True)
    assert (gx.tolist(), gy.tolist(), none, x.grad) == ([12.0], [2.0], None, None)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        flambeau.autograd.grad(z, unused, retain_graph=True)
    (zeros,) = flambeau.autograd.grad(z, unused, materialize_grads=True)
    assert zeros.tolist() == [0.0]


def test_backward_with_inputs_touches_only_those():
    x, y = leaf(3.0), leaf(5.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [5.0] and y.grad is None


def test_gradient_edges_stand_for_tensors():
    x = leaf(3.0)
    y = x * x
    edge = flambeau.autograd.graph.get_gradient_edge(y)
    assert edge.node.name() == "MulBackward0"
    (g,) = flambeau.autograd.grad((y * 5).sum(), edge)
    assert g.tolist() == [5.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: (x * x).backward(), "grad can be implicitly created only for scalar outputs"),
        (
            lambda x: (x * x).backward(flambeau.ones(3, dtype=flambeau.float64)),
            "Mismatch in shape: grad_output",
        ),
        (lambda x: x.detach().sum().backward(), "does not require grad and does not have a grad_fn"),
        (
            lambda x: flambeau.autograd.grad(x.sum(), flambeau.ones(2)),
            "One of the differentiated Tensors does not",
        ),
        (lambda x: x.add_(1), "a leaf Variable that requires grad is being used in an in-place operation."),
        (lambda x: x[0].add_(1), "a view of a leaf Variable that requires grad is being used"),
        (lambda x: (x * 1)[0].detach_(), "Can't detach views in-place. Use detach\\(\\) instead"),
        (
            lambda x: (x * 1).requires_grad_(False),
            "you can only change requires_grad flags of leaf variables",
        ),
        (lambda x: x.detach().retain_grad(), "can't retain_grad on Tensor that has requires_grad=False"),
        (
            lambda x: x.detach().register_hook(print),
            "cannot register a hook on a tensor that doesn't require gradient",
        ),
        (
            lambda x: (x * 1).register_post_accumulate_grad_hook(print),
            "cannot be registered on non-leaf tensors",
        ),
        (
            lambda x: flambeau.autograd.Variable._execution_engine.queue_callback(print),
            "during backward pass",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(leaf(1.0, 2.0))


def test_version_error_names_both_lines():
    x = leaf(1.0, 2.0)
    a = x * 1
    b = a * a  # saves
    a.add_(1)  # writes
    with pytest.raises(RuntimeError) as caught:
        b.sum().backward()
    text = str(caught.value)
    assert (
        "one of the variables needed for gradient computation has been modified by an inplace operation"
        in text
    )
    assert (
        "[torch.DoubleTensor [2]], which is output 0 of Add, is at version 1; expected version 0 instead"
        in text
    )
    lines = open(__file__).read().splitlines()
    saving, writing = (
        next(i for i, line in enumerate(lines, 1) if mark in line) for mark in ("# saves", "# writes")
    )
    assert f'saved by  MulBackward0 at File "{__file__}", line {saving}, in test_version_error' in text
    assert f'written by add_ at File "{__file__}", line {writing}, in test_version_error' in text


def test_a_write_through_detach_is_noticed():
    x = leaf(1.0, 2.0)
    a = x * 1
    b = (a * a).sum()
    a.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        b.backward()


def test_an_operand_that_is_its_own_factor():
    a = leaf(3.0) * 1
    a.mul_(a)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        a.sum().backward()


def test_chain_of_100000_nodes():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.0
    y.sum().backward()
    assert x.grad.tolist() == [1.0]
    del y


def test_a_long_chain_dies_without_backward():
    y = leaf(1.0)
    for _ in range(300_000):
        y = y + 1
    del y


def test_diamond_runs_each_node_once():
    x = leaf(1.0)
    calls = []
    y = x * 2
    y.register_hook(lambda g: calls.append(g.item()))
    z = y
    for _ in range(10):
        z = z + z
    (z + y).sum().backward()
    assert calls == [1025.0] and x.grad.tolist() == [2050.0]


# ---- hooks -------------------------------------------------------------------------------------------------


def test_tensor_hooks_in_order_and_removal():
    x = leaf(1.0)
    y = x * 1
    first = y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [3.0]
    first.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_leaf_hooks_and_post_accumulate_hooks():
    x = leaf(1.0)
    log = []
    with x.register_hook(lambda g: g * 10):
        handle = x.register_post_accumulate_grad_hook(lambda p: log.append((p is x, p.grad.tolist())))
        (x * 1).sum().backward()
        (g,) = flambeau.autograd.grad((x * 1).sum(), x)
    assert log == [(True, [10.0])] and g.tolist() == [10.0]
    handle.remove()
    (x * 1).sum().backward()
    assert len(log) == 1 and x.grad.tolist() == [11.0]


def test_hook_errors():
    x = leaf(1.0, 2.0)
    y = x * 1
    with (
        y.register_hook(lambda g: 3),
        pytest.raises(TypeError, match="expected Variable, but hook returned 'int'"),
    ):
        y.sum().backward()
    y = x * 1
    y.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the size of value"):
        y.sum().backward()


def test_node_hooks():
    x = leaf(1.0)
    y = x * 3
    log = []
    y.grad_fn.register_prehook(lambda grads: (grads[0] * 2,))
    y.grad_fn.register_hook(lambda inputs, outputs: log.append((inputs[0].item(), outputs[0].item())))
    y.sum().backward()
    assert log == [(6.0, 2.0)] and x.grad.tolist() == [6.0]


def test_retain_grad_follows_an_in_place_write():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    y.mul_(5)
    (y * 7).sum().backward()
    assert y.retains_grad and y.grad.tolist() == [7.0] and x.grad.tolist() == [70.0]


def test_retaining_tensor_may_die_first():
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    z = y + 1
    del y
    z.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_multi_grad_hook():
    x, y = leaf(1.0), leaf(2.0)
    log = []
    handle = flambeau.autograd.graph.register_multi_grad_hook((x, y), log.append)
    (x * y).sum().backward()
    x.sum().backward()
    assert [[None if g is None else g.tolist() for g in grads] for grads in log] == [
        [[2.0], [1.0]],
        [[1.0], None],
    ]
    handle.remove()


def test_callbacks_run_at_the_end():
    x = leaf(1.0)
    log = []
    queue = flambeau.autograd.Variable._execution_engine.queue_callback
    x.register_hook(lambda g: queue(lambda: log.append(x.grad.tolist())))
    (x * 2).sum().backward()
    assert log == [[2.0]]


def test_exceptions_of_a_rule_propagate_with_a_note():
    x = leaf(1.0)

    def fail(grad):
        raise KeyError("mine")

    class Fails(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            raise KeyError("mine")

    y = Fails.apply(x)
    with pytest.raises(KeyError, match="mine") as caught:
        y.sum().backward()
    notes = getattr(caught.value, "__notes__", None)
    assert notes is None or "FailsBackward, recorded at File" in notes[0]
    y = x * 1
    y.register_hook(fail)
    with pytest.raises(KeyError):
        y.sum().backward()


def test_backward_inside_backward():
    class Inner(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.detach() * x.detach()

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            with flambeau.enable_grad():
                again = x.detach().requires_grad_()
                (again * again).backward(grad)
            return again.grad

    x = leaf(3.0)
    Inner.apply(Inner.apply(x)).sum().backward()
    assert x.grad.tolist() == [108.0]


def test_nested_backward_over_the_same_graph():
    x = leaf(2.0)
    y = x * x
    z = y * 3
    inner = []

    def hook(grad):
        if not inner:
            inner.append(None)
            inner.append(flambeau.autograd.grad(y, x, flambeau.ones_like(y), retain_graph=True)[0].item())

    y.register_hook(hook)
    z.sum().backward(retain_graph=True)
    assert inner == [None, 4.0] and x.grad.tolist() == [12.0]


def test_threads():
    x = leaf(1.0)
    results = []

    def work():
        y = x
        for _ in range(200):
            y = y * 1.0 + x
        (g,) = flambeau.autograd.grad(y.sum(), x)
        results.append(g.item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [201.0] * 4


# ---- modes -------------------------------------------------------------------------------------------------


def test_modes():
    x = leaf(1.0)
    with flambeau.no_grad():
        assert not (x * 1).requires_grad
        with flambeau.enable_grad():
            assert (x * 1).requires_grad
    assert flambeau.is_grad_enabled()

    @flambeau.no_grad()
    def function():
        return (x * 1).requires_grad

    @flambeau.no_grad
    def generator():
        yield flambeau.is_grad_enabled()
        yield flambeau.is_grad_enabled()

    assert function() is False
    steps = generator()
    assert next(steps) is False and flambeau.is_grad_enabled() and next(steps) is False
    with flambeau.set_grad_enabled(False):
        assert not flambeau.is_grad_enabled()
    flambeau.set_grad_enabled(False)
    assert not flambeau.is_grad_enabled()
    flambeau.set_grad_enabled(True)
    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):

        @flambeau.no_grad()
        class Class:
            def __init__(self):
                self.mode = flambeau.is_grad_enabled()

    assert Class().mode is False


def test_inference_mode():
    w = leaf(1.0)
    with flambeau.inference_mode():
        made = w * 2
        assert made.is_inference() and not made.requires_grad and flambeau.is_inference_mode_enabled()
    with pytest.raises(
        RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"
    ):
        made.add_(1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        w * made
    with pytest.raises(
        RuntimeError, match="Setting requires_grad=True on inference tensor outside InferenceMode"
    ):
        made.requires_grad_()
    assert (w * made.clone()).requires_grad


def test_anomaly_mode_finds_nan():
    x = leaf(0.0)
    with flambeau.autograd.set_detect_anomaly(True):
        x, y = flambeau.ones(2, requires_grad=True), flambeau.full((2,), 3.0, requires_grad=True)
        (x * y).sum().backward()  # a node with two gradients, and none of them nan
        assert x.grad.tolist() == [3, 3]

        class Bad(flambeau.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, grad):
                return grad * float("nan")

        with pytest.warns(UserWarning, match="Error detected in BadBackward"):
            with pytest.raises(
                RuntimeError, match="Function 'BadBackward' returned nan values in its 0th output."
            ):
                Bad.apply(x).sum().backward()


# ---- saved tensor hooks ------------------------------------------------------------------------------------


def test_saved_tensor_hooks():
    x = leaf(3.0)
    log = []

    def pack(t):
        log.append(("pack", t.item(), t.requires_grad))
        return t.clone()

    def unpack(t):
        log.append(("unpack", t.item()))
        return t

    with flambeau.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * x
    (g,) = flambeau.autograd.grad(y.sum(), x, create_graph=True)
    (gg,) = flambeau.autograd.grad(g.sum(), x)
    assert g.tolist() == [6.0] and gg.tolist() == [2.0]
    assert log[:3] == [("pack", 3.0, False), ("pack", 3.0, False), ("unpack", 3.0)]
    with flambeau.autograd.graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"):
            flambeau.autograd.graph.saved_tensors_hooks(pack, unpack).__enter__()
    with flambeau.autograd.graph.save_on_cpu():
        z = x * x
    z.sum().backward()
    assert x.grad.tolist() == [6.0]


def test_pack_hooks_must_not_write():
    x = leaf(3.0)
    with flambeau.autograd.graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t):
        with pytest.raises(RuntimeError, match="A saved tensor pack hook is modifying its input in place"):
            x * x


# ---- the graph in Python -----------------------------------------------------------------------------------


def test_nodes():
    x = leaf(1.0)
    y = x * 2
    node = y.grad_fn
    assert node is y.grad_fn and type(node).__name__ == node.name() == "MulBackward0"
    assert isinstance(node, flambeau.autograd.graph.Node)
    assert repr(node).startswith("<MulBackward0 object at 0x")
    (accumulate, nr), none = node.next_functions
    assert (nr, none) == (0, (None, 0))
    assert accumulate.name() == "torch::autograd::AccumulateGrad" and accumulate.variable is x
    node.metadata["key"] = 1
    assert node.metadata == {"key": 1}
    assert weakref.ref(node)() is node
    with pytest.raises(TypeError):
        type(node)()


def test_cycles_through_hooks_are_collected():
    class Marker:
        pass

    marker = Marker()
    seen = weakref.ref(marker)
    y = leaf(1.0) * 2
    y.register_hook(lambda g, keep=(y, marker): None)
    del y, marker
    gc.collect()
    assert seen() is None


def test_the_gradient_that_backward_starts_with_may_be_a_list():
    x = flambeau.ones(2, requires_grad=True)
    (x * 3).backward([flambeau.tensor([1.0, 2.0])])
    assert x.grad.tolist() == [3, 6]
    with pytest.raises(RuntimeError, match="got 1 tensors and 2 gradients"):
        (x * 3).backward([flambeau.ones(2), None])
