"""Functions that `torch` itself has beside modules and operators."""

import pytest

import flambeau as torch


def test_functions_of_operators():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.frobenius_norm(x, [1]).equal(torch.linalg.vector_norm(x, dim=1))
    assert torch.frobenius_norm(x).equal(torch.linalg.vector_norm(x))
    assert torch.nuclear_norm(x).equal(torch.linalg.matrix_norm(x, "nuc"))
    values, indices = torch.max_pool1d_with_indices(x, 3)
    assert values.tolist() == [[2.0], [5.0]] and indices.tolist() == [[2], [2]]
    assert [p.shape for p in torch.unsafe_split_with_sizes(x, [1, 2], 1)] == [(2, 1), (2, 2)]
    assert torch.native_channel_shuffle(torch.arange(4.0).reshape(1, 4, 1), 2).flatten().tolist() == [
        0,
        2,
        1,
        3,
    ]
    assert torch.rrelu(torch.tensor([-1.0, 1.0]), 0.5, 0.5).tolist() == [-0.5, 1.0]


def test_writes_in_place():
    x = torch.zeros(3)
    torch.index_put_(x, (torch.tensor([1]),), torch.tensor(5.0))
    assert torch.ldexp_(x, torch.tensor(1)) is x and x.tolist() == [0, 10, 0]
    y = torch.ones(2, requires_grad=True) * 2
    assert torch.detach_(y) is y and not y.requires_grad


@pytest.mark.parametrize("name", ["eig", "lstsq", "matrix_rank", "solve", "symeig"])
def test_removed_functions_name_what_to_use(name):
    with pytest.raises(RuntimeError, match="now removed. Use torch.linalg"):
        getattr(torch, name)(torch.eye(2))
