"""Computes the polynomial coefficients of csrc/kernels/isa/vmath_coefficients.h (needs mpmath).

Each polynomial interpolates its target at Chebyshev nodes, in 60-digit arithmetic: within a small factor of the best
possible polynomial of its degree. Run `python tools/fit_vmath.py > csrc/kernels/isa/vmath_coefficients.h`.
"""

import mpmath as mp
from mpmath import mpf

mp.mp.dps = 60
LN2 = mp.log(2)
TINY = mpf(10) ** -9  # Chebyshev nodes avoid 0, but the centre of an odd-sized symmetric set is 0 itself


def nodes(low, high, count):
    middle, half = (mpf(low) + high) / 2, (mpf(high) - low) / 2
    points = [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    return [p if abs(p) > TINY else TINY for p in points]


def fit(function, low, high, degree):
    points = nodes(low, high, degree + 1)
    rows = mp.matrix([[p**k for k in range(degree + 1)] for p in points])
    return list(mp.lu_solve(rows, mp.matrix([function(p) for p in points])))


def fit_ratio(function, low, high, top, bottom):
    """p/q with q(0) = 1, from the linear equations p(z) - f(z) (q(z) - 1) = f(z)."""
    points = nodes(low, high, top + bottom + 1)
    rows = mp.matrix(
        [[p**k for k in range(top + 1)] + [-function(p) * p**k for k in range(1, bottom + 1)] for p in points]
    )
    solution = list(mp.lu_solve(rows, mp.matrix([function(p) for p in points])))
    return solution[: top + 1], [mpf(1), *solution[top + 1 :]]


def emit(name, coefficients, comment=None):
    if comment:
        print(f"// {comment}")
    body = ", ".join(float(c).hex() for c in coefficients)
    line, lines = "   ", []
    for part in body.split(", "):
        if len(line) + len(part) + 2 > 108:
            lines.append(line)
            line = "   "
        line += f" {part},"
    print(f"constexpr double {name}[] = {{\n" + "\n".join([*lines, line]).rstrip(",") + "};")


def emit_pair(name, function, low, high, degree32, degree64, comment):
    emit(f"{name}F", fit(function, low, high, degree32), comment)
    emit(f"{name}D", fit(function, low, high, degree64))


def odd_tail(function):
    """(f(x) - x) / x^3 as a function of z = x^2."""

    def tail(z):
        x = mp.sqrt(z)
        return (function(x) - x) / x**3

    return tail


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def main():
    print("// Written by tools/fit_vmath.py: polynomial coefficients, lowest degree first.")
    print("#pragma once\n\nnamespace flb::coefficients {\n")
    half = LN2 / 2 * mpf("1.001")
    emit_pair(
        "kExp", lambda r: (mp.exp(r) - 1 - r) / r**2, -half, half, 4, 9, "(e^r - 1 - r) / r^2, |r| <= ln(2)/2"
    )
    emit_pair("kExp2", lambda r: (2**r - 1) / r, -0.5, 0.5, 5, 10, "(2^r - 1) / r, |r| <= 1/2")
    emit("kExp2Pow", fit(lambda r: (2**r - 1) / r, -0.5, 0.5, 6))
    low, high = mp.sqrt(mpf(1) / 2) - 1, mp.sqrt(2) - 1
    log_tail = lambda f: (mp.log1p(f) - f + f * f / 2) / f**3  # noqa: E731
    emit("kLogF", fit(log_tail, low, high, 7), "(log(1+f) - f + f^2/2) / f^3, 1+f from sqrt(1/2) to sqrt(2)")
    for name, base in (("Log2", LN2), ("Log10", mp.log(10))):
        emit(
            f"k{name}F",
            fit(lambda f, base=base: (mp.log1p(f) - f) / base / f**2, low, high, 8),
            f"({name.lower()}(1+f) - f/ln(base)) / f^2, the same range",
        )
    s_max = (high / (2 + high)) ** 2 * mpf("1.001")

    def atanh_tail(s):
        return mp.log((1 + s) / (1 - s)) / s

    emit(
        "kLogD",
        fit(lambda z: (atanh_tail(mp.sqrt(z)) - 2) / z, 0, s_max, 7),
        "(log((1+s)/(1-s))/s - 2) / z with z = s^2 and s = f/(2+f), the same range of f",
    )
    emit(
        "kLogPowD",
        fit(lambda z: (atanh_tail(mp.sqrt(z)) - 2 - 2 * z / 3) / z**2, 0, s_max, 7),
        "(log((1+s)/(1-s))/s - 2 - 2z/3) / z^2",
    )
    emit("kLog2Pow", fit(lambda z: atanh_tail(mp.sqrt(z)) / LN2, 0, s_max, 5), "log2((1+s)/(1-s)) / s")
    quarter = (mp.pi / 2) ** 2 * mpf("1.02")
    emit_pair("kSin", odd_tail(mp.sin), 0, quarter, 4, 9, "(sin(x) - x) / x^3 over z = x^2, |x| <= pi/2")
    eighth = (mp.pi / 4) ** 2 * mpf("1.02")
    ratio = lambda z: mp.tan(mp.sqrt(z)) / mp.sqrt(z)  # noqa: E731
    for width, top, bottom in (("F", 3, 2), ("D", 4, 4)):
        p, q = fit_ratio(ratio, 0, eighth, top, bottom)
        emit(
            f"kTanTop{width}",
            p,
            "tan(x)/x = top(z)/bottom(z) over z = x^2, |x| <= pi/4" if width == "F" else None,
        )
        emit(f"kTanBottom{width}", q)
    emit_pair(
        "kTanh", odd_tail(mp.tanh), 0, mpf("0.625") ** 2, 4, 11, "(tanh(x) - x) / x^3 over x^2, |x| <= 0.625"
    )
    emit_pair("kSinh", odd_tail(mp.sinh), 0, 1, 3, 7, "(sinh(x) - x) / x^3 over x^2, |x| <= 1")
    emit_pair("kAsin", odd_tail(mp.asin), 0, mpf("0.25"), 5, 13, "(asin(x) - x) / x^3 over x^2, |x| <= 1/2")
    emit_pair(
        "kAtan",
        odd_tail(mp.atan),
        0,
        mp.tan(mp.pi / 8) ** 2 * mpf("1.001"),
        4,
        11,
        "(atan(x) - x) / x^3 over x^2, |x| <= tan(pi/8)",
    )
    emit_pair(
        "kErf", lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, 0, 1, 7, 14, "erf(x)/x - 1 over x^2, |x| <= 1"
    )
    emit(
        "kErfTailF",
        fit(lambda x: mp.log(mp.erfc(x)), mpf("0.98"), mpf("4.05"), 9),
        "log(erfc(x)), 1 <= x <= 4",
    )

    def scaled(t):  # x = 4 (1+t)/(1-t): the half-line becomes [-1, 1)
        x = 4 * (1 + t) / (1 - t)
        return erfcx(x) * (1 + 2 * x)

    t_max = mpf(28 - 4) / (28 + 4)
    emit("kErfcF", fit(scaled, -1, mpf(11 - 4) / (11 + 4), 13), "erfc(x) e^(x^2) (1+2x) over t = (x-4)/(x+4)")
    emit("kErfcD", fit(scaled, -1, t_max, 25))
    print("\n}  // namespace flb::coefficients")


if __name__ == "__main__":
    main()
