"""What study notes on PyTorch say of its tensors, a test each; where they are out of date, what PyTorch 2.13 does."""

import itertools
import subprocess
import sys
import warnings

import pytest

import flambeau as torch
from flambeau.nn import functional as F

nan, inf = float("nan"), float("inf")


# isclose, allclose


def test_isclose_is_abs_difference_within_atol_plus_rtol_times_other():
    other = torch.tensor([1.0, -2.0, 0.0, 1e6], dtype=torch.float64)
    bound = 1e-8 + 1e-5 * other.abs()
    assert torch.isclose(other + 0.99 * bound, other).all()
    assert not torch.isclose(other + 1.01 * bound, other).any()
    assert torch.isclose(other - 0.3, other, rtol=0.0, atol=0.31).all()


def test_isclose_is_not_symmetric():
    a, b = torch.tensor(10.0), torch.tensor(11.0)
    assert not torch.isclose(b, a, rtol=0.095, atol=0.0)
    assert torch.isclose(a, b, rtol=0.095, atol=0.0)


def test_isclose_equal_nan_and_infinities():
    a = torch.tensor([nan, inf, inf, 1.0])
    b = torch.tensor([nan, inf, -inf, inf])
    assert torch.isclose(a, b).tolist() == [False, True, False, False]
    assert torch.isclose(a, b, equal_nan=True).tolist() == [True, True, False, False]
    assert a.isclose(b, equal_nan=True).dtype is torch.bool


def test_isclose_of_integers_and_complex_numbers():
    assert torch.isclose(torch.tensor([10, 11]), torch.tensor([10, 10])).tolist() == [True, False]
    assert torch.isclose(torch.tensor([10, 11]), torch.tensor([10, 10]), atol=1).tolist() == [True, True]
    z = torch.tensor([3 + 4j, 3 + 4j])
    near = z + torch.tensor([3e-5j, 1e-3j])
    assert torch.isclose(near, z).tolist() == [True, False]


def test_isclose_wants_one_dtype():
    with pytest.raises(RuntimeError, match="Float did not match Long"):
        torch.isclose(torch.tensor([1.0]), torch.tensor([1]))


def test_allclose_is_one_bool():
    a = torch.tensor([1.0, 2.0])
    assert torch.allclose(a, a + 1e-6) is True
    assert a.allclose(a + 1e-3) is False
    assert torch.allclose(torch.tensor([nan]), torch.tensor([nan]), equal_nan=True)


# eye


def test_eye_signature():
    assert torch.eye(2).tolist() == [[1, 0], [0, 1]]
    assert torch.eye(2, 3, dtype=torch.int64).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert torch.eye(n=1, m=2).tolist() == [[1, 0]]
    assert torch.eye(0, 3).shape == (0, 3)
    x = torch.eye(2, dtype=torch.float64, layout=torch.strided, device="cpu", requires_grad=True)
    assert x.dtype is torch.float64 and x.requires_grad and x.is_leaf and x.layout is torch.strided
    out = torch.full((2, 2), 7.0)
    assert torch.eye(2, out=out) is out
    assert out.tolist() == [[1, 0], [0, 1]]


def test_eye_refuses_unknown_layouts_and_negative_sizes():
    with pytest.raises(TypeError):
        torch.eye(2, layout="strided")
    with pytest.raises((NotImplementedError, RuntimeError)):
        torch.eye(2, layout=torch.sparse_coo)
    with pytest.raises(RuntimeError, match="n must be greater or equal to 0, got -1"):
        torch.eye(-1)


# eq


def test_eq_of_tensor_or_number_with_broadcasting_and_out():
    x = torch.tensor([[1, 2], [3, 1]])
    assert torch.eq(x, 1).tolist() == [[True, False], [False, True]]
    assert torch.eq(x, torch.tensor([1, 1])).tolist() == [[True, False], [False, True]]
    assert torch.eq(x, torch.tensor([[1], [3]])).tolist() == [[True, False], [True, False]]
    assert torch.eq(x, 1).dtype is torch.bool and (x == 1).equal(x.eq(1))
    assert torch.eq(torch.tensor([1.0, nan]), torch.tensor([1, 0])).tolist() == [True, False]
    out = torch.empty(2, 2, dtype=torch.bool)
    assert torch.eq(x, 1, out=out) is out and out.sum().item() == 2
    # An out= of another dtype takes the result converted.
    assert torch.eq(x, 1, out=torch.empty(2, 2, dtype=torch.int32)).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(
        RuntimeError, match=r"The size of tensor a \(2\) must match the size of tensor b \(3\)"
    ):
        torch.eq(torch.zeros(2), torch.zeros(3))


