"""Convolutions against PyTorch: random settings in one to three dimensions, both layouts, all gradients."""

import random

import pytest

import flambeau
from flambeau._ops.conv import _convolution_weight
from flambeau._ops.nn import convolution

torch = pytest.importorskip("torch", reason="PyTorch, the peer of these comparisons, is not installed")


def ours_of(t):
    return flambeau._C.tensor_from_data(
        t.tolist(), getattr(flambeau, str(t.dtype).partition(".")[2])
    ).reshape(tuple(t.shape))


def agree(ours, theirs, tolerance):
    assert tuple(ours.shape) == tuple(theirs.shape)
    back = torch.tensor(ours.tolist(), dtype=torch.float64).reshape(theirs.shape)
    torch.testing.assert_close(back, theirs.double(), rtol=tolerance, atol=tolerance)


def random_case(rng):
    n = rng.choice([1, 2, 2, 2, 3])
    groups, per_group, out_per_group = (
        rng.choice([1, 1, 1, 2, 3]),
        rng.choice([1, 2, 3, 5, 20]),
        rng.choice([1, 2, 13, 40]),
    )
    if rng.random() < 0.2:
        groups, per_group, out_per_group = rng.choice([4, 9, 40]), 1, 1
    kernel = [rng.choice([1, 2, 3, 5]) for _ in range(n)]
    stride = [rng.choice([1, 1, 2, 3]) for _ in range(n)]
    dilation = [rng.choice([1, 1, 2]) for _ in range(n)]
    padding = [rng.choice([0, 0, 1, 2]) for _ in range(n)]
    transposed = rng.random() < 0.3
    extra = [rng.randrange(max(s, d)) if transposed else 0 for s, d in zip(stride, dilation, strict=True)]
    channels = groups * (out_per_group if transposed else per_group)
    size = [rng.choice([5, 6, 9, 14] if n < 3 else [4, 5, 6]) for _ in range(n)]
    x = torch.randn(rng.choice([1, 2, 7]) if n < 3 else 1, channels, *size, dtype=torch.float64)
    w = torch.randn(groups * out_per_group, per_group, *kernel, dtype=torch.float64)
    b = torch.randn(groups * (per_group if transposed else out_per_group), dtype=torch.float64)
    return x, w, b if rng.random() < 0.6 else None, (stride, padding, dilation, transposed, extra, groups)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", range(40))
def test_random_settings(seed, dtype):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    x, w, b, settings = random_case(rng)
    theirs = [None if t is None else t.to(getattr(torch, dtype)).requires_grad_() for t in (x, w, b)]
    ours = [None if t is None else ours_of(t.detach()).requires_grad_() for t in theirs]
    x_ours, x_theirs = ours[0], theirs[0]
    if x.dim() == 4 and rng.random() < 0.5:
        x_theirs = x_theirs.contiguous(memory_format=torch.channels_last)
        x_ours = x_ours.contiguous(memory_format=flambeau.channels_last)
    try:
        expected = torch.convolution(x_theirs, *theirs[1:], *settings)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            convolution(x_ours, *ours[1:], *settings)
        return
    result = convolution(x_ours, *ours[1:], *settings)
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    agree(result.detach(), expected.detach(), tolerance)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (result * ours_of(weight)).sum().backward()
    for a, t in zip(ours, theirs, strict=True):
        if t is not None:
            agree(a.grad, t.grad, tolerance)


@pytest.mark.parametrize(
    "batch,channels,out,size,kernel,stride,padding",
    [(2, 320, 40, 7, 3, 1, 1), (3, 600, 33, 5, 1, 1, 0), (2, 130, 70, 6, 3, 2, 0), (5, 40, 24, 14, 1, 2, 0)],
)
@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_many_channels(batch, channels, out, size, kernel, stride, padding, layout):
    """Windows whose weights come in several pieces, images that share a block, and 1x1 windows that skip inputs."""
    torch.manual_seed(0)
    theirs = [torch.randn(batch, channels, size, size), torch.randn(out, channels, kernel, kernel)]
    ours = [ours_of(t).contiguous(memory_format=getattr(flambeau, layout)).requires_grad_() for t in theirs]
    theirs = [t.double().requires_grad_() for t in theirs]
    expected = torch.nn.functional.conv2d(*theirs, stride=stride, padding=padding)
    result = flambeau.nn.functional.conv2d(*ours, stride=stride, padding=padding)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    (result * ours_of(weight.float())).sum().backward()
    for a, t in (
        (result.detach(), expected.detach()),
        *((a.grad, t.grad) for a, t in zip(ours, theirs, strict=True)),
    ):
        agree(a, t, 1e-5 * float(t.abs().max()))


