"""What sharding and compilers pack tensors with: `_chunk_cat` and masked indexing."""

import pytest

import flambeau


@pytest.mark.parametrize(
    ("tensors", "dim", "chunks", "text"),
    [
        ([], 0, 2, "expects a non-empty input tensor list"),
        ([(2,)], 0, 0, "expects positive num_chunks, got 0"),
        (
            [(2, 3), (3, 3)],
            1,
            1,
            r"same sizes of 0,...,dim-1 dimensions for all tensors, got shapes \[2, 3\] and \[3, 3\]",
        ),
        ([(2, 3), (2, 0)], 1, 1, "expects non-empty tensor"),
        ([(2, 3), (2,)], 1, 1, "expects dim < ndim for all input tensors"),
        ([()], 0, 1, "expects dim < ndim"),
        ([(2,), "double"], 0, 1, "expects all input tensors with the same dtype"),
    ],
)
def test_chunk_cat_errors(tensors, dim, chunks, text):
    made = [flambeau.ones(2).double() if shape == "double" else flambeau.ones(shape) for shape in tensors]
    with pytest.raises(RuntimeError, match=text):
        flambeau._chunk_cat(made, dim, chunks)


def test_chunk_cat_pads_each_tensor():
    a, b = flambeau.arange(6).reshape(2, 3), flambeau.arange(8).reshape(2, 2, 2)
    out = flambeau._chunk_cat([a, b], 1, 2)
    assert out.tolist() == [[[0, 1, 0, 1], [2, 0, 2, 3]], [[3, 4, 4, 5], [5, 0, 6, 7]]]
    assert flambeau.equal(flambeau._chunk_cat([a, b], 1, 2, out=flambeau.empty(0, dtype=a.dtype)), out)


def test_masked_index_reads_only_where_the_mask_holds():
    x = flambeau.arange(4.0, requires_grad=True)
    mask = flambeau.tensor([True, False, True])
    out = flambeau._unsafe_masked_index(x, mask, [flambeau.tensor([1, 99, -9])], 7)
    assert out.tolist() == [1, 7, 0]
    (out * flambeau.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [3, 1, 0, 0]
    empty = flambeau._unsafe_masked_index(
        flambeau.zeros(0), flambeau.tensor([True, False]), [flambeau.tensor([0, 1])], 7
    )
    assert empty.tolist() == [7, 7]


def test_masked_put_adds_only_where_the_mask_holds():
    values = flambeau.ones(3, requires_grad=True)
    mask = flambeau.tensor([True, False, True])
    out = flambeau._unsafe_masked_index_put_accumulate(
        flambeau.zeros(4), mask, [flambeau.tensor([1, 2, 1])], values
    )
    assert out.tolist() == [0, 2, 0, 0]
    out.sum().backward()
    assert values.grad.tolist() == [1, 0, 1]
