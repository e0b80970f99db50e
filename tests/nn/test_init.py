"""Initial values: checks, and PyTorch's bits for the same seed."""

import pytest
from peer import to_torch, torch_or_skip

import flambeau
from flambeau.nn import init


def test_gains():
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 0.2) == pytest.approx(1.3867504905630728)
    with pytest.raises(ValueError, match="Unsupported nonlinearity foo"):
        init.calculate_gain("foo")
    with pytest.raises(ValueError, match="not a valid number"):
        init.calculate_gain("leaky_relu", True)


def test_errors():
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(flambeau.zeros(3))
    with pytest.raises(ValueError, match="Mode x not supported"):
        init.kaiming_uniform_(flambeau.zeros(3, 3), mode="x")
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        init.kaiming_normal_(flambeau.zeros(0, 3))


def test_dirac_and_eye():
    assert init.eye_(flambeau.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert init.dirac_(flambeau.empty(2, 2, 3)).tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]]


CALLS = [
    ("uniform_", (5, 6), (-1, 2)),
    ("normal_", (5, 6), (1, 2)),
    ("normal_", (5,), (1, 2)),
    ("xavier_uniform_", (5, 6), (2.0,)),
    ("xavier_normal_", (5, 6, 3), ()),
    ("kaiming_uniform_", (5, 6), (0.1, "fan_out")),
    ("kaiming_normal_", (5, 6, 3), (0, "fan_in", "relu")),
    ("trunc_normal_", (40,), (0.1, 2.0, -1.0, 1.0)),
    ("trunc_normal_", (40,), (0.0, 1.0, -0.01, 0.01)),
    ("trunc_normal_", (40,), (0.0, 1.0, 1.0, 2.0)),
    ("sparse_", (5, 6), (0.4,)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "shape", "args"), CALLS)
def test_same_bits_as_pytorch(name, shape, args):
    torch = torch_or_skip()
    torch.manual_seed(3)
    expected = getattr(torch.nn.init, name)(torch.empty(shape), *args)
    flambeau.manual_seed(3)
    assert torch.equal(to_torch(getattr(init, name)(flambeau.empty(shape), *args)), expected)


def test_orthogonal():
    q = init.orthogonal_(flambeau.empty(3, 5), gain=2)
    product = q @ q.t()
    assert (product - 4 * flambeau.eye(3)).abs().max().item() < 1e-5
