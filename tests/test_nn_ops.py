"""Native operators of layers against PyTorch: values, gradients, second gradients, and the errors of impossible calls."""

import math

import pytest

import flambeau
import flambeau.nn.functional as F

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these comparisons, is not installed")
TF = torch.nn.functional


def theirs(*shape, dtype="float64", seed=0, grad=True):
    generator = torch.Generator().manual_seed(seed + 7 * len(shape))
    x = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
    return x.requires_grad_(grad)


def ours(x):
    if not isinstance(x, torch.Tensor):
        return x
    made = flambeau._C.tensor_from_data(x.tolist(), getattr(flambeau, str(x.dtype).removeprefix("torch.")))
    if x.numel() == 0:
        made = flambeau.zeros(tuple(x.shape), dtype=made.dtype)
    if x.dim() == 4 and not x.is_contiguous():
        made = made.contiguous(memory_format=flambeau.channels_last)
    return made.requires_grad_(x.requires_grad)


def same(mine, reference, tolerance):
    assert str(mine.dtype) == str(reference.dtype)
    assert tuple(mine.shape) == tuple(reference.shape)
    back = torch.tensor(mine.tolist(), dtype=reference.dtype).reshape(reference.shape)
    torch.testing.assert_close(back, reference.detach(), rtol=tolerance, atol=tolerance, equal_nan=True)


def agree(call, *args, second=True):
    """call(library, its functional, *args) gives the same in both, with gradients of first and second order."""
    low = [
        a.dtype for a in args if isinstance(a, torch.Tensor) and a.dtype in (torch.float16, torch.bfloat16)
    ]
    double = all(
        a.dtype == torch.float64 for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()
    )
    tolerance = 3e-2 if low else 1e-9 if double else 1e-4
    mine = [ours(a) for a in args]
    expected, found = call(torch, TF, *args), call(flambeau, F, *mine)
    expected, found = (x if isinstance(x, tuple) else (x,) for x in (expected, found))
    for a, b in zip(found, expected, strict=True):
        same(a, b, tolerance)
    wanted = [i for i, a in enumerate(args) if isinstance(a, torch.Tensor) and a.requires_grad]
    if not wanted or low:
        return
    g = torch.randn(expected[0].shape, dtype=expected[0].dtype, generator=torch.Generator().manual_seed(3))
    g.requires_grad_()
    h = ours(g)
    reference = torch.autograd.grad(expected[0], [args[i] for i in wanted], g, create_graph=second)
    gradient = flambeau.autograd.grad(found[0], [mine[i] for i in wanted], h, create_graph=second)
    for a, b in zip(gradient, reference, strict=True):
        same(a, b, tolerance)
    if not second:
        return
    seeds = [torch.ones_like(x) * 0.3 for x in reference]
    reference = torch.autograd.grad(reference, [args[i] for i in wanted] + [g], seeds, allow_unused=True)
    gradient = flambeau.autograd.grad(
        gradient, [mine[i] for i in wanted] + [h], [ours(s) for s in seeds], allow_unused=True
    )
    for a, b in zip(gradient, reference, strict=True):
        if a is not None and b is not None:
            same(a, b, 10 * tolerance)
        else:  # PyTorch and we may tell "none" from "zeros" differently
            rest = a if a is not None else b
            assert rest is None or not (rest != 0).any().item()


# ---- softmax -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "shape, dim", [((5, 7), 1), ((5, 7), 0), ((2, 70, 3), 1), ((3, 1500), -1), ((), 0), ((0, 3), 1)]
)
def test_softmax(name, dtype, shape, dim):
    agree(lambda f, F, x: getattr(F, name)(x, dim), theirs(*shape, dtype=dtype), second=dtype == "float64")


def test_softmax_of_extremes():
    rows = torch.tensor(
        [[0.0, -math.inf, 5.0], [-math.inf] * 3, [math.nan, 0, 0], [1e30, -1e30, 1e30], [-200, 0, -90]]
    )
    for name in ("softmax", "log_softmax"):
        agree(lambda f, F, x: getattr(F, name)(x, 1), rows)  # noqa: B023
        agree(lambda f, F, x: getattr(F, name)(x.t(), 0), rows)  # noqa: B023


