"""Tensors from data and from formulas, conversions, and the first interface's constructors."""

import array
import pickle

import numpy as np
import pytest

import flambeau as t


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, t.int64),
        (True, t.bool),
        (1.5, t.float32),
        (1j, t.complex64),
        ([], t.float32),
        ([True, 1], t.int64),
        ([1, 2.0], t.float32),
        ([1.0, 2j], t.complex64),
        (range(3), t.int64),
        ([np.float32(1)], t.float32),
        (np.float64(1), t.float64),
        ([np.int32(1), np.int32(2)], t.int32),
        (np.arange(3, dtype=np.int16), t.int16),
        (bytearray(b"ab"), t.int64),
        (array.array("d", [1.0]), t.float32),
    ],
)
def test_inferred_dtype(data, dtype):
    made = t.tensor(data)
    assert made.dtype is dtype
    assert made.tolist() == (data if np.isscalar(data) else np.asarray(list(data)).tolist())


def test_shapes_and_elements():
    assert t.tensor([[1, 2], [3, 4], [5, 6]]).shape == (3, 2)
    assert t.tensor([[], []]).shape == (2, 0)
    assert t.tensor([t.tensor(1.0), 2]).tolist() == [1, 2]
    assert t.tensor([t.tensor([1.0]), t.tensor([2.0])]).shape == (2,)
    assert t.tensor([np.arange(3), np.arange(3)]).shape == (2, 3)
    assert t.tensor(-1, dtype=t.uint8).item() == 255
    assert t.tensor(2**63, dtype=t.uint64).item() == 2**63
    assert t.tensor(2**70, dtype=t.float64).item() == 2.0**70
    assert t.tensor([1, 2], dtype=t.float16).dtype is t.float16
    with pytest.warns(UserWarning, match="To copy construct from a tensor"):
        copied = t.tensor(t.ones(2))
    assert copied.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ([[1], [2, 3]], {}, ValueError, "expected sequence of length 1 at dim 1"),
        ("a", {}, TypeError, "invalid data type 'str'"),
        (["a"], {}, ValueError, "too many dimensions 'str'"),
        (None, {}, RuntimeError, "Could not infer dtype of NoneType"),
        ({1}, {}, RuntimeError, "Could not infer dtype of set"),
        (2**64, {}, ValueError, "Overflow when unpacking long long"),
        (300, {"dtype": t.uint8}, RuntimeError, "without overflow"),
        (float("nan"), {"dtype": t.int64}, RuntimeError, "without overflow"),
        (1e30, {"dtype": t.int64}, RuntimeError, "without overflow"),
        (1j, {"dtype": t.float32}, TypeError, "must be real number, not complex"),
        ([1], {"requires_grad": True}, RuntimeError, "can require gradients"),
        ([1], {"device": "cuda"}, AssertionError, "not compiled with CUDA"),
    ],
)
def test_refused_data(data, options, error, message):
    with pytest.raises(error, match=message):
        t.tensor(data, **options)


def test_data_that_changes_while_it_is_read():
    victim = [1, 2, 3, 4]

    class Shrinks:
        def __index__(self):
            victim.clear()
            return 7

    victim[0] = Shrinks()
    assert t.tensor(victim, dtype=t.int64).shape == (4,)
    deep = []
    deep.append(deep)
    with pytest.raises(ValueError, match="too many dimensions"):
        t.tensor(deep)