# expand, repeat


def test_expand_takes_no_memory_and_repeat_copies():
    x = torch.tensor([[1], [2]])
    wide = x.expand(-1, 3)
    assert wide.tolist() == [[1, 1, 1], [2, 2, 2]]
    assert wide.stride() == (1, 0) and wide.data_ptr() == x.data_ptr()
    assert x.expand(4, -1, 3).stride() == (0, 1, 0)
    tall = x.repeat(1, 3)
    assert tall.equal(wide) and tall.is_contiguous() and tall.data_ptr() != x.data_ptr()
    assert torch.tensor([1, 2]).repeat(2, 2).tolist() == [[1, 2, 1, 2], [1, 2, 1, 2]]
    with pytest.raises(RuntimeError, match="must match the existing size"):
        x.expand(3, 3)


def test_writing_in_place_to_an_expanded_tensor_is_refused():
    x = torch.zeros(3)
    with pytest.raises(
        RuntimeError, match="more than one element of the written-to tensor refers to a single"
    ):
        x.expand(2, 3).add_(1)
    with pytest.raises(RuntimeError, match=r"[Pp]lease clone\(\) the tensor"):
        x.expand(2, 3).copy_(torch.arange(6.0).view(2, 3))
    assert x.tolist() == [0, 0, 0]
    # Filling writes the same everywhere: it is allowed.
    x.expand(2, 3).fill_(5.0)
    assert x.tolist() == [5, 5, 5]


# cat, split, chunk


def test_cat_undoes_split_and_chunk():
    x = torch.arange(30).view(5, 6)
    for dim, how in itertools.product((0, 1, -1), ("split", "sizes", "chunk")):
        n = x.size(dim)
        parts = {
            "split": lambda d=dim: torch.split(x, 2, dim=d),
            "sizes": lambda d=dim, n=n: torch.split(x, [1, 3, n - 4], dim=d),
            "chunk": lambda d=dim: torch.chunk(x, 3, dim=d),
        }[how]()
        assert isinstance(parts, tuple)
        assert torch.cat(parts, dim=dim).equal(x)
    assert [p.size(0) for p in torch.arange(5).split(2)] == [2, 2, 1]
    assert [p.tolist() for p in torch.arange(10).chunk(4)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_views_from_split_share_memory():
    x = torch.zeros(4, 2)
    for part in (x.split(2)[1], x.split([3, 1])[1], x.chunk(2)[1]):
        part += 1
    assert x[:, 0].tolist() == [0, 0, 2, 3]
    joined = torch.cat(x.split(2))
    joined.zero_()
    assert x.sum() == 10


def test_split_and_cat_refuse_sizes_that_do_not_fit():
    with pytest.raises(RuntimeError, match=r"split_with_sizes expects split_sizes to sum exactly to 5"):
        torch.split(torch.zeros(5), [2, 2])
    with pytest.raises(RuntimeError, match="Sizes of tensors must match except in dimension 0"):
        torch.cat([torch.zeros(2, 3), torch.zeros(3, 4)])


# view, reshape, stride, contiguous


def test_view_of_a_permuted_tensor_is_refused_until_contiguous():
    x = torch.arange(6).view(2, 3)
    t = x.permute(1, 0)
    assert x.stride() == (3, 1) and t.stride() == (1, 3) and not t.is_contiguous()
    with pytest.raises(RuntimeError, match="view size is not compatible with input tensor's size and stride"):
        t.view(-1)
    assert t.contiguous().view(-1).tolist() == [0, 3, 1, 4, 2, 5]
    assert t.reshape(-1).tolist() == [0, 3, 1, 4, 2, 5]
    assert t.reshape(-1).data_ptr() != x.data_ptr()
    assert x.reshape(3, 2).data_ptr() == x.data_ptr()
    assert x.contiguous() is x
    assert x.stride(0) == 3 and x.stride(-1) == 1
    with pytest.raises(RuntimeError, match=r"shape '\[4, 2\]' is invalid for input of size 6"):
        x.view(4, 2)


def test_channels_last_is_a_layout():
    x = torch.arange(120.0).view(2, 3, 4, 5)
    y = x.contiguous(memory_format=torch.channels_last)
    assert y.equal(x) and y.shape == x.shape
    assert y.stride() == (60, 1, 15, 3)
    assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
    assert not x.is_contiguous(memory_format=torch.channels_last)
    # Pointwise operators and copies keep it.
    assert (y + 1).stride() == y.clone().stride() == torch.empty_like(y).stride() == y.stride()
    assert x.to(memory_format=torch.channels_last).stride() == y.stride()
    with pytest.raises(RuntimeError, match="rank 4"):
        torch.zeros(2, 3).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.narrow(0, 1, 2),
        lambda x: x.view(12),
        lambda x: x.expand(2, 3, 4),
        lambda x: x.transpose(0, 1),
        lambda x: x.permute(1, 0),
    ],
    ids=["narrow", "view", "expand", "transpose", "permute"],
)
def test_a_write_through_a_view_is_seen_through_the_other(view):
    x = torch.zeros(3, 4)
    v = view(x)
    x.fill_(2.0)
    assert (v == 2).all()
    v.fill_(3.0)
    assert x.eq(3).sum() >= 8
    assert v.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    if 0 not in v.stride():
        v.add_(1.0)
        assert (v == 4).all()


