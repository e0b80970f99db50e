"""`unsafe_split` and its like: windows on the input's memory of which autograd knows nothing."""

import pytest

import flambeau

UNSAFE = [
    ("unsafe_chunk", lambda x: flambeau.unsafe_chunk(x, 2, 1), lambda x: x.chunk(2, 1)),
    ("unsafe_split", lambda x: flambeau.unsafe_split(x, 2, 1), lambda x: x.split(2, 1)),
    ("unsafe_split_with_sizes", lambda x: x.unsafe_split_with_sizes((1, 3), 1), lambda x: x.split((1, 3), 1)),
]


@pytest.mark.parametrize(("name", "cut", "views"), UNSAFE)
def test_unsafe_pieces_are_windows_but_no_views(name, cut, views):
    for x in (
        flambeau.arange(4.0).reshape(1, 4),
        flambeau.arange(8.0).reshape(4, 2).T,
        flambeau.ones(1, 4).expand(3, 4),
    ):
        for piece, view in zip(cut(x), views(x), strict=True):
            assert piece.stride() == view.stride() and piece.storage_offset() == view.storage_offset()
            assert piece._base is None and piece.data_ptr() == view.data_ptr()
    x = flambeau.zeros(2, 4)
    first, last = cut(x)
    first.add_(1)
    assert (x._version, first._version, last._version) == (0, 1, 0)
    assert x[0, 0] == 1 and last.sum() == 0


@pytest.mark.parametrize(("name", "cut", "views"), UNSAFE)
def test_gradients_of_unsafe_pieces_that_are_written(name, cut, views):
    x = flambeau.ones(2, 4, dtype=flambeau.float64, requires_grad=True)
    first, last = cut(x * 1)
    first.mul_(3)
    (g,) = flambeau.autograd.grad((first.square().sum() + last.sum()), x)
    width = first.size(1)
    assert g[0].tolist() == [18.0] * width + [1.0] * (4 - width)
    (g,) = flambeau.autograd.grad(cut(x)[1].sum(), x)
    assert g[0].tolist() == [0.0] * width + [1.0] * (4 - width)
    assert flambeau.autograd.gradgradcheck(lambda t: [p.square() for p in cut(t)], (x,))
    rows = flambeau.arange(24.0).reshape(3, 2, 4)
    for found, expected in zip(flambeau.vmap(cut)(rows), zip(*map(cut, rows), strict=True), strict=True):
        assert flambeau.equal(found, flambeau.stack(expected))