@pytest.mark.parametrize("arguments", [(5,), (1, 5), (1, 2.5, 0.5), (5, 0, -2), (0.0, 1.0, 0.1), (-3, 3)])
def test_arange_is_numpys(arguments):
    expected = np.arange(*arguments)
    got = t.arange(*arguments)
    assert got.dtype is (t.int64 if expected.dtype.kind == "i" else t.float32)
    assert np.allclose(got.numpy(), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("t.arange(0, 5, 0)", RuntimeError, "step must be nonzero"),
        ("t.arange(5, 0)", RuntimeError, "upper bound and lower bound inconsistent"),
        ("t.arange(float('inf'))", RuntimeError, "unsupported range"),
        ("t.arange(0, 1e20)", RuntimeError, "invalid size|overflow"),
        ("t.arange(0, 2**63 - 1)", RuntimeError, "overflow"),
        ("t.arange(5, dtype=t.bool)", NotImplementedError, "arange_cpu"),
        ("t.arange(1j)", RuntimeError, "cannot be converted to type double"),
        ("t.arange()", TypeError, "arange"),
        ("t.linspace(0, 1, -1)", RuntimeError, "must be non-negative"),
        ("t.eye(-1)", RuntimeError, "n must be greater or equal to 0"),
        ("t.eye(2, -1)", RuntimeError, "m must be greater or equal to 0"),
        ("t.tril_indices(-1, 2)", RuntimeError, "row must be non-negative"),
        ("t.empty_permuted((2, 3), (0, 0))", RuntimeError, "Duplicate dim"),
        ("t.empty_permuted((2, 3), (0, 5))", RuntimeError, "Dimension out of range"),
        ("t.vander(t.tensor(1))", RuntimeError, "one-dimensional"),
        ("t.hann_window(-1)", RuntimeError, "non-negative window_length"),
        ("t.full((2,), 300, dtype=t.uint8)", RuntimeError, "without overflow"),
        ("t.full((2,), 1e300)", RuntimeError, "without overflow"),
        ("t.zeros(2**40, 2**40)", RuntimeError, "overflow"),
        ("t.ones(2, layout=t.sparse_coo)", RuntimeError, "layout"),
        ("t.zeros(2, out=t.empty(2), dtype=t.int64)", RuntimeError, "does not match dtype of out"),
    ],
)
def test_refused_arguments(call, error, message):
    with pytest.raises(error, match=message):
        eval(call, {"t": t})


def test_sequences():
    assert t.linspace(0, 10, 4, dtype=t.int64).tolist() == [0, 3, 6, 10]
    assert t.linspace(t.tensor(0.0), 1, 3).tolist() == [0, 0.5, 1]
    assert t.linspace(0, 1, 1).tolist() == [0] and t.linspace(0, 1, 0).tolist() == []
    assert t.linspace(0, 1j, 3).tolist() == [0, 0.5j, 1j]
    assert t.logspace(0, 3, 4, dtype=t.int64).tolist() == [1, 10, 100, 1000]
    assert t.logspace(0, 2, 3, 2).tolist() == [1, 2, 4]
    with pytest.warns(UserWarning, match="torch.range is deprecated"):
        assert t.range(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75, 1]
    n = 12345
    assert np.allclose(t.linspace(-3, 5, n, dtype=t.float64).numpy(), np.linspace(-3, 5, n), atol=1e-12)


def test_matrices():
    assert t.eye(2, 3).tolist() == np.eye(2, 3).tolist()
    assert t.eye(2, m=1, dtype=t.bool).tolist() == [[True], [False]]
    for rows, cols, offset in ((3, 3, 0), (3, 4, 1), (4, 3, -2), (0, 4, 0), (3, 3, 10), (3, 3, -10)):
        assert (
            t.tril_indices(rows, cols, offset).tolist()
            == np.array(np.tril_indices(rows, offset, cols)).tolist()
        )
        assert (
            t.triu_indices(rows, cols, offset).tolist()
            == np.array(np.triu_indices(rows, offset, cols)).tolist()
        )
    assert t.vander(t.tensor([1, 2, 3])).tolist() == np.vander([1, 2, 3]).tolist()
    assert t.vander(t.tensor([1.0, 2]), 4, increasing=True).tolist() == np.vander([1.0, 2], 4, True).tolist()
    assert t.empty_permuted((2, 3, 4), (1, 0, 2)).stride() == (4, 8, 1)
    assert t.full((2,), t.tensor(3)).dtype is t.int64