# indexing


def test_indexing_with_none_ellipsis_masks_and_index_tensors_reads():
    x = torch.arange(24).view(2, 3, 4)
    assert x[:, :, None].shape == (2, 3, 1, 4)
    assert x[..., None].shape == (2, 3, 4, 1) and x[None].shape == (1, 2, 3, 4)
    assert x[..., 1].tolist() == [[1, 5, 9], [13, 17, 21]]
    assert x[1, ..., -1].tolist() == [15, 19, 23]
    assert x[:, 1:, ::2].tolist() == [[[4, 6], [8, 10]], [[16, 18], [20, 22]]]
    assert x[x % 7 == 0].tolist() == [0, 7, 14, 21]
    rows, columns = torch.tensor([0, 2]), torch.tensor([3, 1])
    assert x[1, rows, columns].tolist() == [15, 21]
    assert x[:, rows].shape == (2, 2, 4)
    # Index tensors apart from each other: their dimension comes first.
    assert x[rows[:1], :, columns].shape == (2, 3)
    assert x[:, rows[:, None], columns].tolist() == [[[3, 1], [11, 9]], [[15, 13], [23, 21]]]
    assert x[[1, 0], [2, 2], [0, 3]].tolist() == [20, 11]
    assert x[torch.tensor([True, False])].shape == (1, 3, 4)
    assert x[1, 2, 3].item() == 23 and x[1, 2, 3].shape == ()


def test_indexing_writes():
    x = torch.zeros(3, 4)
    x[0] = 1
    x[1:, 1] = torch.tensor([2.0, 3.0])
    x[..., -1] = 9
    assert x.tolist() == [[1, 1, 1, 9], [0, 2, 0, 9], [0, 3, 0, 9]]
    x[x == 9] = -1
    x[torch.tensor([0, 2]), torch.tensor([0, 2])] = torch.tensor([5.0, 6.0])
    assert x.tolist() == [[5, 1, 1, -1], [0, 2, 0, -1], [0, 3, 6, -1]]
    x[:, None, 0] = torch.tensor([[7.0]])
    assert x[:, 0].tolist() == [7, 7, 7]
    x[1] += 10
    assert x[1].tolist() == [17, 12, 10, 9]


def test_indexing_errors():
    x = torch.zeros(2, 3)
    with pytest.raises(IndexError, match="too many indices for tensor of dimension 2"):
        x[0, 0, 0]
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        x[5]
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        x[torch.tensor([5])]
    with pytest.raises(IndexError, match=r"The shape of the mask \[1\] at index 0 does not match"):
        x[torch.tensor([True])]
    with pytest.raises(RuntimeError):
        x[0] = torch.zeros(2)


# broadcasting


def test_arithmetic_broadcasts():
    column, row = torch.tensor([[4.0], [8.0]]), torch.tensor([1.0, 2.0, 4.0])
    assert (column + row).tolist() == [[5, 6, 8], [9, 10, 12]]
    assert (column - row).tolist() == [[3, 2, 0], [7, 6, 4]]
    assert (column * row).tolist() == [[4, 8, 16], [8, 16, 32]]
    assert (column / row).tolist() == [[4, 2, 1], [8, 4, 2]]
    assert (torch.zeros(5, 1, 4) + torch.zeros(3, 1)).shape == (5, 3, 4)
    assert (torch.zeros(0, 1) * torch.zeros(3)).shape == (0, 3)
    for op in (torch.add, torch.sub, torch.mul, torch.div):
        with pytest.raises(
            RuntimeError,
            match=r"The size of tensor a \(3\) must match the size of tensor b \(4\) at non-singleton dimension 1",
        ):
            op(torch.zeros(2, 3), torch.zeros(2, 4))


