"""float8 and the dtypes that are bytes to everybody: what PyTorch does with them is done, what it refuses is refused.

PyTorch's outcomes stand in golden/float8.json; golden/make_float8.py wrote them.
"""

import copy
import ctypes
import io
import json
import pickle
from bisect import bisect_left
from pathlib import Path

import pytest

import flambeau
from tests.golden import float8_cases as cases

GOLDEN = json.loads((Path(__file__).parent / "golden" / "float8.json").read_text())

# Bits of the fraction, bias of the exponent.
FORMATS = {
    "float8_e4m3fn": (3, 7),
    "float8_e5m2": (2, 15),
    "float8_e4m3fnuz": (3, 8),
    "float8_e5m2fnuz": (2, 16),
}


@pytest.mark.parametrize("name", cases.FLOAT8)
def test_every_code_stands_for_the_number_that_pytorch_gives_it(name):
    assert cases.decoded(flambeau, name) == GOLDEN["decoded"][name]


@pytest.mark.parametrize("name", cases.FLOAT8)
def test_conversions_have_pytorchs_bits(name):
    assert cases.conversions(flambeau, name) == GOLDEN["conversions"][name]


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_round_to_the_nearest_and_ties_to_even(name):
    fraction, bias = FORMATS[name]
    dtype = getattr(flambeau, name)
    top = int(flambeau.tensor(flambeau.finfo(dtype).max).to(dtype).view(flambeau.uint8))

    def value(code):
        exponent, rest = code >> fraction, code & ((1 << fraction) - 1)
        return (rest + (exponent > 0) * 2**fraction) * 2.0 ** (max(exponent, 1) - bias - fraction)

    grid = [value(code) for code in range(top + 1)]
    flambeau.manual_seed(0)
    numbers = [abs(x) for x in (flambeau.randn(3000) * 10 ** (flambeau.rand(3000) * 8 - 4)).tolist()]
    numbers += [(low + high) / 2 for low, high in zip(grid[:-1], grid[1:], strict=True)]
    numbers = [x for x in numbers if x <= grid[-1]]
    found = flambeau.tensor(numbers).to(dtype).view(flambeau.uint8).tolist()
    for x, code in zip(flambeau.tensor(numbers).tolist(), found, strict=True):
        above = bisect_left(grid, x)
        near = [c for c in (above - 1, above) if 0 <= c <= top]
        expected = min(near, key=lambda c: (abs(grid[c] - x), c % 2))
        assert code == expected, (x, code, expected)


@pytest.mark.parametrize("name", cases.FLOAT8)
@pytest.mark.parametrize("text", cases.EXPRESSIONS)
def test_an_expression_ends_as_in_pytorch(name, text):
    assert cases.outcome(flambeau, name, text) == GOLDEN["outcomes"][name][text]


@pytest.mark.parametrize("name", cases.BYTES)
@pytest.mark.parametrize("text", cases.BYTE_EXPRESSIONS)
def test_bytes_are_moved_and_nothing_else(name, text):
    assert cases.outcome(flambeau, name, text) == GOLDEN["outcomes"][name][text]


@pytest.mark.parametrize("name", cases.FLOAT8)
def test_large_and_strided_tensors_convert_as_small_ones_do(name):
    dtype = getattr(flambeau, name)
    flambeau.manual_seed(1)
    wide = flambeau.randn(700, 900) * 30
    whole = wide.to(dtype)
    assert flambeau.equal(wide.t().to(dtype).t().float(), whole.float())
    assert flambeau.equal(wide[:, ::3].to(dtype).float(), whole[:, ::3].float())
    assert flambeau.equal(flambeau.stack([row.to(dtype) for row in wide[:5]]).float(), whole[:5].float())
    assert flambeau.equal(whole.t().float(), whole.float().t())


def test_an_error_names_the_dtype():
    x = flambeau.ones(2).to(flambeau.float8_e4m3fn)

    def arange():
        return flambeau.arange(3, dtype=x.dtype)

    for attempt in (lambda: x + x, x.sum, x.sort, x.neg, arange):
        with pytest.raises(NotImplementedError, match="not implemented for 'Float8_e4m3fn'"):
            attempt()
    with pytest.raises(
        RuntimeError, match="Promotion for Float8 .* attempted to promote Float8_e4m3fn and Float"
    ):
        x * flambeau.ones(2)
    with pytest.raises(RuntimeError, match="without overflow"):
        x.fill_(1000)
    with pytest.raises(TypeError, match="unsupported ScalarType Float8_e4m3fn"):
        x.numpy()
    with pytest.raises(NotImplementedError, match="not implemented for 'Bits8'"):
        x.view(flambeau.bits8) + 1