@pytest.mark.parametrize(
    ("name", "reference"),
    [("hann", np.hanning), ("hamming", np.hamming), ("bartlett", np.bartlett), ("blackman", np.blackman)],
)
def test_windows(name, reference):
    window = getattr(t, name + "_window")
    for n in (0, 1, 2, 7, 8):
        assert np.allclose(window(n, periodic=False, dtype=t.float64).numpy(), reference(n))
        assert np.allclose(
            window(n, dtype=t.float64).numpy(), reference(n + 1)[:n] if n > 1 else reference(n)
        )
    assert np.allclose(t.kaiser_window(9, False, 5.0, dtype=t.float64).numpy(), np.kaiser(9, 5.0))


def test_conversions():
    x = t.rand(2, 3)
    assert x.to(t.float32) is x and x.to("cpu") is x and x.float() is x and x.cpu() is x
    assert (
        x.to(t.float64).dtype is x.to("cpu", t.float64).dtype is x.to(t.ones(1).double()).dtype is t.float64
    )
    assert x.to(t.float32, copy=True) is not x
    assert x.to("meta").is_meta
    for name, dtype in dict(
        half=t.float16, bool=t.bool, byte=t.uint8, long=t.int64, cfloat=t.complex64
    ).items():
        assert getattr(x, name)().dtype is dtype
    assert x.t().double().stride() == (1, 3)
    y = t.ones(2, requires_grad=True)
    y.double().to(t.float16).sum().backward()
    assert y.grad.tolist() == [1, 1] and y.grad.dtype is t.float32
    with pytest.raises(AssertionError, match="not compiled with CUDA"):
        x.cuda()
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        t.empty(2, device="meta").to("cpu")
    assert t.result_type(t.arange(2), 1.5) is t.float32 and not t.can_cast(t.float32, t.int64)
    assert t.promote_types(t.uint8, t.int8) is t.int16


def test_likeness():
    x = t.ones(2, dtype=t.float64)
    assert x.new_zeros(2, 3).dtype is x.new_tensor([1]).dtype is x.new_full((1,), 2).dtype is t.float64
    assert x.new_empty((2, 0)).shape == (2, 0) and x.new_empty_strided((2,), (3,)).stride() == (3,)
    with pytest.raises(RuntimeError, match="without overflow"):
        x.new_full((2,), 1j)


def test_windows_in_place():
    x = t.arange(6.0)
    y = x.view(2, 3)
    assert x.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert x.resize_(4, 4).shape == (4, 4) and y.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        t.ones(2, requires_grad=True).resize_(3)
    for size in ((-1,), (2**40, 2**40), (2**62, 2)):
        with pytest.raises(RuntimeError):
            t.ones(2).resize_(size)
    z = t.ones(1).set_(t.arange(4.0).untyped_storage(), 1, (2,), (1,))
    assert z.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="invalid storage offset"):
        z.set_(t.arange(4.0).untyped_storage(), -1, (2,), (1,))
    with pytest.raises(RuntimeError, match="Could not set tensor of type"):
        z.set_(t.arange(4))


def test_first_interface():
    assert t.Tensor(2, 3).shape == (2, 3) and t.Tensor().shape == (0,)
    assert t.Tensor([1, 2]).dtype is t.float32 and t.Tensor(t.Size([2])).shape == (2,)
    x = t.rand(2)
    assert t.Tensor(x).data_ptr() == x.data_ptr()
    assert t.LongTensor([1, 2]).dtype is t.int64
    assert (
        isinstance(x, t.FloatTensor)
        and not isinstance(x, t.DoubleTensor)
        and not isinstance(x, t.cuda.FloatTensor)
    )
    assert (
        x.type() == "torch.FloatTensor" and x.type(t.DoubleTensor).type("torch.LongTensor").dtype is t.int64
    )
    for call in (
        lambda: t.Tensor(1.5),
        lambda: t.Tensor("a"),
        lambda: t.LongTensor(x),
        lambda: t.cuda.FloatTensor(2),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match="invalid type"):
        x.type("foo")
    t.set_default_tensor_type(t.DoubleTensor)
    try:
        assert t.ones(1).dtype is t.float64
    finally:
        t.set_default_tensor_type("torch.FloatTensor")
    assert t.ones(3).apply_(lambda v: v + 1).tolist() == [2, 2, 2]
    assert t.ones(3).map_(t.arange(3.0), lambda a, b: a + b).tolist() == [1, 2, 3]
    assert 2 in t.arange(3) and 5 not in t.arange(3)
    with pytest.raises(RuntimeError, match="__contains__ only supports"):
        "a" in t.arange(3)  # noqa: B015


