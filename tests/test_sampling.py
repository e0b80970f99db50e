"""grid_sample() against the same samples written with tensors' operators, and against numbers of PyTorch's."""

import itertools
import math

import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau._ops.sampling import _sampled

MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
PADDINGS = {"zeros": 0, "border": 1, "reflection": 2}


def numbers(*shape, low=-1.0, high=1.0, dtype=flambeau.float64):
    count = math.prod(shape)
    values = [low + (high - low) * ((i * 37 + 11) % 101 + 0.37) / 102 for i in range(count)]
    return flambeau.tensor(values, dtype=dtype).reshape(shape)


CASES = [
    (n, mode, padding, align)
    for n, mode, padding, align in itertools.product((2, 3), MODES, PADDINGS, (False, True))
    if (n, mode) != (3, "bicubic")
]


@pytest.mark.parametrize("n, mode, padding, align", CASES)
@pytest.mark.parametrize("channels, sizes, out", [(3, (4, 5, 6), (2, 3, 7)), (20, (1, 3, 2), (1, 13, 11))])
def test_samples_and_gradients(n, mode, padding, align, channels, sizes, out):
    input = numbers(2, channels, *sizes[3 - n :]).requires_grad_()
    grid = numbers(2, *out[3 - n :], n, low=-1.7, high=1.6).requires_grad_()
    found = F.grid_sample(input, grid, mode, padding, align)
    expected = _sampled(input, grid, MODES[mode], PADDINGS[padding], align)
    flambeau.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weights = numbers(*found.shape, low=0.2)
    got = flambeau.autograd.grad(found, (input, grid), weights)
    wanted = flambeau.autograd.grad(expected, (input, grid), weights, allow_unused=True)
    flambeau.testing.assert_close(got[0], wanted[0], rtol=1e-9, atol=1e-9)
    if mode == "nearest":
        assert not got[1].any()
    else:
        flambeau.testing.assert_close(got[1], wanted[1], rtol=1e-9, atol=1e-9)


def test_values_of_pytorch():
    image = flambeau.arange(1.0, 7.0).view(1, 1, 2, 3)
    x = flambeau.tensor([-1e10, -0.9, 0.3, 1.0])
    grid = flambeau.stack([x, flambeau.zeros(4)], -1).view(1, 1, 4, 2)
    expected = {
        ("bilinear", "zeros"): [0.0, 1.625, 3.9499998, 2.25],
        ("bilinear", "border"): [2.5, 2.5, 3.9499998, 4.5],
        ("nearest", "border"): [1.0, 1.0, 2.0, 3.0],
        ("bicubic", "border"): [2.5, 2.3890948, 4.045907, 4.59375],
    }
    for (mode, padding), values in expected.items():
        found = F.grid_sample(image, grid, mode, padding, align_corners=False)
        assert found.flatten().tolist() == pytest.approx(values, abs=1e-5), (mode, padding)


def test_places_that_are_not_numbers():
    image = flambeau.arange(1.0, 7.0).view(1, 1, 2, 3)
    grid = flambeau.tensor([math.nan, 0.0, math.inf, 0.0]).view(1, 1, 2, 2)
    assert F.grid_sample(image, grid, "bilinear", "zeros", False).isnan().all()
    assert F.grid_sample(image, grid, "nearest", "zeros", False).flatten().tolist() == [0.0, 0.0]
    assert F.grid_sample(image, grid, "nearest", "border", False).flatten().tolist() == [1.0, 3.0]
    huge = flambeau.tensor([3e38, -3e38, 1e20, 5.0]).view(1, 1, 2, 2)
    for mode, padding in itertools.product(MODES, PADDINGS):
        assert F.grid_sample(image, huge, mode, padding, True).shape == (1, 1, 1, 2)


def test_what_lies_outside_is_not_read():
    image = flambeau.full((1, 1, 2, 2), math.inf)
    grid = flambeau.tensor([-3.0, 0.0]).view(1, 1, 1, 2)
    assert F.grid_sample(image, grid, align_corners=False).item() == 0.0