@pytest.mark.parametrize(
    "size,kernel,padding,dilation",
    [
        ((20, 33), (3, 3), (1, 1), 1),
        ((5, 40), (2, 5), (0, 3), 2),
        ((1, 17), (1, 4), (3, 0), 1),
        ((13, 16), (5, 1), (6, 2), 1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_channel_its_own_window(size, kernel, padding, dilation, dtype):
    torch.manual_seed(0)
    shapes = ((2, 5, *size), (5, 1, *kernel), (5,))
    theirs = [torch.randn(shape, dtype=getattr(torch, dtype)) for shape in shapes]
    ours = [ours_of(t).requires_grad_() for t in theirs]
    theirs = [t.double().requires_grad_() for t in theirs]
    settings = {"padding": padding, "dilation": dilation, "groups": 5}
    expected = torch.nn.functional.conv2d(*theirs, **settings)
    weight = torch.randn_like(expected)
    (expected * weight).sum().backward()
    result = flambeau.nn.functional.conv2d(*ours, **settings)
    (result * ours_of(weight.to(getattr(torch, dtype)))).sum().backward()
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    agree(result.detach(), expected.detach(), tolerance)
    for a, t in zip(ours, theirs, strict=True):
        agree(a.grad, t.grad, tolerance * 10)


def gradients(library, x, w, b, weight, **settings):
    result = library.nn.functional.conv2d(x, w, b, **settings)
    (result * weight).sum().backward()
    return [result.detach(), *(t.grad for t in (x, w, b) if t is not None)]


def compare_with_float64(x, w, b, layout, tolerance=2e-6, **settings):
    """Result and all gradients, with errors relative to the largest element; the same bits on one and two threads."""
    theirs = [None if t is None else t.double().requires_grad_() for t in (x, w, b)]
    weight = torch.randn_like(torch.nn.functional.conv2d(*theirs, **settings)).float()
    expected = gradients(torch, *theirs, weight.double(), **settings)
    before, results = flambeau.get_num_threads(), []
    try:
        for threads in (1, 2):
            flambeau.set_num_threads(threads)
            ours = [None if t is None else in_layout(ours_of(t), layout).requires_grad_() for t in (x, w, b)]
            results.append(gradients(flambeau, *ours, in_layout(ours_of(weight), layout), **settings))
    finally:
        flambeau.set_num_threads(before)
    for one, two, reference in zip(*results, expected, strict=True):
        assert one.tolist() == two.tolist()
        agree(one, reference, tolerance * max([1.0, *reference.abs().flatten().tolist()]))


def in_layout(t, layout):
    if t.dim() < 4:
        return t
    if layout == "odd strides":
        shape = t.shape
        wide = flambeau.empty(shape[0], shape[2], shape[1], 2 * shape[3]).permute(0, 2, 1, 3)[..., ::2]
        return wide.copy_(t)
    return t.contiguous(memory_format=getattr(flambeau, layout))


LAYOUTS = ("contiguous_format", "channels_last", "odd strides")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batch,channels,size,kernel,settings",
    [
        (2, 33, (14, 14), (3, 3), {"padding": 1}),
        (1, 16, (7, 7), (3, 3), {"padding": 1}),
        (3, 40, (17, 31), (3, 3), {"padding": 0}),
        (2, 5, (2, 35), (3, 3), {"padding": (2, 1)}),
        (2, 20, (9, 16), (3, 3), {"padding": (5, 4)}),
        (2, 32, (12, 13), (3, 3), {"padding": 2, "dilation": 2}),
        (2, 18, (15, 12), (3, 3), {"padding": 1, "stride": 2}),
        (2, 7, (11, 20), (5, 4), {"padding": (2, 3), "stride": (1, 3)}),
        (1, 64, (10, 9), (5, 5), {"padding": 2}),
        (2, 17, (8, 40), (1, 3), {"padding": (0, 1)}),
        (2, 17, (8, 40), (7, 1), {"padding": (3, 0)}),
        (1, 3, (1, 1), (3, 3), {"padding": 1}),
        (0, 4, (6, 6), (3, 3), {"padding": 1}),
        (2, 3, (4, 64), (3, 3), {"padding": 1}),
        (1, 3, (3, 47), (3, 3), {"padding": 1}),
        (1, 2, (5, 130), (3, 3), {"padding": (0, 1)}),
        (2, 3, (6, 66), (3, 3), {"padding": 0}),
        (1, 3, (9, 100), (3, 3), {"padding": (1, 40)}),
        (1, 2, (9, 70), (3, 3), {"padding": (1, 2), "dilation": (1, 2)}),
    ],
)
def test_depthwise(batch, channels, size, kernel, settings, layout):
    torch.manual_seed(0)
    x, w, b = (torch.randn(s) for s in ((batch, channels, *size), (channels, 1, *kernel), (channels,)))
    compare_with_float64(x, w, b, layout, groups=channels, **settings)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
@pytest.mark.parametrize("size,padding", [((9, 16), 0), ((14, 14), 1), ((5, 35), 0), ((6, 66), 2)])
def test_depthwise_meets_infinities_only_where_they_are(size, padding, layout):
    """The gradient of a tap that no infinite element lies under is finite, at the edges too."""
    torch.manual_seed(0)
    x = torch.randn(2, 18, *size)
    rows, columns = (n + 2 * padding - 2 for n in size)
    for channel in range(9):  # an infinite element at an edge or in the middle
        row, column = ((0, n // 2, n - 1)[i] for n, i in zip(size, divmod(channel, 3), strict=True))
        x[0, channel, row, column] = float("inf")
    grad = torch.rand(2, 18, rows, columns) + 0.5
    expected = torch.zeros(18, 1, 3, 3)
    for tap in range(9):
        h, k = divmod(tap, 3)
        top, left = max(0, padding - h), max(0, padding - k)
        bottom, right = min(rows, size[0] + padding - h), min(columns, size[1] + padding - k)
        under = x[:, :, top + h - padding : bottom + h - padding, left + k - padding : right + k - padding]
        expected[:, 0, h, k] = (grad[:, :, top:bottom, left:right] * under).sum((0, 2, 3))
    assert expected.isinf().any() and not expected.isnan().any()
    ours, weight = in_layout(ours_of(x), layout), flambeau.zeros(18, 1, 3, 3, requires_grad=True)
    result = flambeau.nn.functional.conv2d(ours, weight, padding=padding, groups=18)
    (actual,) = flambeau.autograd.grad(result, weight, in_layout(ours_of(grad), layout))
    agree(actual, expected, 1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batch,channels,out,size,padding",
    [
        (3, 33, 40, (14, 13), 1),
        (8, 32, 32, (7, 7), 1),
        (1, 48, 35, (11, 16), 0),
        (2, 34, 50, (9, 8), 2),
        (1, 32, 33, (12, 9), (3, 4)),
        (1, 32, 32, (3, 4), (1, 120)),
        (2, 270, 36, (8, 10), 1),
        (1, 32, 32, (5, 600), 1),
        (40, 32, 64, (1, 2), 1),
    ],
)
def test_windows_of_three_by_three(batch, channels, out, size, padding, layout):
    """What goes by Winograd's algorithm: odd sizes, channels that fill no vector, padding beyond the window."""
    torch.manual_seed(0)
    x, w, b = torch.randn(batch, channels, *size), torch.randn(out, channels, 3, 3), torch.randn(out)
    compare_with_float64(x, w, b, layout, padding=padding)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batch,channels,out,size,kernel,settings",
    [
        (2, 3, 20, (30, 33), (7, 7), {"padding": 3, "stride": 2}),
        (1, 4, 17, (26, 45), (3, 5), {"padding": (0, 4), "stride": (1, 3)}),
        (3, 5, 2, (13, 70), (3, 3), {"padding": 1}),
        (2, 1, 9, (14, 24), (5, 4), {"padding": (5, 2), "dilation": (2, 3)}),
        (1, 36, 1, (9, 130), (1, 3), {"padding": (0, 1)}),
        (5, 3, 6, (13, 12), (4, 3), {"padding": 9, "stride": 40}),
        (2, 2, 4, (16, 15), (3, 3), {"padding": 1, "dilation": 2}),
        (0, 3, 4, (20, 20), (7, 7), {"padding": 3, "stride": 2}),
    ],
)
def test_few_channels(batch, channels, out, size, kernel, settings, layout):
    """Pictures: outputs, or gradients of inputs, of few channels, and windows that are written out."""
    torch.manual_seed(0)
    x, w, b = (torch.randn(s) for s in ((batch, channels, *size), (out, channels, *kernel), (out,)))
    compare_with_float64(x, w, b, layout, **settings)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batch,channels,out,size,padding",
    [
        (3, 33, 40, (14, 13), 1),
        (8, 32, 32, (15, 15), 1),
        (2, 48, 35, (21, 16), 0),
        (3, 34, 50, (9, 28), (3, 1)),
        (2, 270, 36, (16, 19), 1),
        (2, 35, 300, (18, 12), (1, 2)),
        (1, 32, 33, (5, 300), 1),
        (70, 32, 32, (1, 2), 1),
    ],
)
def test_windows_of_three_by_three_by_two(batch, channels, out, size, padding, layout):
    """The same where the window moves by two, up to tiles of a single output at the edge."""
    torch.manual_seed(0)
    x, w, b = torch.randn(batch, channels, *size), torch.randn(out, channels, 3, 3), torch.randn(out)
    compare_with_float64(x, w, b, layout, padding=padding, stride=2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "batch,channels,out,size,stride",
    [(3, 20, 37, (14, 15), 2), (2, 40, 33, (5, 45), (1, 3)), (5, 17, 20, (8, 8), 2), (1, 300, 24, (6, 7), 2)],
)
def test_windows_of_one_element_that_skip_inputs(batch, channels, out, size, stride, layout):
    torch.manual_seed(0)
    x, w, b = torch.randn(batch, channels, *size), torch.randn(out, channels, 1, 1), torch.randn(out)
    compare_with_float64(x, w, b, layout, stride=stride)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [1, 2])
def test_transposed_windows_with_gaps_between_them(kernel, bias):
    """What no window meets is zero, or the bias."""
    torch.manual_seed(0)
    x, w, b = torch.randn(3, 6, 5, 4), torch.randn(6, 18, kernel, kernel), torch.randn(18)
    for layout in LAYOUTS:
        result = flambeau.nn.functional.conv_transpose2d(
            in_layout(ours_of(x), layout), ours_of(w), ours_of(b) if bias else None, stride=3
        )
        agree(result, torch.nn.functional.conv_transpose2d(x, w, b if bias else None, stride=3), 1e-5)


def threes(seed=0):
    """An input and weights large enough for Winograd's algorithm."""
    torch.manual_seed(seed)
    return torch.randn(2, 40, 10, 12), torch.randn(33, 40, 3, 3)


def conv_threes(x, w):
    return flambeau.nn.functional.conv2d(ours_of(x), ours_of(w), padding=1)


def test_small_integers_stay_exact():
    x, w = ((t * 4).round() for t in threes())
    expected = torch.nn.functional.conv2d(x.double(), w.double(), padding=1)
    assert conv_threes(x, w).tolist() == expected.float().tolist()


def test_three_by_three_is_as_accurate_as_a_direct_sum():
    """Fewer than 32 outputs are summed directly."""
    x, w = threes()
    reference = torch.nn.functional.conv2d(x.double(), w.double(), padding=1)
    transformed, direct = (
        torch.tensor(t.tolist(), dtype=torch.float64) for t in (conv_threes(x, w), conv_threes(x, w[:31]))
    )
    error = (transformed - reference).square().mean().sqrt()
    assert error < 1.5 * (direct - reference[:, :31]).square().mean().sqrt()


def weight_gradients(x, grad, stride):
    """Ours, and PyTorch's in float64 and float32."""
    settings = ([stride] * 2, [1, 1], [1, 1], 1)
    size = (grad.shape[1], x.shape[1], 3, 3)
    ours = _convolution_weight(ours_of(x), ours_of(grad), size, *settings)
    theirs = [
        torch.nn.grad.conv2d_weight(x.to(t), size, grad.to(t), stride=stride, padding=1)
        for t in (torch.float64, torch.float32)
    ]
    return torch.tensor(ours.tolist()).reshape(size), *theirs


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_small_integers_stay_exact(stride):
    torch.manual_seed(0)
    x = (torch.randn(2, 33, 22, 21) * 4).round()
    grad = (torch.randn(2, 40, *((22, 21) if stride == 1 else (11, 11))) * 4).round()
    ours, exact, _ = weight_gradients(x, grad, stride)
    assert ours.tolist() == exact.float().tolist()
    w = (torch.randn(40, 33, 3, 3) * 4).round()
    result = flambeau.nn.functional.conv2d(ours_of(x), ours_of(w), stride=stride, padding=1)
    expected = torch.nn.functional.conv2d(x.double(), w.double(), stride=stride, padding=1)
    assert result.tolist() == expected.float().tolist()


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_weights_are_as_accurate_as_a_direct_sum(stride, mean):
    torch.manual_seed(0)
    x = torch.randn(4, 40, 28, 28) + mean
    grad = torch.randn(4, 48, 28 // stride, 28 // stride)
    ours, exact, direct = weight_gradients(x, grad, stride)
    errors = [(t - exact).square().mean().sqrt() for t in (ours, direct)]
    assert errors[0] < 1.5 * errors[1]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("values", [(float("nan"),), (float("inf"),), (float("-inf"), float("inf")), (3e38,)])
@pytest.mark.parametrize("where", ["input", "gradient"])
def test_values_that_are_not_finite_reach_the_gradients_that_they_reach_in_a_direct_sum(
    where, values, stride
):
    torch.manual_seed(0)
    x, grad = torch.randn(3, 33, 16, 16), torch.randn(3, 40, 16 // stride, 16 // stride)
    if values[0] == 3e38:
        x, grad = (x * 1e-3, grad) if where == "gradient" else (x, grad * 1e-3)
    for i, value in enumerate(values):
        (x if where == "input" else grad)[1, 5, 4 + i, 3 : 5 + i] = value
    ours, exact, _ = weight_gradients(x, grad, stride)
    expected = exact.float()
    largest = float(expected[expected.isfinite()].abs().max())
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6 * largest, equal_nan=True)


@pytest.mark.parametrize("values", [(float("nan"),), (float("inf"),), (float("-inf"), float("inf")), (3e38,)])
@pytest.mark.parametrize("where", ["input", "weight"])
def test_values_that_are_not_finite_reach_what_they_reach_in_a_direct_sum(values, where):
    """Also those that only a transform makes overflow, and nothing happens to the other image."""
    x, w = threes()
    if values[0] == 3e38:
        w = w * 1e-3
        if where == "weight":
            x = x * 1e-3
    clean = conv_threes(x, w)
    for i, value in enumerate(values):
        if where == "input":
            x[1, 5, 4 + i, 3 : 5 + i] = value
        else:
            w[7, 5, :, 1 + i] = value
    expected = torch.nn.functional.conv2d(x.double(), w.double(), padding=1).float()
    result = conv_threes(x, w)
    if where == "input":
        assert result[0].tolist() == clean[0].tolist()
    back = torch.tensor(result.tolist()).reshape(expected.shape)
    largest = float(expected[expected.isfinite()].abs().max())
    torch.testing.assert_close(back, expected, rtol=1e-5, atol=1e-6 * largest, equal_nan=True)


@pytest.mark.parametrize("dtype", ["int64", "complex64"])
def test_the_bias_has_the_dtype_of_the_input(dtype):
    x, w = (flambeau.ones(1, 1, 4, dtype=getattr(flambeau, dtype)) for _ in range(2))
    with pytest.raises(RuntimeError, match="and bias type .* should be the same"):
        flambeau.nn.functional.conv1d(x, w, flambeau.ones(1, dtype=flambeau.float64))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "complex64"])
