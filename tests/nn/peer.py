"""Running the same call on flambeau and, where it is installed, on PyTorch."""

import pytest

import flambeau


def torch_or_skip():
    """Real PyTorch, or skip with the reason."""
    return pytest.importorskip("torch", reason="PyTorch, the peer of golden comparisons, is not installed")


def to_flambeau(value):
    """A PyTorch tensor (or a structure of them) as flambeau's."""
    import torch

    if isinstance(value, torch.Tensor):
        dtype = getattr(flambeau, str(value.dtype).rpartition(".")[2])
        result = flambeau.tensor(value.detach().tolist(), dtype=dtype).reshape(tuple(value.shape))
        return result.requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(to_flambeau(v) for v in value)
    return value


def to_torch(value):
    """A flambeau tensor as PyTorch's."""
    import torch

    dtype = getattr(torch, str(value.dtype).rpartition(".")[2])
    return torch.tensor(value.detach().tolist(), dtype=dtype).reshape(tuple(value.shape))


def assert_same(ours, theirs, rtol=1e-5, atol=1e-6):
    """Shape and dtype before values."""
    import torch

    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    torch.testing.assert_close(to_torch(ours), theirs.detach(), rtol=rtol, atol=atol, equal_nan=True)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def weighted_sum(outputs):
    """A scalar in which every element of the outputs has a weight of its own."""
    total = 0
    for output in outputs:
        if output.is_floating_point() and output.requires_grad:
            weights = [((i * 7) % 11 - 5) / 5 for i in range(output.numel())]
            total = total + (output * output.new_tensor(weights).reshape(output.shape)).sum()
    return total