def test_softmax_errors():
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        F.softmax(flambeau.ones(3, dtype=flambeau.int64), 0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        F.softmax(flambeau.ones(3), 1)


# ---- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "shape, normalized",
    [((4, 6), (6,)), ((2, 3, 5), (3, 5)), ((7,), (7,)), ((130, 40), (40,)), ((0, 4), (4,))],
)
def test_layer_norm(dtype, shape, normalized):
    x, w, b = (theirs(*s, dtype=dtype, seed=i) for i, s in enumerate((shape, normalized, normalized)))
    second = dtype == "float64"
    agree(lambda f, F, x, w, b: F.layer_norm(x, normalized, w, b), x, w, b, second=second)
    agree(lambda f, F, x, w: F.layer_norm(x, normalized, w), x, w, second=second)
    agree(lambda f, F, x: F.layer_norm(x, normalized), x, second=second)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "shape, normalized", [((4, 6), (6,)), ((2, 3, 5), (3, 5)), ((7,), (7,)), ((130, 40), (40,))]
)
def test_rms_norm(dtype, shape, normalized):
    x, w = theirs(*shape, dtype=dtype), theirs(*normalized, dtype=dtype, seed=1)
    agree(lambda f, F, x, w: F.rms_norm(x, normalized, w, 1e-5), x, w, second=dtype == "float64")
    agree(lambda f, F, x: F.rms_norm(x, normalized), x, second=dtype == "float64")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5), (150, 3), (2, 300, 2)])
def test_batch_norm(training, dtype, shape):
    def call(f, F, x, w, b, mean, var):
        mean, var = mean.clone(), var.clone()
        return F.batch_norm(x, mean, var, w, b, training, 0.3, 1e-3), mean, var

    c = shape[1]
    x, w, b = (theirs(*s, dtype=dtype, seed=i) for i, s in enumerate((shape, (c,), (c,))))
    mean, var = theirs(c, dtype=dtype, grad=False), theirs(c, dtype=dtype, grad=False).abs() + 0.1
    agree(call, x, w, b, mean, var, second=dtype == "float64")
    if len(shape) == 4:
        last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        agree(call, last, w, b, mean, var, second=False)


def test_statistics_of_another_size_raise():
    x = flambeau.zeros(2, 3, 4)
    for mean, var in ((2, 3), (3, 2), (0, 3), (4, 4)):
        with pytest.raises(RuntimeError, match="should contain 3 elements not"):
            F.batch_norm(x, flambeau.zeros(mean), flambeau.ones(var), training=True)
    with pytest.raises(RuntimeError, match="weight should contain 3 elements not 5"):
        F.batch_norm(x, None, None, flambeau.ones(5), training=True)
    with pytest.raises(RuntimeError, match="must be defined in evaluation mode"):
        F.batch_norm(x, None, None)
    with pytest.raises(
        RuntimeError, match=r"Given normalized_shape=\[4\], expected input with shape \[\*, 4\]"
    ):
        F.layer_norm(flambeau.zeros(2, 3), (4,))


def test_sums_do_not_depend_on_the_number_of_threads():
    x, threads = flambeau.ones(64, 48, 31, 31).cumsum(0).sin().requires_grad_(), flambeau.get_num_threads()
    weight = flambeau.ones(31, requires_grad=True)

    def gradients():
        loss = (
            F.batch_norm(x, None, None, training=True).sin().sum()
            + F.layer_norm(x, (31,), weight).sin().sum()
        )
        return flambeau.autograd.grad(loss, (x, weight))

    try:
        flambeau.set_num_threads(1)
        one = gradients()
        flambeau.set_num_threads(3)
        for a, b in zip(gradients(), one, strict=True):
            assert (a == b).all().item()
    finally:
        flambeau.set_num_threads(threads)


# ---- pooling -------------------------------------------------------------------------------------------------------

