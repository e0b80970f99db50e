// Butterflies of the Fourier transforms, on real and imaginary parts that stand apart so that every loop is plain.
#include "kernels/fft_kernels.h"
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {
namespace {

// Discrete transforms of R points, in place; V is a number of type T or a vector of them.
template <int R, class T>
struct Butterfly;

template <class T>
struct Butterfly<2, T> {
    template <class V>
    static FLB_INLINE void apply(V (&re)[2], V (&im)[2]) {
        const V r = re[0] - re[1], i = im[0] - im[1];
        re[0] += re[1];
        im[0] += im[1];
        re[1] = r;
        im[1] = i;
    }
};

template <class T>
struct Butterfly<3, T> {
    template <class V>
    static FLB_INLINE void apply(V (&re)[3], V (&im)[3]) {
        constexpr T half_root = T(0.86602540378443864676);
        const V sr = re[1] + re[2], si = im[1] + im[2], dr = (re[1] - re[2]) * half_root,
                di = (im[1] - im[2]) * half_root;
        const V mr = re[0] - T(0.5) * sr, mi = im[0] - T(0.5) * si;
        re[0] += sr;
        im[0] += si;
        re[1] = mr + di;
        im[1] = mi - dr;
        re[2] = mr - di;
        im[2] = mi + dr;
    }
};

template <class T>
struct Butterfly<4, T> {
    template <class V>
    static FLB_INLINE void apply(V (&re)[4], V (&im)[4]) {
        const V ar = re[0] + re[2], ai = im[0] + im[2], br = re[0] - re[2], bi = im[0] - im[2];
        const V cr = re[1] + re[3], ci = im[1] + im[3], dr = re[1] - re[3], di = im[1] - im[3];
        re[0] = ar + cr;
        im[0] = ai + ci;
        re[1] = br + di;
        im[1] = bi - dr;
        re[2] = ar - cr;
        im[2] = ai - ci;
        re[3] = br - di;
        im[3] = bi + dr;
    }
};

template <class T>
struct Butterfly<5, T> {
    template <class V>
    static FLB_INLINE void apply(V (&re)[5], V (&im)[5]) {
        constexpr T c1 = T(0.30901699437494742410), c2 = T(-0.80901699437494742410),
                    s1 = T(0.95105651629515357212), s2 = T(0.58778525229247312917);
        const V ar = re[1] + re[4], ai = im[1] + im[4], br = re[1] - re[4], bi = im[1] - im[4];
        const V cr = re[2] + re[3], ci = im[2] + im[3], dr = re[2] - re[3], di = im[2] - im[3];
        const V pr = re[0] + c1 * ar + c2 * cr, pi = im[0] + c1 * ai + c2 * ci;
        const V qr = re[0] + c2 * ar + c1 * cr, qi = im[0] + c2 * ai + c1 * ci;
        const V ur = s1 * br + s2 * dr, ui = s1 * bi + s2 * di;
        const V vr = s2 * br - s1 * dr, vi = s2 * bi - s1 * di;
        re[0] += ar + cr;
        im[0] += ai + ci;
        re[1] = pr + ui;
        im[1] = pi - ur;
        re[4] = pr - ui;
        im[4] = pi + ur;
        re[2] = qr + vi;
        im[2] = qi - vr;
        re[3] = qr - vi;
        im[3] = qi + vr;
    }
};

template <class T>
struct Butterfly<8, T> {
    template <class V>
    static FLB_INLINE void apply(V (&re)[8], V (&im)[8]) {
        constexpr T h = T(0.70710678118654752440);
        V er[4] = {re[0], re[2], re[4], re[6]}, ei[4] = {im[0], im[2], im[4], im[6]};
        V odd_r[4] = {re[1], re[3], re[5], re[7]}, odd_i[4] = {im[1], im[3], im[5], im[7]};
        Butterfly<4, T>::apply(er, ei);
        Butterfly<4, T>::apply(odd_r, odd_i);
        const V r1 = (odd_r[1] + odd_i[1]) * h, i1 = (odd_i[1] - odd_r[1]) * h;
        const V r2 = odd_i[2], i2 = -odd_r[2];
        const V r3 = (odd_i[3] - odd_r[3]) * h, i3 = -(odd_r[3] + odd_i[3]) * h;
        re[0] = er[0] + odd_r[0];
        im[0] = ei[0] + odd_i[0];
        re[4] = er[0] - odd_r[0];
        im[4] = ei[0] - odd_i[0];
        re[1] = er[1] + r1;
        im[1] = ei[1] + i1;
        re[5] = er[1] - r1;
        im[5] = ei[1] - i1;
        re[2] = er[2] + r2;
        im[2] = ei[2] + i2;
        re[6] = er[2] - r2;
        im[6] = ei[2] - i2;
        re[3] = er[3] + r3;
        im[3] = ei[3] + i3;
        re[7] = er[3] - r3;
        im[7] = ei[3] - i3;
    }
};

// One column of a pass: reads at from[j * apart], writes at to[k * stride], the results times the twiddles w.
template <int R, class T, class V, class Load, class Store>
FLB_INLINE void column(const Load& load_point, const Store& store_point, const V* wr, const V* wi) {
    V re[R], im[R];
#pragma GCC unroll 8
    for (int j = 0; j < R; ++j) load_point(j, re[j], im[j]);
    Butterfly<R, T>::apply(re, im);
    store_point(0, re[0], im[0]);
#pragma GCC unroll 8
    for (int k = 1; k < R; ++k) store_point(k, re[k] * wr[k] - im[k] * wi[k], re[k] * wi[k] + im[k] * wr[k]);
}

template <int R, class T>
void wide_pass(const FftPass<T>& pass, const T* __restrict xr, const T* __restrict xi, T* __restrict yr,
               T* __restrict yi) {
    constexpr int W = kLanes<T>;
    const int64_t s = pass.stride, m = pass.m, apart = m * s;
    for (int64_t p = 0; p < m; ++p) {
        T wr[R], wi[R];
        Vector<T> wide_r[R], wide_i[R];
        for (int k = 1; k < R; ++k) {
            wr[k] = pass.twiddle_re[(k - 1) * m + p], wi[k] = pass.twiddle_im[(k - 1) * m + p];
            wide_r[k] = broadcast(wr[k]), wide_i[k] = broadcast(wi[k]);
        }
        const T *from_r = xr + p * s, *from_i = xi + p * s;
        T *to_r = yr + p * s * R, *to_i = yi + p * s * R;
        int64_t q = 0;
        for (; q + W <= s; q += W)
            column<R, T>(
                [&](int j, Vector<T>& re, Vector<T>& im) {
                    re = load<T>(from_r + q + j * apart), im = load<T>(from_i + q + j * apart);
                },
                [&](int k, Vector<T> re, Vector<T> im) {
                    store(to_r + q + k * s, re), store(to_i + q + k * s, im);
                },
                wide_r, wide_i);
        for (; q < s; ++q)
            column<R, T>([&](int j, T& re, T& im) { re = from_r[q + j * apart], im = from_i[q + j * apart]; },
                         [&](int k, T re, T im) { to_r[q + k * s] = re, to_i[q + k * s] = im; }, wr, wi);
    }
}

// Inputs and twiddles of places side by side are side by side; only the results go to blocks of `stride`.
template <int R, class T>
void narrow_pass(const FftPass<T>& pass, const T* __restrict xr, const T* __restrict xi, T* __restrict yr,
                 T* __restrict yi) {
    constexpr int W = kLanes<T>;
    const int64_t s = pass.stride, places = pass.m * s;
    int64_t i = 0, p = 0, q = 0;
    const auto next = [&] {
        if (++q == s) q = 0, ++p;
    };
    for (; i + W <= places; i += W) {
        alignas(64) T out_r[R][W], out_i[R][W];
        Vector<T> wr[R], wi[R];
        for (int k = 1; k < R; ++k) {
            wr[k] = load<T>(pass.twiddle_re + (k - 1) * places + i);
            wi[k] = load<T>(pass.twiddle_im + (k - 1) * places + i);
        }
        column<R, T>(
            [&](int j, Vector<T>& re, Vector<T>& im) {
                re = load<T>(xr + i + j * places), im = load<T>(xi + i + j * places);
            },
            [&](int k, Vector<T> re, Vector<T> im) { store(out_r[k], re), store(out_i[k], im); }, wr, wi);
        for (int l = 0; l < W; ++l, next()) {
            T *to_r = yr + p * s * R + q, *to_i = yi + p * s * R + q;
            for (int k = 0; k < R; ++k) to_r[k * s] = out_r[k][l], to_i[k * s] = out_i[k][l];
        }
    }
    for (; i < places; ++i, next()) {
        T wr[R], wi[R];
        for (int k = 1; k < R; ++k)
            wr[k] = pass.twiddle_re[(k - 1) * places + i], wi[k] = pass.twiddle_im[(k - 1) * places + i];
        T *to_r = yr + p * s * R + q, *to_i = yi + p * s * R + q;
        column<R, T>([&](int j, T& re, T& im) { re = xr[i + j * places], im = xi[i + j * places]; },
                     [&](int k, T re, T im) { to_r[k * s] = re, to_i[k * s] = im; }, wr, wi);
    }
}

// Any small prime, by its definition.
template <class T>
void general_pass(const FftPass<T>& pass, const T* __restrict xr, const T* __restrict xi, T* __restrict yr,
                  T* __restrict yi) {
    const int64_t r = pass.radix, s = pass.stride, m = pass.m, count = pass.narrow ? m * s : m;
    for (int64_t p = 0; p < m; ++p)
        for (int64_t k = 0; k < r; ++k) {
            T *to_r = yr + (p * r + k) * s, *to_i = yi + (p * r + k) * s;
            for (int64_t q = 0; q < s; ++q) to_r[q] = to_i[q] = 0;
            for (int64_t j = 0; j < r; ++j) {
                const T wr = pass.root_re[j * k % r], wi = pass.root_im[j * k % r];
                const T *from_r = xr + (p + j * m) * s, *from_i = xi + (p + j * m) * s;
                for (int64_t q = 0; q < s; ++q) {
                    to_r[q] += from_r[q] * wr - from_i[q] * wi;
                    to_i[q] += from_r[q] * wi + from_i[q] * wr;
                }
            }
            if (k == 0) continue;
            const int64_t at = (k - 1) * count + (pass.narrow ? p * s : p);
            const T wr = pass.twiddle_re[at], wi = pass.twiddle_im[at];
            for (int64_t q = 0; q < s; ++q) {
                const T re = to_r[q], im = to_i[q];
                to_r[q] = re * wr - im * wi;
                to_i[q] = re * wi + im * wr;
            }
        }
}

template <int R, class T>
void one_pass(const FftPass<T>& pass, const T* xr, const T* xi, T* yr, T* yi) {
    if (pass.narrow) narrow_pass<R>(pass, xr, xi, yr, yi);
    else wide_pass<R>(pass, xr, xi, yr, yi);
}

template <class T>
void passes(const FftPass<T>* pass, int count, T* ar, T* ai, T* br, T* bi) {
    for (int i = 0; i < count; ++i, ++pass) {
        switch (pass->radix) {
            case 2: one_pass<2>(*pass, ar, ai, br, bi); break;
            case 3: one_pass<3>(*pass, ar, ai, br, bi); break;
            case 4: one_pass<4>(*pass, ar, ai, br, bi); break;
            case 5: one_pass<5>(*pass, ar, ai, br, bi); break;
            case 8: one_pass<8>(*pass, ar, ai, br, bi); break;
            default: general_pass(*pass, ar, ai, br, bi);
        }
        T* t = ar;
        ar = br, br = t;
        t = ai, ai = bi, bi = t;
    }
}

// ---- to and from memory ------------------------------------------------------------------------------------------------

// As many whole tiles of lines with dense points as there are, turned in registers; returns the points done.
template <class T>
int64_t gather_tiles(const FftLanes<T>& from, T* __restrict re, T* __restrict im) {
    if constexpr (kTurnsInRegisters<T>) {
        constexpr int W = kLanes<T>;
        const int64_t parts = from.complex ? 2 : 1, points = W / parts, whole = from.points / points * points;
        for (int64_t k = 0; k < whole; k += points)
            for (int base = 0; base < kFftWide; base += W) {
                Vector<T> rows[W];
                for (int i = 0; i < W; ++i) rows[i] = load<T>(from.lines[base + i] + k * parts);
                transpose(rows);
                for (int i = 0; i < W; ++i) {
                    T* to = parts == 1 || i % 2 == 0 ? re : im;
                    store(to + (k + i / parts) * kFftWide + base, rows[i]);
                }
            }
        return whole;
    }
    return 0;
}
template <class T>
int64_t scatter_tiles(const FftLanes<T>& to, const T* __restrict re, const T* __restrict im, T scale) {
    if constexpr (kTurnsInRegisters<T>) {
        constexpr int W = kLanes<T>;
        const int64_t parts = to.complex ? 2 : 1, points = W / parts, whole = to.points / points * points;
        for (int64_t k = 0; k < whole; k += points)
            for (int base = 0; base < to.count; base += W) {
                Vector<T> rows[W];
                for (int i = 0; i < W; ++i) {
                    const T* from = parts == 1 || i % 2 == 0 ? re : im;
                    rows[i] = load<T>(from + (k + i / parts) * kFftWide + base) * scale;
                }
                transpose(rows);
                for (int i = 0; i < W && base + i < to.count; ++i)
                    store(to.lines[base + i] + k * parts, rows[i]);
            }
        return whole;
    }
    return 0;
}

template <class T>
void gather(const FftLanes<T>& from, T* __restrict re, T* __restrict im) {
    const int64_t points = from.points, step = from.step, lanes = from.lanes;
    const bool complex = from.complex;
    if (lanes == 1) {
        const T* __restrict line = from.lines[0];
        if (!complex)
            for (int64_t k = 0; k < points; ++k) re[k] = line[k * step];
        else
            for (int64_t k = 0; k < points; ++k) re[k] = line[k * step], im[k] = line[k * step + 1];
        return;
    }
    if (from.adjacent) {
        for (int64_t k = 0; k < points; ++k) {
            const T* __restrict point = from.lines[0] + k * step;
            if (!complex)
                for (int64_t q = 0; q < kFftWide; ++q) re[k * kFftWide + q] = point[q];
            else
                for (int64_t q = 0; q < kFftWide; ++q) {
                    re[k * kFftWide + q] = point[2 * q];
                    im[k * kFftWide + q] = point[2 * q + 1];
                }
        }
        return;
    }
    for (int64_t k = step == (complex ? 2 : 1) ? gather_tiles(from, re, im) : 0; k < points; ++k)
        for (int64_t q = 0; q < kFftWide; ++q) {
            re[k * kFftWide + q] = from.lines[q][k * step];
            if (complex) im[k * kFftWide + q] = from.lines[q][k * step + 1];
        }
}

template <class T>
void scatter(const FftLanes<T>& to, const T* __restrict re, const T* __restrict im, T scale) {
    const int64_t points = to.points, step = to.step, count = to.count;
    const bool complex = to.complex;
    if (to.lanes == 1) {
        T* __restrict line = to.lines[0];
        if (!complex)
            for (int64_t k = 0; k < points; ++k) line[k * step] = re[k] * scale;
        else
            for (int64_t k = 0; k < points; ++k)
                line[k * step] = re[k] * scale, line[k * step + 1] = im[k] * scale;
        return;
    }
    if (to.adjacent && count == kFftWide) {
        for (int64_t k = 0; k < points; ++k) {
            T* __restrict point = to.lines[0] + k * step;
            if (!complex)
                for (int64_t q = 0; q < kFftWide; ++q) point[q] = re[k * kFftWide + q] * scale;
            else
                for (int64_t q = 0; q < kFftWide; ++q) {
                    point[2 * q] = re[k * kFftWide + q] * scale;
                    point[2 * q + 1] = im[k * kFftWide + q] * scale;
                }
        }
        return;
    }
    for (int64_t k = step == (complex ? 2 : 1) ? scatter_tiles(to, re, im, scale) : 0; k < points; ++k)
        for (int64_t q = 0; q < count; ++q) {
            to.lines[q][k * step] = re[k * kFftWide + q] * scale;
            if (complex) to.lines[q][k * step + 1] = im[k * kFftWide + q] * scale;
        }
}

FLB_REGISTER_KERNEL(fft_gather_float, &gather<float>);
FLB_REGISTER_KERNEL(fft_gather_double, &gather<double>);
FLB_REGISTER_KERNEL(fft_scatter_float, &scatter<float>);
FLB_REGISTER_KERNEL(fft_scatter_double, &scatter<double>);
FLB_REGISTER_KERNEL(fft_passes_float, &passes<float>);
FLB_REGISTER_KERNEL(fft_passes_double, &passes<double>);

}  // namespace
}  // namespace FLB_ISA
}  // namespace flb
