"""Memory shared with NumPy and others: no copies, nobody's memory freed too early, and nonsense refused."""

import gc
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import flambeau as t

NUMPY_DTYPES = "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split()


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_numpy_both_ways(name):
    array = np.arange(12).astype(name).reshape(3, 4)
    x = t.from_numpy(array)
    assert x.dtype is getattr(t, name) and x.tolist() == array.tolist()
    back = x.numpy()
    assert back.dtype == array.dtype and back.__array_interface__["data"] == array.__array_interface__["data"]
    array[0, 0] = 1
    assert x[0, 0].item() == 1
    assert t.from_numpy(array.T).stride() == (1, 4)
    assert t.from_numpy(array[:, ::2]).tolist() == array[:, ::2].tolist()
    assert np.asarray(x).dtype == array.dtype and np.asarray(x.t()).tolist() == array.T.tolist()


def test_lifetimes():
    array = t.arange(1000.0).numpy()
    gc.collect()
    t.empty(1000).fill_(7)
    assert array.tolist() == list(range(1000))
    x = t.from_numpy(np.arange(1000.0))
    gc.collect()
    np.full(1000, 7.0)
    assert x.tolist() == list(range(1000))
    view = memoryview(t.arange(5))
    gc.collect()
    assert view.tolist() == [0, 1, 2, 3, 4]


def test_exported_memory_stays():
    for export in (lambda x: x.numpy(), memoryview, np.asarray, np.from_dlpack, lambda x: x.__dlpack__()):
        x = t.arange(4)
        out = export(x)
        with pytest.raises(RuntimeError, match="not resizable"):
            x.resize_(1000)
        assert x.resize_(2).tolist() == [0, 1]
        del out
        gc.collect()
        assert x.resize_(1000).shape == (1000,)
    array = np.arange(4)
    with pytest.raises(RuntimeError, match="not resizable"):
        t.from_numpy(array).resize_(100)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.arange(6)[::-1], ValueError, "At least one stride in the given numpy array is negative"),
        (np.arange(3, dtype=">i4"), ValueError, "byte order different from the native byte order"),
        (np.zeros(3, dtype="i2,f4")["f1"], ValueError, "strides not a multiple of the element byte size"),
        (np.zeros(3, dtype="i1,f4,i1,i1,i1")["f1"], ValueError, "not aligned"),
        (np.zeros(3, dtype=object), TypeError, "can't convert np.ndarray of type numpy.object_"),
        (np.zeros(3, dtype="M8[s]"), TypeError, "can't convert np.ndarray of type numpy.datetime64"),
        (np.zeros(3, dtype="f4,i4"), TypeError, "can't convert np.ndarray of type numpy.void"),
        (np.zeros(3, dtype=np.longdouble), TypeError, "can't convert np.ndarray"),
        (np.array("abc"), TypeError, "can't convert np.ndarray of type numpy.str_"),
        ([1, 2], TypeError, r"expected np.ndarray \(got list\)"),
        (np.float32(1), TypeError, "expected np.ndarray"),
    ],
)
def test_refused_arrays(array, error, message):
    with pytest.raises(error, match=message):
        t.from_numpy(array)


def test_refused_tensors():
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        t.ones(2, requires_grad=True).numpy()
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        np.asarray(t.ones(2, requires_grad=True))
    assert t.ones(2, requires_grad=True).numpy(force=True).tolist() == [1, 1]
    with pytest.raises(TypeError, match="unsupported ScalarType BFloat16"):
        t.ones(2, dtype=t.bfloat16).numpy()
    with pytest.raises(TypeError, match="can't convert meta device type tensor"):
        t.empty(2, device="meta").numpy()


def test_numpy_functions_of_tensors():
    x = t.ones(2)
    assert isinstance(np.sin(x), t.Tensor) and np.add(np.ones(2), x).dtype is t.float64
    assert x.__array__(np.float64).dtype == np.float64 and np.asarray(x, dtype=np.int64).tolist() == [1, 1]
    assert np.array([t.tensor(1.0), t.tensor(2.0)]).tolist() == [1, 2]
    assert (np.float64(2) * x).tolist() == (x * np.float64(2)).tolist() == [2, 2]
    assert t.empty(0, 3).numpy().shape == (0, 3) and t.tensor(1.5).numpy().shape == ()
    assert t.from_numpy(np.zeros((0, 3))).shape == (0, 3)
    assert t.from_numpy(np.broadcast_to(np.arange(3), (2, 3))).stride() == (0, 1)