def test_other_dtypes(dtype):
    torch.manual_seed(0)
    x, w = ((torch.randn(shape) * 3).to(getattr(torch, dtype)) for shape in ((2, 3, 6, 5), (4, 3, 3, 2)))
    expected = torch.nn.functional.conv2d(x, w, stride=2, padding=1)
    result = flambeau.nn.functional.conv2d(ours_of(x), ours_of(w), stride=2, padding=1)
    assert str(result.dtype) == str(expected.dtype)
    back = torch.tensor(result.tolist(), dtype=expected.dtype)
    torch.testing.assert_close(back, expected, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_complex_numbers(groups, transposed):
    torch.manual_seed(0)
    weight = (4, 3, 2, 3) if transposed else (6, 4 // groups, 2, 3)
    theirs = [
        torch.randn(s, dtype=torch.complex128).requires_grad_()
        for s in ((2, 4, 6, 5), weight, (3 * groups if transposed else 6,))
    ]
    ours = [ours_of(t.detach()).requires_grad_() for t in theirs]
    gradients = []
    for library, operands in ((flambeau, ours), (torch, theirs)):
        function = getattr(library.nn.functional, "conv_transpose2d" if transposed else "conv2d")
        y = function(*operands, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=groups)
        gradients.append([y, *library.autograd.grad((y * y).sum().real, operands)])
    for a, t in zip(*gradients, strict=True):
        for part in ("real", "imag"):
            agree(getattr(a, part), getattr(t, part), 1e-10)


def test_small_volumes_are_rounded_once():
    torch.manual_seed(0)
    x, w = (ours_of(torch.randn(s) * 9) for s in ((1, 4, 5, 5, 5), (4, 8, 3, 3, 3)))
    exact = flambeau.nn.functional.conv_transpose3d(x.double(), w.double())
    assert flambeau.equal(flambeau.nn.functional.conv_transpose3d(x, w), exact.float())


def test_layouts_follow_the_input():
    x, w = flambeau.ones(2, 3, 5, 5), flambeau.ones(4, 3, 3, 3)
    args = ([1], [0], [1], False, [0], 1)
    assert convolution(x, w, None, *args).is_contiguous()
    last = convolution(x.contiguous(memory_format=flambeau.channels_last), w, None, *args)
    assert last.is_contiguous(memory_format=flambeau.channels_last)


def test_second_derivatives():
    torch.manual_seed(0)
    theirs = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((2, 2, 7, 6), (4, 1, 3, 2))]
    ours = [ours_of(t.detach()).requires_grad_() for t in theirs]
    seconds = []
    for library, (x, w) in ((flambeau, ours), (torch, theirs)):
        y = library.convolution(x, w, None, [2, 1], [1, 0], [1, 1], False, [0, 0], 2)
        grads = library.autograd.grad((y * y).sum(), (x, w), create_graph=True)
        seconds.append(library.autograd.grad(sum((g * g).sum() for g in grads), (x, w)))
    for a, t in zip(*seconds, strict=True):
        agree(a, t, 1e-8)


def test_the_same_bits_for_any_number_of_threads():
    torch.manual_seed(0)
    x, w = (ours_of(torch.randn(s)) for s in ((3, 8, 20, 20), (16, 8, 3, 3)))
    before = flambeau.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            flambeau.set_num_threads(threads)
            a, b = x.clone().requires_grad_(), w.clone().requires_grad_()
            y = convolution(a, b, None, [1], [1], [1], False, [0], 1)
            (y * y).sum().backward()
            results.append([t.tolist() for t in (y.detach(), a.grad, b.grad)])
    finally:
        flambeau.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "shapes,settings,message",
    [
        (
            ((1, 3, 5, 5), (4, 2, 3, 3)),
            ([1], [0], [1], False, [0], 1),
            r"to have 2 channels, but got 3 channels instead",
        ),
        (
            ((1, 2, 2, 2), (4, 2, 3, 3)),
            ([1], [0], [1], False, [0], 1),
            "Kernel size can't be greater than actual input size",
        ),
        (
            ((1, 2, 5, 5), (4, 2, 3, 3)),
            ([0], [0], [1], False, [0], 1),
            "non-positive stride is not supported",
        ),
        (((1, 2, 5, 5), (4, 2, 3, 3)), ([1], [-1], [1], False, [0], 1), "negative padding is not supported"),
        (
            ((1, 2, 5, 5), (4, 2, 3, 3)),
            ([1], [0], [0], False, [0], 1),
            "dilation should be greater than zero",
        ),
        (
            ((1, 2, 5, 5), (4, 2, 3, 3)),
            ([1], [0], [1], False, [0], 0),
            "non-positive groups is not supported",
        ),
        (
            ((1, 2, 5, 5), (3, 1, 3, 3)),
            ([1], [0], [1], False, [0], 2),
            "expected weight to be divisible by 2",
        ),
        (((1, 2, 5, 5), (2, 2, 3, 3)), ([1], [0], [1], True, [1], 1), "output padding must be smaller than"),
        (((1, 2, 5, 5), (2, 2, 3)), ([1], [0], [1], False, [0], 1), "expected weight with 4 dimensions"),
        (
            ((1, 2, 5, 5), (2, 2, 3, 3)),
            ([1, 1, 1], [0], [1], False, [0], 1),
            "to match the convolution dimensions",
        ),
    ],
)
def test_errors(shapes, settings, message):
    x, w = (flambeau.ones(shape) for shape in shapes)
    with pytest.raises(RuntimeError, match=message):
        convolution(x, w, None, *settings)
