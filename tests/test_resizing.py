"""interpolate() against sums of weighted elements written out in Python, one dimension at a time."""

import itertools
import math
from functools import partial

import pytest

import flambeau
import flambeau.nn.functional as F


def cubic(x, a):
    x = abs(x)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a if x < 2 else 0.0


def triangle(x):
    return max(0.0, 1 - abs(x))


def weights(mode, size, out, align_corners=False, scale=None, antialias=False):
    """rows[o][i]: how much of input i output o takes."""
    if align_corners:
        ratio = (size - 1) / (out - 1) if out > 1 else 0.0
    else:
        ratio = 1 / scale if scale else size / out
    rows = []
    for o in range(out):
        row = [0.0] * size
        if mode.startswith("nearest"):
            row[min(int((o + (0.5 if mode == "nearest-exact" else 0)) * ratio), size - 1)] = 1.0
        elif antialias:
            stretch = max(ratio, 1.0)
            kernel = triangle if mode == "linear" else lambda x: cubic(x, -0.5)
            row = [kernel((i + 0.5 - ratio * (o + 0.5)) / stretch) for i in range(size)]
            row = [w / sum(row) for w in row]
        else:
            at = o * ratio if align_corners else (o + 0.5) * ratio - 0.5
            if mode == "linear":
                at = max(at, 0.0)
            for i in range(math.floor(at) - 1, math.floor(at) + 3):
                w = triangle(at - i) if mode == "linear" else cubic(at - i, -0.75)
                row[min(max(i, 0), size - 1)] += w
        rows.append(row)
    return flambeau.tensor(rows, dtype=flambeau.float64)


def resized(x, sizes, kernel, **how):
    for dim, out in enumerate(sizes, 2):
        table = weights(kernel, x.size(dim), out, **how)
        x = flambeau.tensordot(x, table, dims=([dim], [1])).movedim(-1, dim)
    return x


def image(*shape):
    count = math.prod(shape)
    values = [((i * 37 + 11) % 101) / 10 - 5 for i in range(count)]
    return flambeau.tensor(values, dtype=flambeau.float64).reshape(shape)


NAMES = {1: "linear", 2: "bilinear", 3: "trilinear"}
SIZES = {1: [(3,), (50,), (1,)], 2: [(3, 4), (11, 40), (4, 7), (1, 1), (9, 3)], 3: [(2, 3, 9), (5, 4, 2)]}
INPUTS = {1: (2, 3, 7), 2: (2, 5, 6, 7), 3: (1, 2, 3, 4, 5)}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_mode_in_every_number_of_dimensions(n, mode, dtype):
    x = image(*INPUTS[n])
    for size, align in itertools.product(SIZES[n], (False, True) if mode == "linear" else (None,)):
        expected = resized(x, size, mode, align_corners=bool(align))
        name = NAMES[n] if mode == "linear" else mode
        found = F.interpolate(x.to(getattr(flambeau, dtype)), size, mode=name, align_corners=align)
        assert found.shape == (*x.shape[:2], *size)
        flambeau.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 5, 20])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_images_in_both_layouts(mode, antialias, channels):
    x = image(2, channels, 9, 38)
    for size in ((4, 17), (20, 80), (9, 5), (3, 38), (30, 38)):
        expected = resized(x, size, mode, antialias=antialias)
        for format in (flambeau.contiguous_format, flambeau.channels_last):
            y = x.contiguous(memory_format=format)
            found = F.interpolate(y, size, mode="bi" + mode, antialias=antialias)
            assert found.is_contiguous(memory_format=format)
            flambeau.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_the_transposed_weights():
    for n, name in ((1, "linear"), (2, "bilinear"), (2, "bicubic"), (3, "trilinear"), (2, "nearest")):
        for size, channels_last in itertools.product(SIZES[n], (False, True) if n == 2 else (False,)):
            x = image(*INPUTS[n])
            if channels_last:
                x = x.contiguous(memory_format=flambeau.channels_last)
            x.requires_grad_()
            y = F.interpolate(x, size, mode=name)
            g = image(*y.shape)
            (gradient,) = flambeau.autograd.grad(y, x, g)
            # <resize(x), g> is linear in x: its value is the product of x and the gradient.
            assert (gradient * x).sum().item() == pytest.approx((y * g).sum().item(), rel=1e-9, abs=1e-9)
            resize = partial(F.interpolate, size=size, mode=name)
            assert flambeau.autograd.gradcheck(resize, (x,), fast_mode=True)