WINDOWS = [
    (2, None, 0, 1, False),
    (3, 2, 1, 1, False),
    (3, 2, 1, 1, True),
    (2, 1, 1, 2, False),
    (3, 3, 0, 2, True),
]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil_mode", WINDOWS)
def test_pooling(n, kernel, stride, padding, dilation, ceil_mode):
    for lead in ((2, 3), (3,)):
        x = theirs(*lead, *(11, 8, 7)[:n])
        agree(
            lambda f, F, x: getattr(F, f"max_pool{n}d")(
                x, kernel, stride, padding, dilation, ceil_mode, True
            ),
            x,
        )
        agree(lambda f, F, x: getattr(F, f"max_pool{n}d")(x, kernel, stride, padding, dilation, ceil_mode), x)
        if dilation > 1:
            continue
        for include in (True, False):
            options = {"ceil_mode": ceil_mode, "count_include_pad": include}
            agree(lambda f, F, x: getattr(F, f"avg_pool{n}d")(x, kernel, stride, padding, **options), x)  # noqa: B023
        if n > 1:
            agree(
                lambda f, F, x: getattr(F, f"avg_pool{n}d")(x, kernel, stride, padding, ceil_mode, True, 5), x
            )


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("output", [1, 3, 5, 12])
def test_adaptive_pooling(n, output):
    x = theirs(2, 3, *(9, 8, 7)[:n])
    agree(lambda f, F, x: getattr(F, f"adaptive_avg_pool{n}d")(x, output), x)
    agree(lambda f, F, x: getattr(F, f"adaptive_max_pool{n}d")(x, output, return_indices=True), x)


@pytest.mark.parametrize("width", [2, 3, 5, 9, 17, 33, 70])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0)])
def test_maxima_of_equals_and_of_nan(width, kernel, stride, padding):
    if width + 2 * padding < kernel:
        return
    x = torch.randint(0, 3, (2, 9, width), generator=torch.Generator().manual_seed(width)).double()
    x[0, 2:4, : width // 2] = math.nan
    x[1, :4] = -math.inf
    agree(lambda f, F, x: F.max_pool2d(x, kernel, stride, padding, return_indices=True), x)
    agree(lambda f, F, x: F.max_pool2d(x, kernel, stride, padding), x.float())


def test_pooling_of_other_layouts_and_dtypes():
    x = theirs(2, 3, 10, 10).detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    agree(lambda f, F, x: F.max_pool2d(x, 3, 2, 1), x)
    agree(lambda f, F, x: F.avg_pool2d(x, 3, 2, 1), x)
    agree(lambda f, F, x: F.max_pool2d(x, 3, 2), torch.arange(300).reshape(3, 10, 10))
    agree(lambda f, F, x: F.max_pool2d(x, 3, 2), theirs(3, 10, 10, dtype="bfloat16", grad=False))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: F.max_pool2d(x, 2, 1, 2), "pad should be at most half of effective kernel size"),
        (lambda x: F.max_pool2d(x, 5), "Output size is too small"),
        (lambda x: F.max_pool2d(x, 0), "kernel size should be greater than zero"),
        (lambda x: F.max_pool2d(x, 2, 2**62), None),
        (lambda x: F.max_pool2d(x, 2**62), "too large|too small"),
        (lambda x: F.max_pool2d(x[..., :0], 2), "Expected 3D or 4D"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor must be not zero"),
        (lambda x: F.adaptive_avg_pool2d(x, (-1, 2)), "must be greater than or equal to 0"),
    ],
)
def test_impossible_windows(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(flambeau.zeros(1, 1, 4, 4))


# ---- losses and embeddings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3), (4, 5, 2, 3), (5,)])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_losses_of_class_indices(reduction, shape, ignore_index, weighted):
    x = theirs(*shape)
    target = torch.randint(
        0, 5, shape[:1] + shape[2:] if len(shape) > 1 else (), generator=torch.Generator().manual_seed(1)
    )
    w = torch.arange(1.0, 6.0).double() if weighted else None
    options = {"ignore_index": ignore_index, "reduction": reduction}
    agree(lambda f, F, x, t, w: F.nll_loss(x, t, w, **options), x, target, w)
    agree(lambda f, F, x, t, w: F.cross_entropy(x, t, w, **options), x, target, w)
    agree(lambda f, F, x, t, w: F.cross_entropy(x, t, w, label_smoothing=0.1, **options), x, target, w)


def test_cross_entropy_of_many_classes():
    agree(
        lambda f, F, x, t: F.cross_entropy(x, t),
        theirs(4, 3000, dtype="float32"),
        torch.tensor([0, 2999, 7, 8]),
        second=False,
    )


def test_targets_out_of_bounds():
    x = flambeau.zeros(2, 3)
    for function in (F.cross_entropy, F.nll_loss):
        with pytest.raises(IndexError, match="Target 10 is out of bounds."):
            function(x, ours(torch.tensor([1, 10])))
        with pytest.raises(IndexError, match="Target -1 is out of bounds."):
            function(x, ours(torch.tensor([-1, 0])))
        with pytest.raises(RuntimeError, match="weight tensor should be defined"):
            function(x, ours(torch.tensor([1, 1])), flambeau.ones(2))


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("by_frequency", [False, True])
def test_embedding(padding_idx, by_frequency):
    indices = torch.tensor([[1, 2, 2], [5, 1, 0]])
    agree(
        lambda f, F, w, i: F.embedding(i, w, padding_idx, scale_grad_by_freq=by_frequency),
        theirs(6, 4),
        indices,
        second=not by_frequency,  # PyTorch's second derivative leaves the frequencies out
    )


def test_embedding_errors():
    table = flambeau.zeros(3, 2)
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(ours(torch.tensor([3])), table)
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(ours(torch.tensor([-1])), table)
    with pytest.raises(RuntimeError, match="Long, Int"):
        F.embedding(flambeau.zeros(2), table)


# ---- optimizers ----------------------------------------------------------------------------------------------------

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
]


