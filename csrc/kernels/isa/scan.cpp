#include "kernels/isa/intrinsics.h"  // before anything else that may include them

#include "core/parallel.h"
#include "core/scalar_types.h"
#include "kernels/isa/square.h"
#include "kernels/scan_kernels.h"

namespace flb {
namespace FLB_ISA {

template <class T> struct ScanAcc {
    using type = T;
};
template <> struct ScanAcc<bool> {
    using type = uint8_t;
};
template <> struct ScanAcc<int8_t> {
    using type = uint8_t;
};
template <> struct ScanAcc<int16_t> {
    using type = uint32_t;
};
template <> struct ScanAcc<uint16_t> {
    using type = uint32_t;
};
template <> struct ScanAcc<int32_t> {
    using type = uint32_t;
};
template <> struct ScanAcc<int64_t> {
    using type = uint64_t;
};
template <> struct ScanAcc<float> {
    using type = double;
};
template <> struct ScanAcc<Half> {
    using type = double;
};
template <> struct ScanAcc<BFloat16> {
    using type = double;
};
template <> struct ScanAcc<Complex<Half>> {
    using type = Complex<double>;
};
template <> struct ScanAcc<Complex<float>> {
    using type = Complex<double>;
};

template <class A, class T> FLB_INLINE A widen(T x) { return A(x); }
template <> FLB_INLINE Complex<double> widen(Complex<Half> z) {
    return {double(float(z.re)), double(float(z.im))};
}
template <class T, class A> FLB_INLINE T narrow(A x) { return T(x); }
template <> FLB_INLINE Half narrow(double x) { return Half(float(x)); }
template <> FLB_INLINE BFloat16 narrow(double x) { return BFloat16(float(x)); }
template <> FLB_INLINE Complex<Half> narrow(Complex<double> z) {
    return {Half(float(z.re)), Half(float(z.im))};
}

struct ScanAdd {
    template <class A> static FLB_INLINE A start() { return A(0); }
    template <class A> static FLB_INLINE A step(A a, A x) { return a + x; }
};
struct ScanMul {
    template <class A> static FLB_INLINE A start() { return A(1); }
    template <class A> static FLB_INLINE A step(A a, A x) { return a * x; }
};
struct ScanLogAdd {
    template <class A> static FLB_INLINE A start() { return -__builtin_inf(); }
    static FLB_INLINE double step(double a, double x) {
        const double large = (a > x) | (a != a) ? a : x, small = (a > x) | (a != a) ? x : a;
        // Equal infinities have no difference; the larger one is then the answer.
        if (large == small && large - large != 0) return large;
        return large + __builtin_log1p(__builtin_exp(small - large));
    }
};

// log(exp(a) + exp(b)) as large + log(1 + exp(small - large)), large having the larger real part: the imaginary part
// follows that of the largest element, beyond pi too.
FLB_INLINE Complex<double> log_add(Complex<double> a, Complex<double> b) {
    const bool first = (a.re > b.re) | (a.re != a.re);
    const Complex<double> large = first ? a : b, small = first ? b : a;
    if (large.re == small.re && large.re - large.re != 0) {
        if (large.re < 0) return small;
        const Complex<double> sum{__builtin_cos(a.im) + __builtin_cos(b.im),
                                  __builtin_sin(a.im) + __builtin_sin(b.im)};
        return {large.re, __builtin_atan2(sum.im, sum.re)};
    }
    const double scale = __builtin_exp(small.re - large.re), angle = small.im - large.im;
    const double re = scale * __builtin_cos(angle), im = scale * __builtin_sin(angle);
    return {large.re + 0.5 * __builtin_log1p(re * (2 + re) + im * im),
            large.im + __builtin_atan2(im, 1 + re)};
}

constexpr int64_t kTile = 256;
constexpr int64_t kGrain = 1 << 15;

FLB_INLINE int64_t grain_of(int64_t elements) {
    return elements >= kGrain ? 1 : kGrain / (elements ? elements : 1);
}

// Each step waits for the one before it: several rows at a time fill the wait.
constexpr int kLanes = 8;
template <int lanes, class Op, class T>
FLB_INLINE void scan_rows(const T* __restrict in, T* __restrict out, int64_t size) {
    using A = typename ScanAcc<T>::type;
    A acc[lanes];
    for (int r = 0; r < lanes; ++r) acc[r] = Op::template start<A>();
    for (int64_t i = 0; i < size; ++i) {
        for (int r = 0; r < lanes; ++r) {
            acc[r] = Op::step(acc[r], widen<A>(in[r * size + i]));
            out[r * size + i] = narrow<T>(acc[r]);
        }
    }
}

#if defined(__AVX512F__)
// Sixteen rows of floats: squares are transposed in registers, so that a column of the square is one step of all rows.
// The same sums in the same order as scan_rows.
template <class Op>
void scan_sixteen_rows(const float* in, float* out, int64_t size) {
    using S = Square<float, 64>;
    alignas(64) double acc[16];
    for (double& a : acc) a = Op::template start<double>();
    __m512d low = _mm512_load_pd(acc), high = _mm512_load_pd(acc + 8);
    int64_t i = 0;
    for (; i + 16 <= size; i += 16) {
        S::Vector a[16];
        for (int r = 0; r < 16; ++r) a[r] = (S::Vector)_mm512_loadu_ps(in + r * size + i);
        S::transpose(a);
        for (int c = 0; c < 16; ++c) {
            low = Op::step(low, _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)a[c])));
            high = Op::step(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)a[c], 1)));
            a[c] = (S::Vector)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)),
                                                 _mm512_cvtpd_ps(high), 1);
        }
        S::transpose(a);
        for (int r = 0; r < 16; ++r) _mm512_storeu_ps(out + r * size + i, (__m512)a[r]);
    }
    _mm512_store_pd(acc, low);
    _mm512_store_pd(acc + 8, high);
    for (; i < size; ++i) {
        for (int r = 0; r < 16; ++r) {
            acc[r] = Op::step(acc[r], double(in[r * size + i]));
            out[r * size + i] = float(acc[r]);
        }
    }
}
#endif