def test_read_only_arrays_warn():
    code = (
        "import warnings, numpy, flambeau\nwarnings.simplefilter('error')\n"
        "flambeau.tensor(numpy.frombuffer(b'abcd', dtype=numpy.uint8))\n"
        "try: flambeau.from_numpy(numpy.frombuffer(b'abcd', dtype=numpy.uint8))\n"
        "except UserWarning as w: assert 'not writable' in str(w); print('warned')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "warned\n"


def test_numpy_is_not_imported_and_its_absence_is_named():
    code = (
        "import sys, flambeau as t\nassert 'numpy' not in sys.modules\nsys.modules['numpy'] = None\n"
        "t.tensor([1.0]) + 1; print(t.ones(2).tolist())\n"
        "try: t.ones(2).numpy()\nexcept ImportError as e: print('NumPy' in str(e))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert result.stdout == "[1.0, 1.0]\nTrue\n", result.stderr


def test_buffers_of_tensors():
    x = t.arange(6, dtype=t.int32).reshape(2, 3)
    view = memoryview(x)
    assert (
        view.format == "i"
        and view.shape == (2, 3)
        and view.strides == (12, 4)
        and view.tolist() == x.tolist()
    )
    view[1, 2] = 50
    assert x[1, 2].item() == 50
    assert bytes(t.tensor([1, 2], dtype=t.uint8)) == b"\x01\x02"
    assert memoryview(x.t()).tolist() == x.t().tolist()
    for bad in (t.ones(2, requires_grad=True), t.ones(2, dtype=t.bfloat16), t.empty(2, device="meta")):
        with pytest.raises(BufferError):
            memoryview(bad)
    with pytest.raises(BufferError, match="not contiguous"):
        hashlib.sha256(x.t())  # wants one row of bytes


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (8, {"offset": 9}, "must be non-negative and no greater than buffer length"),
        (8, {"offset": -1}, "must be non-negative and no greater than buffer length"),
        (0, {}, r"both buffer length \(0\)"),
        (8, {"count": 0}, r"count \(0\) must not be 0"),
        (7, {}, "must be a multiple of element size"),
        (7, {"count": 4}, "must not be greater than actual buffer length"),
        (8, {"count": 2**62}, "must not be greater than actual buffer length"),
    ],
)
def test_refused_buffers(size, options, message):
    with pytest.raises(ValueError, match=message):
        t.frombuffer(bytearray(size), dtype=t.int16, **options)


def test_frombuffer():
    data = bytearray(range(8))
    x = t.frombuffer(data, dtype=t.int16, count=2, offset=2)
    assert x.tolist() == [0x0302, 0x0504]
    x[0] = -1
    assert data[2:4] == b"\xff\xff"
    with pytest.raises(BufferError):
        data.clear()  # the tensor holds it
    with pytest.raises(ValueError, match="does not implement Python buffer protocol"):
        t.frombuffer(5, dtype=t.uint8)


@pytest.mark.parametrize("name", [*NUMPY_DTYPES, "bfloat16"])
def test_dlpack_round_trip(name):
    x = t.arange(6).reshape(2, 3).to(getattr(t, name)).t()
    for capsule in (x.__dlpack__(), x.__dlpack__(max_version=(1, 0))):
        y = t.from_dlpack(capsule)
        assert y.dtype is x.dtype and y.data_ptr() == x.data_ptr() and y.tolist() == x.tolist()
        assert y.stride() == x.stride()
        with pytest.raises(RuntimeError, match="can be consumed only once"):
            t.from_dlpack(capsule)
    if name != "bfloat16":
        assert np.from_dlpack(x).tolist() == x.tolist()
        assert t.from_dlpack(x.numpy()).data_ptr() == x.data_ptr()


def test_dlpack_limits():
    assert t.ones(2).__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        t.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="meta"):
        t.empty(2, device="meta").__dlpack__()
    with pytest.raises(AssertionError, match="stream should be None"):
        t.ones(2).__dlpack__(stream=1)
    with pytest.raises(BufferError, match="negative strides"):
        t.from_dlpack(np.arange(6.0)[::-1])
    for bad in (5, [1], None):
        with pytest.raises(RuntimeError, match="invalid capsule"):
            t.from_dlpack(bad)
    x = t.ones(2)
    assert t.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    x.__dlpack__()  # an unused capsule gives its loan back
    assert x.resize_(10).shape == (10,)


def test_asarray():
    x, array = t.ones(2), np.arange(3.0)
    assert t.asarray(x) is x and t.asarray(x, copy=True) is not x
    assert t.asarray(array).data_ptr() == array.__array_interface__["data"][0]
    assert t.asarray(bytearray(b"abcd"), dtype=t.int16).tolist() == [25185, 25699]
    assert t.as_tensor(x) is x and t.as_tensor(array).dtype is t.float64 and t.asarray(3).item() == 3
    with pytest.raises(ValueError, match="can't alias"):
        t.asarray([1, 2], copy=False)
    with pytest.raises(ValueError, match="can't alias tensor with dtype"):
        t.asarray(x, dtype=t.float64, copy=False)