# roll, masked_fill, meshgrid, cumsum, mean, Size


def test_roll_with_several_shifts_and_dims():
    x = torch.arange(6).view(2, 3)
    assert torch.roll(x, 1).tolist() == [[5, 0, 1], [2, 3, 4]]
    assert torch.roll(x, shifts=(1, -1), dims=(0, 1)).tolist() == [[4, 5, 3], [1, 2, 0]]
    assert x.roll(-4, 1).tolist() == [[1, 2, 0], [4, 5, 3]]
    with pytest.raises(RuntimeError, match="shifts and dimensions must align. shifts: 2, dims:0"):
        torch.roll(x, (1, 2))


def test_masked_fill():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    mask = torch.tensor([True, False])
    assert x.masked_fill(mask, -inf).tolist() == [[-inf, 2], [-inf, 4]]
    assert x.masked_fill(mask, torch.tensor(0.0)).tolist() == [[0, 2], [0, 4]]
    assert x.masked_fill_(x > 3, 0) is x and x[1, 1] == 0
    with pytest.raises(RuntimeError, match="only supports boolean masks"):
        x.masked_fill(torch.zeros(2, 2, dtype=torch.uint8), 1)


def test_meshgrid_with_indexing_and_its_warning_without():
    a, b = torch.tensor([1, 2]), torch.tensor([3, 4, 5])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        i, j = torch.meshgrid(a, b, indexing="ij")
        x, y = torch.meshgrid([a, b], indexing="xy")
    assert i.tolist() == [[1, 1, 1], [2, 2, 2]] and j.tolist() == [[3, 4, 5], [3, 4, 5]]
    assert x.equal(i.T) and y.equal(j.T)
    # PyTorch warns once per process.
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert torch.meshgrid(a, b)[0].equal(i)
    with pytest.raises(RuntimeError, match="indexing"):
        torch.meshgrid(a, b, indexing="yx")


def test_meshgrid_warns_without_indexing():
    code = "import flambeau as torch; torch.meshgrid(torch.zeros(1), torch.zeros(2))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "UserWarning" in run.stderr
    assert "it will be required to pass the indexing argument" in run.stderr


def test_cumsum():
    x = torch.arange(6).view(2, 3)
    assert x.cumsum(1).tolist() == [[0, 1, 3], [3, 7, 12]]
    assert torch.cumsum(x, dim=0).tolist() == [[0, 1, 2], [3, 5, 7]]
    assert torch.cumsum(torch.tensor([True, True]), 0).dtype is torch.int64
    assert x.cumsum(-1, dtype=torch.float32).dtype is torch.float32


def test_mean_with_dim_and_keepdim():
    x = torch.arange(6.0).view(2, 3)
    assert x.mean() == 2.5
    assert x.mean(1).tolist() == [1, 4]
    assert x.mean(dim=0, keepdim=True).tolist() == [[1.5, 2.5, 3.5]]
    assert x.mean((0, 1), keepdim=True).shape == (1, 1)
    with pytest.raises(RuntimeError, match=r"mean\(\): could not infer output dtype"):
        torch.mean(torch.arange(3))
    assert torch.mean(torch.arange(3), dtype=torch.float32) == 1


def test_size_is_a_tuple():
    size = torch.zeros(2, 3).size()
    assert type(size) is torch.Size and isinstance(size, tuple) and size == (2, 3) == torch.zeros(2, 3).shape
    assert size.numel() == 6 and torch.Size([]).numel() == 1
    assert repr(size) == "torch.Size([2, 3])"
    assert type(size[:1]) is torch.Size and type(size + (1,)) is torch.Size
    rows, columns = size
    assert (rows, columns) == (2, 3) and torch.zeros(2, 3).size(-1) == 3


# one_hot


def test_one_hot_lives_in_functional():
    assert not hasattr(torch, "one_hot")
    x = F.one_hot(torch.tensor([[0, 2], [1, 0]]))
    assert x.dtype is torch.int64 and x.tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [1, 0, 0]]]
    assert F.one_hot(torch.tensor(1), num_classes=4).tolist() == [0, 1, 0, 0]
    assert F.one_hot(torch.empty(0, dtype=torch.int64), 3).shape == (0, 3)