@pytest.mark.parametrize("name", [*cases.FLOAT8, *cases.BYTES])
def test_tensors_survive_files_pickles_and_copies(name):
    tensor = flambeau.arange(24, dtype=flambeau.uint8).view(getattr(flambeau, name)).view(2, -1).t()
    file = io.BytesIO()
    flambeau.save({"tensor": tensor, "dtype": tensor.dtype}, file)
    for weights_only in (True, False):
        file.seek(0)
        again = flambeau.load(file, weights_only=weights_only)
        assert again["dtype"] is tensor.dtype
        for copied in (again["tensor"], pickle.loads(pickle.dumps(tensor)), copy.deepcopy(tensor)):
            assert copied.dtype is tensor.dtype and copied.stride() == tensor.stride()
            assert flambeau.equal(copied.t().view(flambeau.uint8), tensor.t().view(flambeau.uint8))


def test_modules_and_their_states_hold_float8():
    model = flambeau.nn.Linear(3, 2).to(flambeau.float8_e4m3fn)
    assert {p.dtype for p in model.parameters()} == {flambeau.float8_e4m3fn}
    state = model.state_dict()
    other = flambeau.nn.Linear(3, 2)
    other.load_state_dict(state)
    assert flambeau.equal(other.weight, model.weight.float())
    assert flambeau.equal(model.float().weight, other.weight)


@pytest.mark.parametrize(
    ("name", "code", "bits", "lanes"),
    [
        ("float8_e4m3fn", 10, 8, 1),
        ("float8_e4m3fnuz", 11, 8, 1),
        ("float8_e5m2", 12, 8, 1),
        ("float8_e5m2fnuz", 13, 8, 1),
        ("float8_e8m0fnu", 14, 8, 1),
        ("float4_e2m1fn_x2", 17, 4, 2),
    ],
)
def test_dlpack_has_the_protocols_codes_and_shares_memory(name, code, bits, lanes):
    tensor = flambeau.arange(4, dtype=flambeau.uint8).view(getattr(flambeau, name))
    capsule = tensor.__dlpack__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # After the address, the device and the number of dimensions.
    assert list((ctypes.c_uint8 * 4).from_address(pointer(capsule, b"dltensor") + 20)) == [
        code,
        bits,
        lanes,
        0,
    ]
    again = flambeau.from_dlpack(tensor)
    assert again.dtype is tensor.dtype and again.data_ptr() == tensor.data_ptr()


def test_bits_do_not_travel_by_dlpack():
    with pytest.raises(BufferError, match="Bit types are not supported by dlpack"):
        flambeau.zeros(2, dtype=flambeau.bits8).__dlpack__()


def test_gradients_pass_through_float8_in_its_own_dtype():
    weight = flambeau.ones(3).to(flambeau.float8_e5m2).requires_grad_()
    (weight.float() * flambeau.tensor([1.0, 2.0, 3.3])).sum().backward()
    assert weight.grad.dtype is flambeau.float8_e5m2 and weight.grad.tolist() == [1.0, 2.0, 3.5]


def test_scaled_products_through_the_functions_of_networks():
    functional = flambeau.nn.functional
    flambeau.manual_seed(2)
    a, b = flambeau.randn(5, 16).to(flambeau.float8_e4m3fn), flambeau.randn(16, 4).to(flambeau.float8_e5m2)
    rows, columns = flambeau.rand(5, 1), flambeau.rand(1, 4)
    kind = functional.ScalingType
    exact = (a.float() * rows) @ (b.float() * columns)
    found = functional.scaled_mm(
        a, b, rows, kind.RowWise, columns, kind.RowWise, output_dtype=flambeau.float32
    )
    assert flambeau.equal(found, exact)
    assert functional.scaled_mm(a, b, rows, kind.RowWise, columns, kind.RowWise).dtype is flambeau.bfloat16
    with pytest.raises(ValueError, match="must have 1 Float element"):
        functional.scaled_mm(a, b, rows, kind.TensorWise, columns, kind.TensorWise)
    with pytest.raises(ValueError, match="Invalid scaling configuration"):
        functional.scaled_mm(a, b, rows, kind.BlockWise1x128, columns, kind.BlockWise1x128)


def test_meta_tensors_have_float8_shapes():
    x = flambeau.empty(3, 4, dtype=flambeau.float8_e4m3fn, device="meta")
    assert (
        x.t().float().dtype is flambeau.float32 and (x == x).shape == (3, 4) and (x @ x.t()).dtype is x.dtype
    )


@pytest.mark.parametrize("name", FORMATS)
def test_random_tensors_for_tests_can_be_float8(name):
    dtype = getattr(flambeau, name)
    flambeau.manual_seed(0)
    made = flambeau.testing.make_tensor((3, 4), dtype=dtype, device="cpu", low=-2, high=2)
    flambeau.manual_seed(0)
    drawn = flambeau.empty(3, 4).uniform_(-2, 2).to(dtype)
    assert made.dtype is dtype and flambeau.equal(made, drawn)
    flambeau.testing.assert_close(made, drawn)


def test_bit_is_the_shortest_of_the_unsigned_integers():
    assert flambeau.bit is flambeau.uint1
