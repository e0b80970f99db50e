"""Pointwise operators: values against NumPy, dtypes, layouts, errors and derivatives."""

import cmath
import math
import operator

import numpy as np
import pytest

import flambeau
from flambeau._ops import registry

UNARY = {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sinc": np.sinc,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": np.round,
    "trunc": np.trunc,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "signbit": np.signbit,
    "deg2rad": np.deg2rad,
    "rad2deg": np.rad2deg,
    "erf": np.vectorize(math.erf),
    "erfc": np.vectorize(math.erfc),
    "logical_not": np.logical_not,
}
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
    "logaddexp2": np.logaddexp2,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "fmax": np.fmax,
    "fmin": np.fmin,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "copysign": np.copysign,
    "nextafter": np.nextafter,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
INTEGER_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "gcd": np.gcd,
    "lcm": np.lcm,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
EDGES = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -2.5, 1e-30, 100.0, -7.0, 3.0]


def tensor(array):
    return flambeau.tensor(array.tolist(), dtype=getattr(flambeau, str(array.dtype)))


def values(t):
    return np.array(t.tolist())


def layouts(array):
    """The same elements as a contiguous, a transposed and a strided tensor."""
    yield tensor(array)
    yield tensor(np.ascontiguousarray(array.T)).t()
    doubled = np.repeat(array, 2, axis=1)
    yield tensor(doubled)[:, ::2]