def test_one_hot_errors():
    with pytest.raises(RuntimeError, match="one_hot is only applicable to index tensor of type LongTensor"):
        F.one_hot(torch.tensor([1.0]))
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes"):
        F.one_hot(torch.tensor([3]), 2)
    with pytest.raises(RuntimeError, match="Class values must be non-negative"):
        F.one_hot(torch.tensor([-1]))


# dtypes and switches


@pytest.mark.parametrize("name, part", [("complex64", "float32"), ("complex128", "float64")])
def test_complex_dtypes_compute(name, part):
    dtype = getattr(torch, name)
    z = torch.tensor([3 + 4j, 1j], dtype=dtype)
    assert z.dtype is dtype and z.real.dtype is getattr(torch, part) and z.abs().tolist() == [5, 1]
    assert (z * z.conj()).tolist() == [25, 1] and (z * 1j).tolist() == [-4 + 3j, -1]
    assert z.is_complex() and torch.view_as_real(z).tolist() == [[3, 4], [0, 1]]


def test_complex32_stores_converts_and_copies():
    z = torch.tensor([1 + 2j, 3, -1j], dtype=torch.complex64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls it experimental
        h = z.to(torch.complex32)
    assert h.dtype is torch.complex32 is torch.chalf and h.element_size() == 4
    assert h.to(torch.complex64).equal(z) and h.clone().to(torch.complex64).equal(z)
    assert h.tolist() == [1 + 2j, 3, -1j] and h[1].item() == 3
    assert h.real.dtype is torch.float16 and h.real.tolist() == [1, 3, 0]
    assert (h + h).tolist() == [2 + 4j, 6, -2j]


def test_float16_computes():
    h = torch.tensor([1.0, 2.0, 65504.0], dtype=torch.float16)
    assert (h + 1).dtype is torch.float16 and (h * 2).tolist() == [2, 4, inf]
    assert (h[:2] + torch.tensor([1.0, 1.0])).dtype is torch.float32
    assert h.half() is h and h[:2].sum() == 3 and h[:2].exp().dtype is torch.float16


def test_backend_switches_are_honest_on_a_cpu():
    cudnn = torch.backends.cudnn
    kept = cudnn.deterministic
    try:
        cudnn.deterministic = True
        assert cudnn.deterministic is True
    finally:
        cudnn.deterministic = kept
    assert cudnn.is_available() is False and torch.cuda.is_available() is False
    assert torch.backends.cuda.matmul.allow_tf32 is False
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "high"
    torch.set_float32_matmul_precision(kept)


def test_default_dtype_can_be_set():
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.get_default_dtype() is torch.float64
        assert (
            torch.tensor([1.0]).dtype is torch.zeros(1).dtype is (torch.tensor(1) / 2).dtype is torch.float64
        )
        assert torch.tensor([1j]).dtype is torch.complex128
        with pytest.raises(TypeError, match="only floating-point types are supported as the default type"):
            torch.set_default_dtype(torch.int32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # deprecated since 2.1
            torch.set_default_tensor_type(torch.FloatTensor)
            assert torch.get_default_dtype() is torch.float32
            torch.set_default_tensor_type("torch.DoubleTensor")
            assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


# pairwise_distance


def test_pairwise_distance():
    a = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    b = torch.tensor([[4.0, 6.0], [3.0, 1.0]], dtype=torch.float64)
    assert F.pairwise_distance(a, b, eps=0.0).tolist() == [5, 3]
    assert F.pairwise_distance(a, b, p=1.0, eps=0.0).tolist() == [7, 3]
    assert F.pairwise_distance(a, b, p=inf, eps=0.0, keepdim=True).tolist() == [[4], [3]]
    # eps, 1e-6 unless told, is added to every difference.
    assert F.pairwise_distance(a, a).tolist() == pytest.approx([2**0.5 * 1e-6] * 2)
    assert F.pairwise_distance(a, b[0], p=1.0, eps=0.0).tolist() == [7, 3]
    assert F.pairwise_distance(a[:, None], b, p=1.0, eps=0.0).shape == (2, 2)
    module = torch.nn.PairwiseDistance(p=1.0, eps=0.5, keepdim=True)
    assert module(a, a).tolist() == [[1], [1]]
