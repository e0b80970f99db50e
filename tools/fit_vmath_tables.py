"""Computes the tables of csrc/kernels/isa/vmath_tables.h (needs mpmath).

Sixteen or thirty-two entries fit into one or two registers, where a permutation looks them up: the functions of
csrc/kernels/isa/vmath_avx512.h take a short polynomial per interval.
Run `python tools/fit_vmath_tables.py > csrc/kernels/isa/vmath_tables.h`.
"""

import struct

import mpmath as mp
from fit_vmath import fit
from mpmath import mpf


def single(x):
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def emit_rows(name, rows, comment):
    print(f"// {comment}")
    print(f"alignas(64) constexpr float {name}[{len(rows)}][{len(rows[0])}] = {{")
    for row in rows:
        line = "    {"
        for value in row:
            text = f"{float(single(value)).hex()}f, "
            if len(line) + len(text) > 110:
                print(line.rstrip())
                line = "     "
            line += text
        print(line.rstrip(", ") + "},")
    print("};")


def piecewise(function, width, degree, intervals=32):
    """Coefficients, lowest first, of polynomials around 0, width, 2 width ... for an odd function on x >= 0."""
    columns = []
    for k in range(intervals):
        if k == 0:  # no constant: the result keeps its relative accuracy around 0
            columns.append([mpf(0), *fit(lambda t: function(t) / t, 0, width / 2, degree - 1)])
        else:
            columns.append(fit(lambda t, c=k * width: function(c + t), -width / 2, width / 2, degree))
    return [[column[j] for column in columns] for j in range(degree + 1)]


def log_table():
    """Per leading four bits of a mantissa from 0.75 to 1.5: c near its inverse, and -log(c).

    c is chosen so that its logarithm is a multiple of 2^-16, to 2^-29 or better: the leading sum is then exact.
    """
    inverses, logs = [], []
    for i in range(16):
        if i in (0, 14, 15):  # around 1, where the result goes to 0
            inverses.append(mpf(1))
            logs.append(mpf(0))
            continue
        low, high = mpf(16 + i), mpf(17 + i)
        scale = 16 if i < 8 else 32
        centre = single(2 * scale / (low + high))
        step = mpf(2) ** (-24 if centre < 1 else -23)
        best = None
        for k in range(-24000, 24001):
            c = centre + k * step
            exact = -mp.log(c)
            rounded = mp.nint(exact * 65536) / 65536
            if best is None or abs(exact - rounded) < best[0]:
                best = (abs(exact - rounded), c, rounded)
        assert best[0] < mpf(2) ** -29
        inverses.append(best[1])
        logs.append(best[2])
    return inverses, logs


def erf_width():
    """Such that erf(width), which is twice the smallest result of its interval, is a float to 1/50 of its last place."""
    for k in range(8448, 8600):
        value = mp.erf(mpf(k) / 65536)
        if abs(value - single(value)) < mpf(2) ** -32:
            return mpf(k) / 65536


def main():
    mp.mp.dps = 30
    print("// Written by tools/fit_vmath_tables.py: see there.")
    print("#pragma once\n\nnamespace flb::tables {\n")
    inverses, logs = log_table()
    emit_rows("kLog", [inverses, logs], "c near 1/m and -log(c), by the leading bits of m from 0.75 to 1.5")
    tail = fit(lambda f: (mp.log1p(f) - f) / f**2, mpf("-0.0625"), mpf("0.0625"), 4)
    print("// (log(1+f) - f) / f^2, |f| <= 1/16")
    print(f"constexpr float kLogTail[] = {{{', '.join(float(single(c)).hex() + 'f' for c in tail)}}};")
    # The widths are short, so that multiples of them are exact; the 31st multiple is where the float result is 1.
    for name, function, width, degree, comment in (
        ("Tanh", mp.tanh, mpf(75) / 256, 6, "tanh(x)"),
        ("Erf", mp.erf, erf_width(), 5, "erf(x)"),
        ("Normal", lambda x: mp.erf(x / mp.sqrt(2)) / 2, mpf(23) / 128, 5, "erf(x / sqrt(2)) / 2"),
    ):
        print(f"constexpr float k{name}Width = {float(width).hex()}f;")
        emit_rows(f"k{name}", piecewise(function, width, degree), f"{comment} around multiples of the width")
    print("\n}  // namespace flb::tables")


if __name__ == "__main__":
    main()
