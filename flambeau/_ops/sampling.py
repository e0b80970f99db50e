"""Sampling at the places of a grid: `flambeau.nn.functional.grid_sample` and `affine_grid` stand on these.

Modes are numbers as in PyTorch: interpolation 0 bilinear (trilinear in 3D), 1 nearest, 2 bicubic; padding 0 zeros,
1 border, 2 reflection.
"""

import itertools

import flambeau

from .registry import composite, op, takes
from .second_order import vjp_through

_HOW = "int interpolation_mode, int padding_mode, bool align_corners"


def _along(place, size, mode, padding, align_corners):
    """(index, whether it is inside, weight) of the elements that count along one dimension."""
    span = size - 1 if align_corners else size
    place = (place + 1) * (span / 2) - (0 if align_corners else 0.5)

    def moved(x):
        if padding == 2:
            low = 0 if align_corners else -0.5
            distance = (x - low).abs()
            whole = (distance / span).floor().detach() if span else distance.detach() * 0
            extra = distance - whole * span
            x = extra.where(whole % 2 == 0, span - extra) + low
        return x.clamp(0, size - 1) if padding else x

    def element(at):
        inside = (at >= 0) & (at < size)
        return at.where(inside, flambeau.zeros_like(at)).long(), inside

    if mode == 2:
        low = place.detach().floor()
        distance = [place - low + 1, place - low, low + 1 - place, low + 2 - place]
        a = -0.75
        weights = [
            ((a + 2) * x - (a + 3)) * x * x + 1 if k in (1, 2) else ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
            for k, x in enumerate(distance)
        ]
        return [(*element(moved(low + k - 1)), w) for k, w in enumerate(weights)]
    place = moved(place)
    if mode == 1:
        return [(*element(place.detach().round()), flambeau.ones_like(place))]
    low = place.detach().floor()
    return [(*element(low), low + 1 - place), (*element(low + 1), place - low)]


def _sampled(input, grid, mode, padding, align_corners):
    """The samples, with differentiable operators."""
    sizes = tuple(input.shape[2:])
    flat, places = input.flatten(2), grid.flatten(1, -2)
    axes = [_along(places[..., -1 - d], size, mode, padding, align_corners) for d, size in enumerate(sizes)]
    total = 0
    for taps in itertools.product(*axes):
        index, weight = 0, 1
        for (at, inside, w), size in zip(taps, sizes, strict=True):
            index = index * size + at
            weight = weight * w.where(inside, flambeau.zeros_like(w))
        index = index.unsqueeze(1).expand(-1, flat.size(1), -1)
        total = total + flat.gather(2, index) * weight.unsqueeze(1)
    return total.reshape(*input.shape[:2], *grid.shape[1:-1])


def _second_order(grads, grad_output, input, grid, interpolation_mode, padding_mode, align_corners, needs):
    def gradients(grad, input, grid):
        out = _sampled(input, grid, interpolation_mode, padding_mode, align_corners)
        return flambeau.autograd.grad(out, (input, grid), grad, create_graph=True, allow_unused=True)

    return vjp_through(gradients, (grad_output, input, grid), grads, needs)


_grid_sampler_backward = op(
    f"_grid_sampler_backward(Tensor grad_output, Tensor input, Tensor grid, {_HOW}, bool input_wanted=True, "
    "bool grid_wanted=True) -> (Tensor grad_input, Tensor grad_grid)",
    "The gradients of the samples with respect to the input and the grid; zeros for one that is not wanted.",
    public=False,
    method=False,
    vjp={"grad_output, input, grid": _second_order},
)
_VJP = {
    "input, grid": lambda grad, input, grid, interpolation_mode, padding_mode, align_corners, needs: (
        _grid_sampler_backward(
            grad, input, grid, interpolation_mode, padding_mode, align_corners, needs[0], needs[1]
        )
    )
}
grid_sampler_2d = op(
    f"grid_sampler_2d(Tensor input, Tensor grid, {_HOW}) -> Tensor",
    """Samples of (N, C, H, W) at the places of a grid (N, H', W', 2): see `flambeau.nn.functional.grid_sample`.

    >>> image = flambeau.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> flambeau.grid_sampler_2d(image, flambeau.zeros(1, 1, 1, 2), 0, 0, False)
    tensor([[[[2.5000]]]])
    """,
    method=False,
    vjp=_VJP,
)
grid_sampler_3d = op(
    f"grid_sampler_3d(Tensor input, Tensor grid, {_HOW}) -> Tensor",
    """Samples of (N, C, D, H, W) at the places of a grid (N, D', H', W', 3): see `flambeau.nn.functional.grid_sample`.

    >>> flambeau.grid_sampler_3d(flambeau.ones(1, 1, 2, 2, 2), flambeau.zeros(1, 1, 1, 1, 3), 0, 0, False)
    tensor([[[[[1.]]]]])
    """,
    method=False,
    vjp=_VJP,
)


@composite
@takes(
    "grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners)",
)
def grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners):
    """`grid_sampler_2d` or `grid_sampler_3d`, by the number of dimensions of the input.

    >>> flambeau.grid_sampler(flambeau.ones(1, 1, 2, 2), flambeau.zeros(1, 1, 1, 2), 0, 0, False)
    tensor([[[[1.]]]])
    """
    sample = grid_sampler_3d if input.dim() == 5 else grid_sampler_2d
    return sample(input, grid, interpolation_mode, padding_mode, align_corners)


@composite
@takes("affine_grid_generator(Tensor theta, int[] size, bool align_corners)")
def affine_grid_generator(theta, size, align_corners):
    """The places that affine maps `theta` (N, 2, 3) or (N, 3, 4) send the pixels of an output of `size` to.

    >>> flambeau.affine_grid_generator(flambeau.eye(2, 3).unsqueeze(0), (1, 1, 2, 2), True)
    tensor([[[[-1., -1.],
              [ 1., -1.]],
    <BLANKLINE>
             [[-1.,  1.],
              [ 1.,  1.]]]])
    """
    count, _, *spatial = size

    def steps(n):
        if n <= 1:
            return flambeau.zeros(n, dtype=theta.dtype, device=theta.device)
        line = flambeau.linspace(-1, 1, n, dtype=theta.dtype, device=theta.device)
        return line if align_corners else line * ((n - 1) / n)

    ways = [steps(n) for n in spatial]
    axes = flambeau.meshgrid(*ways, indexing="ij")[::-1]
    base = flambeau.stack([*axes, flambeau.ones_like(axes[0])], -1).flatten(0, -2)  # (pixels, dims + 1)
    grid = base.unsqueeze(0).expand(count, -1, -1).bmm(theta.transpose(1, 2))
    return grid.view(count, *spatial, len(spatial))