@pytest.mark.parametrize("name, options", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_fused_steps(name, options, dtype):
    shapes = [(3,), (40, 50), (), (0,)]
    start = [theirs(*s, dtype=dtype) for s in shapes]
    mine = [ours(p) for p in start]
    steps = [getattr(m.optim, name)(p, lr=0.05, **options) for m, p in ((torch, start), (flambeau, mine))]
    for k in range(4):
        for p, q in zip(start, mine, strict=True):
            p.grad = theirs(*p.shape, dtype=dtype, seed=k, grad=False)
            q.grad = ours(p.grad)
        for step in steps:
            step.step()
    tolerance = {"float32": 1e-6, "float64": 1e-12, "bfloat16": 2e-2}[dtype]
    for p, q in zip(start, mine, strict=True):
        same(q.detach(), p, tolerance)


def test_steps_check_their_lists():
    from flambeau._ops.optim import adam_step, sgd_step

    p = flambeau.zeros(3)
    for grads, buffers in (([flambeau.zeros(2)], []), ([], []), ([p], [flambeau.zeros(4)]), ([p], [p, p])):
        with pytest.raises(RuntimeError):
            sgd_step([p], grads, buffers, 0.1, 0.0, 0.0, 0.0, False, False)
    with pytest.raises(RuntimeError, match="share memory"):
        sgd_step([flambeau.zeros(1).expand(3)], [p], [], 0.1, 0.0, 0.0, 0.0, False, False)
    with pytest.raises(RuntimeError, match="step count"):
        adam_step([p], [p], [p], [p], [], [flambeau.zeros(2)], 0.1, 0.9, 0.9, 0.0, 0.0, False, False)


def test_linear_without_features_has_gradients():
    x, w = flambeau.zeros(2, 0, requires_grad=True), flambeau.zeros(3, 0, requires_grad=True)
    b = flambeau.ones(3, requires_grad=True)
    flambeau.nn.functional.linear(x, w, b).sum().backward()
    assert x.grad.shape == (2, 0) and w.grad.shape == (3, 0) and b.grad.tolist() == [2, 2, 2]