def close(got, want, dtype):
    rtol, atol = (3e-6, 1e-6) if dtype == "float32" else (1e-13, 1e-15)
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary(name, dtype):
    rng = np.random.default_rng(0)
    operator = getattr(flambeau, name)
    with np.errstate(all="ignore"):
        for array in (rng.normal(size=(5, 67)).astype(dtype), np.array([EDGES], dtype)):
            want = UNARY[name](array) if name != "sign" else np.nan_to_num(np.sign(array))
            for t in layouts(array):
                close(values(operator(t)), want, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary(name, dtype):
    rng = np.random.default_rng(1)
    operator = getattr(flambeau, name)
    with np.errstate(all="ignore"):
        a, b = (rng.normal(size=(5, 67)).astype(dtype) for _ in range(2))
        want = BINARY[name](a, b)
        for x in layouts(a):
            for y in layouts(b):
                close(values(operator(x, y)), want, dtype)
        close(values(operator(tensor(a), tensor(b[:1]))), BINARY[name](a, b[:1]), dtype)
        empty = flambeau.empty(0, 67, dtype=getattr(flambeau, dtype))
        assert operator(empty, empty).shape == (0, 67)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("name", sorted(INTEGER_BINARY))
def test_integers(name, dtype):
    rng = np.random.default_rng(2)
    info = np.iinfo(dtype)
    a, b = (rng.integers(info.min, info.max, size=(4, 33), dtype=dtype, endpoint=True) for _ in range(2))
    b[b == 0] = 1
    with np.errstate(all="ignore"):
        want = INTEGER_BINARY[name](a, b)
    if name in ("gcd", "lcm"):  # the magnitude of the smallest integer does not fit
        a, b = np.abs(a // 16), np.abs(b // 16)
        want = INTEGER_BINARY[name](a, b)
        if name == "lcm" and want.dtype.itemsize >= 4:
            a, b = a % 1000, b % 1000
            want = np.lcm(a, b)
        if name == "lcm":
            a, b = a % 11, b % 11
            want = np.lcm(a, b)
    got = getattr(flambeau, name)(tensor(a), tensor(b))
    assert str(got.dtype) == f"torch.{dtype}"
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("operation", ["floor_divide", "remainder", "fmod"])
def test_integer_division_by_zero(operation):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        getattr(flambeau, operation)(flambeau.tensor([1, 2]), flambeau.tensor([1, 0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["add", "mul", "div"])
def test_half_precision_rounds_once(name, dtype):
    dtype = getattr(flambeau, dtype)
    a = flambeau.tensor([1.0, 0.1, 3.0, 65504.0], dtype=dtype)
    b = flambeau.tensor([0.001, 7.0, 0.3, 0.5], dtype=dtype)
    exact = getattr(flambeau, name)(flambeau.tensor(a.tolist()), flambeau.tensor(b.tolist()))
    assert getattr(flambeau, name)(a, b).tolist() == flambeau.tensor(exact.tolist(), dtype=dtype).tolist()


def test_numbers_on_either_side():
    x = flambeau.tensor([1, 2, 4])
    assert (2 - x).tolist() == [1, 0, -2]
    assert (2**x).tolist() == [2, 4, 16]
    assert (5 // x).tolist() == [5, 2, 1]
    assert (7 % x).tolist() == [0, 1, 3]
    assert (1 / x).tolist() == [1.0, 0.5, 0.25]
    assert (x + 0.5).dtype == flambeau.float32
    assert (x == "x") is False


def test_functions_of_arithmetic_make_tensors_of_two_numbers():
    for found, expected in (
        (flambeau.add(7, 2), flambeau.tensor(9)),
        (flambeau.sub(1, 2, alpha=3), flambeau.tensor(-5)),
        (flambeau.multiply(7.5, 2), flambeau.tensor(15.0)),
        (flambeau.mul(True, True), flambeau.tensor(True)),
        (flambeau.mul(2j, 2), flambeau.tensor(4j)),
        (flambeau.true_divide(7, 2), flambeau.tensor(3.5)),
        (flambeau.div(-7, 2, rounding_mode="trunc"), flambeau.tensor(-3)),
        (flambeau.floor_divide(-7, 2), flambeau.tensor(-4)),
    ):
        assert found.equal(expected) and found.dtype is expected.dtype
    assert flambeau.add(1, 2, out=flambeau.empty(0)).dtype is flambeau.float32
    for other in (flambeau.remainder, flambeau.pow, flambeau.eq, flambeau.maximum):
        with pytest.raises(TypeError):
            other(7, 2)


def test_in_place_and_out():
    x = flambeau.tensor([1.0, 4.0, 9.0])
    assert x.sqrt_() is x and x.tolist() == [1.0, 2.0, 3.0]
    x += 1
    assert x.tolist() == [2.0, 3.0, 4.0]
    out = flambeau.empty(0)
    assert flambeau.mul(x, 2, out=out) is out and out.tolist() == [4.0, 6.0, 8.0]
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type"):
        flambeau.tensor([1, 2]).add_(0.5)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        flambeau.ones(1).add_(flambeau.ones(3))


def test_where_and_masks():
    c, x, y = flambeau.tensor([True, False]), flambeau.tensor([1.0, 2.0]), flambeau.tensor([[5.0], [6.0]])
    assert flambeau.where(c, x, y).tolist() == [[1.0, 5.0], [1.0, 6.0]]
    assert flambeau.where(c, 1, 2.5).tolist() == [1.0, 2.5]
    assert x.where(c, 0).tolist() == [1.0, 0.0]
    assert x.masked_fill(c, 9).tolist() == [9.0, 2.0]
    with pytest.raises(RuntimeError, match="boolean"):
        flambeau.where(x, x, x)
    with pytest.raises(RuntimeError, match="only supports boolean masks"):
        x.masked_fill(x, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.tensor([True]) - t.tensor([True]),
        lambda t: -t.tensor([True]),
        lambda t: t.tensor([1j]) < t.tensor([1j]),
        lambda t: t.tensor([1.0]) & t.tensor([1.0]),
        lambda t: t.tensor([2]) ** -1,
        lambda t: t.tensor([1j]).clamp(0),
        lambda t: t.clamp(t.tensor([1.0])),
        lambda t: t.lerp(t.ones(1), t.ones(1, dtype=t.float64), 0.5),
        lambda t: t.addcdiv(t.ones(1), t.tensor([1]), t.tensor([1])),
        lambda t: t.ones(2) + t.ones(3),
    ],
)
def test_refused(call):
    with pytest.raises(RuntimeError):
        call(flambeau)


def _differentiable():
    for name, record in registry.records.items():
        simple = record.signature.split("(", 1)[1].startswith("Tensor input, *, Tensor? out=None)")
        if record.family == "pointwise" and record.vjp and simple:
            yield name


@pytest.mark.parametrize("name", sorted(_differentiable()))
def test_derivatives(name):
    shift = {
        "acosh": 1.5,
        "log": 0.5,
        "log2": 0.5,
        "log10": 0.5,
        "sqrt": 0.5,
        "rsqrt": 0.5,
        "lgamma": 0.5,
        "digamma": 0.5,
    }
    operator = registry.records[name].op
    start = shift.get(name, 0.1)
    points = [start + 0.13 * k for k in range(5)]
    x = flambeau.tensor(points, dtype=flambeau.float64, requires_grad=True)
    operator(x).sum().backward()
    step = 1e-6
    for k, point in enumerate(points):
        both = operator(flambeau.tensor([point + step, point - step], dtype=flambeau.float64)).tolist()
        assert x.grad.tolist()[k] == pytest.approx((both[0] - both[1]) / (2 * step), rel=1e-5, abs=1e-7), (
            point
        )


@pytest.mark.parametrize(
    "name", ["mul", "div", "pow", "atan2", "hypot", "maximum", "logaddexp", "remainder", "xlogy"]
)
def test_binary_derivatives(name):
    operator = getattr(flambeau, name)
    a, b = ([0.7, 1.9, 3.1], [1.3, 0.6, 2.2])
    x, y = (flambeau.tensor(v, dtype=flambeau.float64, requires_grad=True) for v in (a, b))
    operator(x, y).sum().backward()
    step = 1e-6
    for k in range(3):

        def f(da, db, k=k):
            return operator(
                flambeau.tensor([a[k] + da], dtype=flambeau.float64),
                flambeau.tensor([b[k] + db], dtype=flambeau.float64),
            ).item()

        assert x.grad.tolist()[k] == pytest.approx(
            (f(step, 0) - f(-step, 0)) / (2 * step), rel=1e-6, abs=1e-8
        )
        assert y.grad.tolist()[k] == pytest.approx(
            (f(0, step) - f(0, -step)) / (2 * step), rel=1e-6, abs=1e-8
        )


@pytest.mark.parametrize(
    "dtype", [flambeau.float16, flambeau.bfloat16, flambeau.float32, flambeau.float64], ids=str
)
@pytest.mark.parametrize("count", [1, 33])
def test_exact_at_zero_and_one(dtype, count):
    zero, one = flambeau.zeros(count, dtype=dtype), flambeau.ones(count, dtype=dtype)
    for name in "exp exp2 cos cosh erfc sinc i0".split():
        assert getattr(flambeau, name)(zero).eq(1).all(), name
    for name in "sin tan sinh tanh asin atan asinh atanh erf expm1 log1p erfinv sqrt".split():
        assert getattr(flambeau, name)(zero).eq(0).all(), name
    for name in "log log2 log10 acos acosh lgamma".split():
        assert getattr(flambeau, name)(one).eq(0).all(), name


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_sines_and_cosines_reach_one(dtype):
    # Schedules take the root of 1 - sin(pi/2)**2, in which the last bit of the sine is the fourth digit.
    quarter = flambeau.full((19,), math.pi / 2, dtype=getattr(flambeau, dtype))
    assert (quarter.sin() == 1).all() and ((-quarter).sin() == -1).all() and ((3 * quarter).sin() == -1).all()
    assert (
        ((2 * quarter).cos() == -1).all()
        and ((4 * quarter).cos() == 1).all()
        and ((0 * quarter).cos() == 1).all()
    )


def test_logaddexp_of_complex_numbers():
    inf = math.inf
    a = flambeau.tensor(
        [1 + 2j, -1000 + 3j, 1000 + 3j, complex(-inf, 2), complex(inf, 1), complex(math.nan, 0)]
    )
    b = flambeau.tensor([3 - 1j, -1000 + 1j, 1000 + 1j, 1 + 1j, 1 + 1j, 1 + 1j])
    got = flambeau.logaddexp(a.to(flambeau.complex128), b.to(flambeau.complex128)).tolist()
    assert got[0] == pytest.approx(cmath.log(cmath.exp(1 + 2j) + cmath.exp(3 - 1j)))
    half = math.log(abs(cmath.exp(1j) + cmath.exp(3j)))
    assert got[1] == pytest.approx(-1000 + half + 2j) and got[2] == pytest.approx(1000 + half + 2j)
    assert (
        got[3] == 1 + 1j and got[4] == complex(inf, 1) and math.isnan(got[5].real) and math.isnan(got[5].imag)
    )


def test_gradient_of_nextafter():
    x, y = flambeau.tensor([1.0, 3.0], requires_grad=True), flambeau.tensor([3.0, 3.0], requires_grad=True)
    flambeau.nextafter(x, y).backward(flambeau.tensor([2.0, 5.0]))
    assert x.grad.tolist() == [2, 0] and y.grad.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.complex64, flambeau.float8_e4m3fn])
def test_the_operator_invert_refuses_floating_tensors_by_their_type(dtype):
    x = flambeau.ones(2).to(dtype)
    with pytest.raises(TypeError, match="only implemented on integer and Boolean-type tensors"):
        operator.invert(x)
    with pytest.raises(NotImplementedError, match="bitwise_not"):
        flambeau.bitwise_not(x)