template <class Op, class T>
void scan_values(const ScanDesc& d) {
    using A = typename ScanAcc<T>::type;
    const T* in = static_cast<const T*>(d.in);
    T* out = static_cast<T*>(d.out);
    if (d.inner == 1) {
        parallel_for(0, d.outer, grain_of(d.size), [&](int64_t begin, int64_t end) {
            int64_t o = begin;
#if defined(__AVX512F__)
            if constexpr (__is_same(T, float) && !__is_same(Op, ScanLogAdd)) {
                for (; o + 16 <= end; o += 16)
                    scan_sixteen_rows<Op>(in + o * d.size, out + o * d.size, d.size);
            }
#endif
            for (; o + kLanes <= end; o += kLanes)
                scan_rows<kLanes, Op>(in + o * d.size, out + o * d.size, d.size);
            for (; o < end; ++o) scan_rows<1, Op>(in + o * d.size, out + o * d.size, d.size);
        });
        return;
    }
    const int64_t tiles = (d.inner - 1) / kTile + 1;
    parallel_for(0, d.outer * tiles, grain_of(d.size * (d.inner < kTile ? d.inner : kTile)),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t unit = begin; unit < end; ++unit) {
                         const int64_t column = unit % tiles * kTile,
                                       n = d.inner - column < kTile ? d.inner - column : kTile;
                         A acc[kTile];
                         for (int64_t j = 0; j < n; ++j) acc[j] = Op::template start<A>();
                         for (int64_t i = 0; i < d.size; ++i) {
                             const int64_t at = (unit / tiles * d.size + i) * d.inner + column;
                             const T* __restrict x = in + at;
                             T* __restrict y = out + at;
                             for (int64_t j = 0; j < n; ++j) {
                                 acc[j] = Op::step(acc[j], widen<A>(x[j]));
                                 y[j] = narrow<T>(acc[j]);
                             }
                         }
                     }
                 });
}

template <class T>
void scan_complex_log(const ScanDesc& d) {
    const T* in = static_cast<const T*>(d.in);
    T* out = static_cast<T*>(d.out);
    parallel_for(0, d.outer * d.inner, grain_of(d.size * 16), [&](int64_t begin, int64_t end) {
        for (int64_t line = begin; line < end; ++line) {
            const int64_t base = line / d.inner * d.size * d.inner + line % d.inner;
            Complex<double> acc{-__builtin_inf(), 0};
            for (int64_t i = 0; i < d.size; ++i) {
                acc = log_add(acc, widen<Complex<double>>(in[base + i * d.inner]));
                out[base + i * d.inner] = narrow<T>(acc);
            }
        }
    });
}