def test_default_device():
    with t.device("meta"):
        assert t.ones(2).is_meta and t.tensor([1]).is_meta
        with t.device("cpu"):
            assert not t.ones(2).is_meta
    assert t.get_default_device() == t.device("cpu") and not t.ones(2).is_meta
    t.set_default_device("meta")
    assert t.rand(2).is_meta
    t.set_default_device(None)


def test_index_keys():
    x = t.arange(12).reshape(3, 4)
    assert x[[0, 2]].tolist() == x[np.array([0, 2])].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert x[[True, False, True]].shape == (2, 4) and x[range(2)].shape == (2, 4) and x[[]].shape == (0, 4)
    assert x[[[0, 1], [1, 2]]].tolist() == [1, 6]
    assert x[np.array(1)].tolist() == [4, 5, 6, 7]
    assert x[(0, 2), (1, 3)].tolist() == [1, 11] and x[((0, 2),)].shape == (2, 4)
    x[(0, 1), (0, 1), ...] = -1
    assert x.tolist() == [[-1, 1, 2, 3], [4, -1, 6, 7], [8, 9, 10, 11]]
    for key, error in ((1.5, IndexError), ({1}, IndexError), ("a", TypeError)):
        with pytest.raises(error):
            x[key]
    with pytest.raises(TypeError, match="can't assign a list"):
        x[0] = [1, 2, 3, 4]


def test_shared_memory_survives_a_copy_of_the_process():
    x = t.zeros(3).share_memory_()
    assert x.is_shared() and pickle.loads(pickle.dumps(x)).tolist() == [0, 0, 0]
    x[0] = 5
    assert x.tolist() == [5, 0, 0]


def test_triangles_of_matrices_with_very_many_empty_rows():
    # Counted and filled without a walk over the rows.
    assert t.tril_indices(2**60, 0).shape == (2, 0)
    assert t.tril_indices(2**40, 1, -(2**40) + 2).tolist() == [[2**40 - 2, 2**40 - 1], [0, 0]]
    assert t.triu_indices(2**40, 2).tolist() == [[0, 0, 1], [0, 1, 1]]
    assert t.triu_indices(2**40, 3, 1).tolist() == [[0, 0, 1], [1, 2, 2]]
    with pytest.raises(RuntimeError):
        t.tril_indices(2**40, 2**40)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e5m2"])
def test_a_number_too_large_for_a_narrow_float_is_refused_where_many_elements_are_filled(name):
    dtype = getattr(t, name)
    for attempt in (
        lambda: t.zeros(3, dtype=dtype).fill_(1e40),
        lambda: t.full((2,), 1e40, dtype=dtype),
        lambda: t.full_like(t.zeros(2, dtype=dtype), 1e40),
    ):
        with pytest.raises(RuntimeError, match="without overflow"):
            attempt()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e5m2"])
def test_one_element_of_a_narrow_float_and_assigned_ones_overflow_as_a_conversion_does(name):
    infinity = float("inf")
    x = t.zeros(4, dtype=getattr(t, name))
    x[0] = 1e40
    x[1:3] = -1e40
    assert x.tolist() == [infinity, -infinity, -infinity, 0]
    assert x[:1].clone().fill_(-1e40).tolist() == [-infinity]
    assert t.full((1,), 1e40, dtype=x.dtype).tolist() == [infinity]