def test_results_do_not_depend_on_threads():
    before = flambeau.get_num_threads()
    x = flambeau.rand(3, 5, 40, 33)
    try:
        found = []
        for threads in (1, 2, 5):
            flambeau.set_num_threads(threads)
            found.append(
                [F.interpolate(x, (s, 70), mode=m) for s in (20, 90) for m in ("bilinear", "bicubic")]
            )
    finally:
        flambeau.set_num_threads(before)
    for other in found[1:]:
        assert all(flambeau.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_small_floats_round_once():
    x = image(1, 2, 5, 6).half()
    exact = resized(x.double(), (9, 4), "linear")
    found = F.interpolate(x, (9, 4), mode="bilinear")
    assert found.dtype == flambeau.float16
    assert ((found.double() - exact).abs() <= exact.abs() * 2**-11 * 1.001 + 1e-7).all()


def test_scale_factors():
    x = image(1, 1, 7)
    for scale in (1.7, 0.6, 2.03):
        out = math.floor(7 * scale)
        kept = F.interpolate(x, scale_factor=scale, mode="linear")
        flambeau.testing.assert_close(kept, resized(x, (out,), "linear", scale=scale))
        again = F.interpolate(x, scale_factor=scale, mode="linear", recompute_scale_factor=True)
        flambeau.testing.assert_close(again, resized(x, (out,), "linear"))
    steps = flambeau.arange(7.0).view(1, 1, 1, 7)
    # Two dimensions take a doubled size for what it is, one dimension follows the factor: so does PyTorch.
    assert F.interpolate(steps, scale_factor=(1, 2.03)).flatten().tolist() == [i // 2 for i in range(14)]
    assert F.interpolate(steps[0], scale_factor=2.03).flatten().tolist()[:5] == [0, 0, 0, 1, 1]


# From PyTorch 2.13: pixels 37 i mod 256 of shape (1, 2, 4, 6) as (3, 4).
PIXELS = {
    ("bilinear", False): [
        35, 59, 114, 170, 182, 46, 69, 125, 169, 193, 24, 80, 123, 179, 181, 45, 78, 134, 189, 149, 33, 89, 144, 200],
    ("bilinear", True): [
        52, 56, 109, 161, 171, 58, 68, 120, 178, 159, 47, 79, 124, 176, 169, 54, 83, 135, 188, 160, 42, 94, 147, 199],
    ("bicubic", False): [
        30, 56, 118, 174, 207, 15, 73, 127, 168, 217, 7, 80, 123, 179, 189, 35, 76, 132, 202, 154, 29, 85, 144, 204],
    ("bicubic", True): [
        40, 49, 116, 168, 184, 44, 65, 123, 182, 178, 32, 77, 125, 185, 174, 35, 80, 132, 199, 163, 35, 87, 146, 208],
}  # fmt: skip


@pytest.mark.parametrize("mode, antialias", PIXELS)
def test_bytes_follow_the_fixed_point_of_image_libraries(mode, antialias):
    x = (flambeau.arange(48) * 37 % 256).to(flambeau.uint8).view(1, 2, 4, 6)
    for format in (flambeau.contiguous_format, flambeau.channels_last):
        y = x.contiguous(memory_format=format)
        found = F.interpolate(y, (3, 4), mode=mode, antialias=antialias)
        assert found.flatten().tolist() == PIXELS[mode, antialias]
    assert F.interpolate(x, (8, 3)).dtype == flambeau.uint8


def test_lanczos_is_antialiased_only():
    x = (flambeau.arange(24) * 37 % 256).float().view(1, 1, 4, 6)
    found = F.interpolate(x, (2, 3), mode="lanczos", antialias=True).flatten().tolist()
    expected = [70.7140121459961, 60.06028366088867, 151.55935668945312, 193.4665069580078, 73.82183837890625,
                70.7688980102539]  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="antialias"):
        F.interpolate(x, (2, 3), mode="lanczos")


def test_other_layouts_empty_batches_and_meta():
    x = image(2, 3, 8, 9)
    flambeau.testing.assert_close(
        F.interpolate(x.transpose(2, 3), (5, 6), mode="bilinear"),
        F.interpolate(x.transpose(2, 3).contiguous(), (5, 6), mode="bilinear"),
    )
    assert F.interpolate(x[:0], (5, 6), mode="bicubic").shape == (0, 3, 5, 6)
    assert F.interpolate(x.to("meta"), (5, 6), mode="bicubic").shape == (2, 3, 5, 6)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda x: F.interpolate(x, (0, 2)), RuntimeError, "should be greater than 0"),
        (lambda x: F.interpolate(x[:, :, :0], (2, 2)), RuntimeError, "should be greater than 0"),
        (
            lambda x: F.interpolate(x[:, :0], (2, 2), mode="bilinear"),
            RuntimeError,
            "Non-empty 4D data tensor",
        ),
        (lambda x: F.interpolate(x, 2, mode="linear"), NotImplementedError, "linear mode needs 3D input"),
        (lambda x: F.interpolate(x, 2, mode="cubic"), NotImplementedError, "Only 3D, 4D and 5D"),
        (
            lambda x: F.interpolate(x.int(), 2, mode="bilinear"),
            NotImplementedError,
            "not implemented for 'Int'",
        ),
        (lambda x: F.interpolate(x.byte()[0], 2, mode="linear"), NotImplementedError, "for 'Byte'"),
        (lambda x: F.interpolate(x, 2, antialias=True), ValueError, "Anti-alias option is restricted"),
        (lambda x: F.interpolate(x, 2, align_corners=True), ValueError, "align_corners option can only"),
        (lambda x: F.interpolate(x, (2**40, 2)), RuntimeError, None),
    ],
)
def test_impossible_calls_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(flambeau.ones(1, 2, 3, 3))