template <class T> struct OrderAs {
    using type = T;
};
template <> struct OrderAs<Half> {
    using type = float;
};
template <> struct OrderAs<BFloat16> {
    using type = float;
};

// x takes over from the running extremum a: the later of equals does, and nothing replaces a NaN but another.
template <bool max, class T>
FLB_INLINE bool takes_over(T x, T a) {
    return (x != x) | ((a == a) & (max ? x >= a : x <= a));
}

template <int lanes, bool max, class T>
FLB_INLINE void scan_extremum_rows(const T* __restrict in, T* __restrict out, int64_t* __restrict indices,
                                   int64_t size) {
    using A = typename OrderAs<T>::type;
    T best[lanes];
    int64_t at[lanes];
    for (int r = 0; r < lanes; ++r) {
        best[r] = in[r * size];
        at[r] = 0;
    }
    for (int64_t i = 0; i < size; ++i) {
        for (int r = 0; r < lanes; ++r) {
            const T x = in[r * size + i];
            const bool wins = takes_over<max>(A(x), A(best[r]));
            best[r] = wins ? x : best[r];
            at[r] = wins ? i : at[r];
            out[r * size + i] = best[r];
            indices[r * size + i] = at[r];
        }
    }
}

template <bool max, class T>
void scan_extremum(const ScanDesc& d) {
    using A = typename OrderAs<T>::type;
    const T* in = static_cast<const T*>(d.in);
    T* out = static_cast<T*>(d.out);
    if (d.inner == 1) {
        constexpr int lanes = 4;
        parallel_for(0, d.outer, grain_of(d.size), [&](int64_t begin, int64_t end) {
            int64_t o = begin;
            for (; o + lanes <= end; o += lanes)
                scan_extremum_rows<lanes, max>(in + o * d.size, out + o * d.size, d.indices + o * d.size,
                                               d.size);
            for (; o < end; ++o)
                scan_extremum_rows<1, max>(in + o * d.size, out + o * d.size, d.indices + o * d.size, d.size);
        });
        return;
    }
    const int64_t tiles = (d.inner - 1) / kTile + 1;
    parallel_for(0, d.outer * tiles, grain_of(d.size * (d.inner < kTile ? d.inner : kTile)),
                 [&](int64_t begin, int64_t end) {
                     for (int64_t unit = begin; unit < end; ++unit) {
                         const int64_t column = unit % tiles * kTile,
                                       n = d.inner - column < kTile ? d.inner - column : kTile;
                         const int64_t base = unit / tiles * d.size * d.inner + column;
                         for (int64_t j = 0; j < n; ++j) {
                             out[base + j] = in[base + j];
                             d.indices[base + j] = 0;
                         }
                         for (int64_t i = 1; i < d.size; ++i) {
                             const int64_t at = base + i * d.inner;
                             const T *x = in + at, *before = out + at - d.inner;
                             for (int64_t j = 0; j < n; ++j) {
                                 const bool wins = takes_over<max>(A(x[j]), A(before[j]));
                                 out[at + j] = wins ? x[j] : before[j];
                                 d.indices[at + j] = wins ? i : d.indices[at - d.inner + j];
                             }
                         }
                     }
                 });
}

bool run_scan(ScanOp op, DType dtype, const ScanDesc& d) {
    if (d.outer * d.size * d.inner == 0) return true;
    return visit(dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if (op == ScanOp::Sum) return scan_values<ScanAdd, T>(d), true;
        if (op == ScanOp::Prod) return scan_values<ScanMul, T>(d), true;
        if constexpr (requires(T z) { z.im; }) {
            if (op == ScanOp::LogSumExp) return scan_complex_log<T>(d), true;
            return false;
        } else {
            if (op == ScanOp::Max) return scan_extremum<true, T>(d), true;
            if (op == ScanOp::Min) return scan_extremum<false, T>(d), true;
            if constexpr (info(dtype_of<T>::value).kind == DTypeKind::Float)
                return scan_values<ScanLogAdd, T>(d), true;
            return false;
        }
    });
}

FLB_REGISTER_KERNEL(scan_kernel, &run_scan);

}  // namespace FLB_ISA
}  // namespace flb