def test_results_do_not_depend_on_threads():
    before = flambeau.get_num_threads()
    flambeau.manual_seed(0)
    input, grid = flambeau.randn(2, 40, 30, 30, requires_grad=True), flambeau.rand(2, 30, 30, 2) * 2 - 1
    grid.requires_grad_()
    found = []
    try:
        for threads in (1, 3):
            flambeau.set_num_threads(threads)
            out = F.grid_sample(input, grid, align_corners=False)
            found.append([out, *flambeau.autograd.grad(out.sum(), (input, grid))])
    finally:
        flambeau.set_num_threads(before)
    assert all(flambeau.equal(a, b) for a, b in zip(*found, strict=True))


def test_identity_grid_gives_the_image():
    for sizes in ((4, 5), (3, 4, 5)):
        n = len(sizes)
        image = numbers(2, 3, *sizes, dtype=flambeau.float32)
        theta = flambeau.eye(n, n + 1).expand(2, n, n + 1)
        for align in (False, True):
            grid = F.affine_grid(theta, (2, 3, *sizes), align_corners=align)
            assert grid.shape == (2, *sizes, n)
            flambeau.testing.assert_close(
                F.grid_sample(image, grid, align_corners=align), image, atol=1e-5, rtol=0
            )


def test_affine_grid():
    theta = flambeau.tensor([[[1.0, 2, 3], [4, 5, 6]]])
    assert F.affine_grid(theta, (1, 1, 2, 3), align_corners=True).tolist() == [
        [[[0, -3], [1, 1], [2, 5]], [[4, 7], [5, 11], [6, 15]]]
    ]
    assert F.affine_grid(theta, (1, 1, 1, 1), align_corners=True).tolist() == [[[[3, 6]]]]
    with pytest.warns(UserWarning, match="align_corners=False since 1.3.0"):
        F.affine_grid(theta, (1, 1, 2, 3))


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda x, g: F.grid_sample(x, g[:1], align_corners=False), RuntimeError, "same batch size"),
        (lambda x, g: F.grid_sample(x, g[..., :1], align_corners=False), RuntimeError, "size 2 in last dimension"),
        (lambda x, g: F.grid_sample(x, g[0], align_corners=False), RuntimeError, "same batch size"),
        (lambda x, g: F.grid_sample(x[:, :, :0], g, align_corners=False), RuntimeError, "non-empty spatial"),
        (lambda x, g: F.grid_sample(x, g.double(), align_corners=False), RuntimeError, "expected scalar type Float"),
        (lambda x, g: F.grid_sample(x.int(), g.int(), align_corners=False), NotImplementedError, "for 'Int'"),
        (lambda x, g: F.grid_sample(x, g, "cubic", align_corners=False), ValueError, "expected mode to be"),
        (lambda x, g: F.grid_sample(x, g, padding_mode="one", align_corners=False), ValueError, "padding_mode to be"),
        (lambda x, g: flambeau.grid_sampler_2d(x, g, 7, 0, False), RuntimeError, "interpolation mode"),
        (lambda x, g: F.affine_grid(g[0], (6, 1, 2, 2), False), ValueError, "batch of 2D affine matrices"),
        (lambda x, g: F.affine_grid(g[0], (6, 1), False), NotImplementedError, "4D and 5D sizes"),
    ],
)  # fmt: skip
def test_impossible_calls_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(flambeau.ones(2, 3, 4, 5), flambeau.zeros(2, 6, 7, 2))


def test_empty_tensors_and_meta():
    x, g = flambeau.ones(2, 3, 4, 5), flambeau.zeros(2, 6, 7, 2)
    assert F.grid_sample(x[:0], g[:0], align_corners=False).shape == (0, 3, 6, 7)
    assert F.grid_sample(x[:, :0], g, align_corners=False).shape == (2, 0, 6, 7)
    assert F.grid_sample(x, g[:, :0], align_corners=False).shape == (2, 3, 0, 7)
    assert F.grid_sample(x.to("meta"), g.to("meta"), align_corners=False).shape == (2, 3, 6, 7)
