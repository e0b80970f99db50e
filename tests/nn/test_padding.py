"""Padding: the result has the layout of what was padded, and its values and gradients do not depend on it."""

import pytest

import flambeau
import flambeau.nn.functional as F

MODES = ("constant", "reflect", "replicate")


@pytest.mark.parametrize("mode", MODES)
def test_padding_keeps_the_layout(mode):
    x = flambeau.randn(2, 3, 4, 5, generator=flambeau.Generator().manual_seed(0))
    last = x.to(memory_format=flambeau.channels_last)
    for amounts in ((1, 2, 2, 1), (0, 0, 0, 0, 1, 1), (-1, 1, 0, 0)):
        found, expected = F.pad(last, amounts, mode=mode), F.pad(x, amounts, mode=mode)
        assert found.is_contiguous(memory_format=flambeau.channels_last), amounts
        assert found.equal(expected) and expected.is_contiguous()
    volume = flambeau.randn(1, 2, 3, 3, 3).to(memory_format=flambeau.channels_last_3d)
    assert F.pad(volume, (1, 1) * 3, mode=mode).is_contiguous(memory_format=flambeau.channels_last_3d)


@pytest.mark.parametrize("mode", (*MODES, "circular"))
def test_derivatives_of_padding_channels_last(mode):
    x = (
        flambeau.randn(1, 2, 3, 4, dtype=flambeau.float64)
        .to(memory_format=flambeau.channels_last)
        .requires_grad_()
    )

    def padded(x):
        return F.pad(x, (1, 2, -1, 1), mode=mode)

    assert flambeau.autograd.gradcheck(padded, (x,)) and flambeau.autograd.gradgradcheck(padded, (x,))
