// What the elementwise functions stand on: bit casts, fused multiply-add, polynomials, exact sums and products.
//
// Every function here and in vmath_*.h is a scalar without branches, so that GCC turns `out[i] = vexp(a[i])` into
// full-width vector code at each instruction set. Write conditions as `c ? a : b` between values already computed.
#pragma once
#include <cstdint>

#include "core/scalar_types.h"
#include "kernels/isa/vmath_coefficients.h"

// Before a loop whose output may be its input (in-place): there is no dependence between different elements.
#define FLB_IVDEP _Pragma("GCC ivdep")

namespace flb {
namespace FLB_ISA {

template <class T>
concept Real = __is_same(T, float) || __is_same(T, double);

template <class T>
struct Fp;
template <>
struct Fp<float> {
    using Int = int32_t;
    using UInt = uint32_t;
    static constexpr int kMantissa = 23, kBias = 127;
    static constexpr float kMagic =
        0x1.8p23f;  // adding it rounds to an integer, left in the low mantissa bits
    static constexpr float kMinNormal = 0x1p-126f;
    static constexpr float kInf = __builtin_inff(), kNan = __builtin_nanf("");
    static constexpr float kLn2Hi = 0x1.62e4p-1f, kLn2Lo = 0x1.7f7d1cp-20f;
    static constexpr UInt kSqrtHalfBits = 0x3f3504f3u;
};
template <>
struct Fp<double> {
    using Int = int64_t;
    using UInt = uint64_t;
    static constexpr int kMantissa = 52, kBias = 1023;
    static constexpr double kMagic = 0x1.8p52;
    static constexpr double kMinNormal = 0x1p-1022;
    static constexpr double kInf = __builtin_inf(), kNan = __builtin_nan("");
    static constexpr double kLn2Hi = 0x1.62e42fefa38p-1, kLn2Lo = 0x1.ef35793c7673p-45;
    static constexpr UInt kSqrtHalfBits = 0x3fe6a09e667f3bcdu;
};

template <Real T>
FLB_INLINE typename Fp<T>::UInt to_bits(T x) {
    return __builtin_bit_cast(typename Fp<T>::UInt, x);
}
template <Real T>
FLB_INLINE T from_bits(typename Fp<T>::UInt u) {
    return __builtin_bit_cast(T, u);
}

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FLB_HAS_FMA 1
FLB_INLINE float fmadd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
FLB_INLINE double fmadd(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
#define FLB_HAS_FMA 0
FLB_INLINE float fmadd(float a, float b, float c) { return a * b + c; }
FLB_INLINE double fmadd(double a, double b, double c) { return a * b + c; }
#endif

FLB_INLINE float vabs(float x) { return __builtin_fabsf(x); }
FLB_INLINE double vabs(double x) { return __builtin_fabs(x); }
FLB_INLINE float vcopysign(float x, float sign) { return __builtin_copysignf(x, sign); }
FLB_INLINE double vcopysign(double x, double sign) { return __builtin_copysign(x, sign); }
FLB_INLINE float vsqrt(float x) { return __builtin_sqrtf(x); }
FLB_INLINE double vsqrt(double x) { return __builtin_sqrt(x); }

template <Real T>
FLB_INLINE bool sign_bit(T x) {
    return (to_bits(x) >> (sizeof(T) * 8 - 1)) != 0;
}
// Both keep a NaN in x, the way that loops need it.
template <Real T>
FLB_INLINE T at_most(T x, T bound) {
    return x > bound ? bound : x;
}
template <Real T>
FLB_INLINE T at_least(T x, T bound) {
    return x < bound ? bound : x;
}
// Both conditions read x itself: chained ones would be merged into slower masked compares.
template <Real T>
FLB_INLINE T clamp(T x, T low, T high) {
    const T y = x > high ? high : x;
    return x < low ? low : y;
}

// c[0] + c[1] x + c[2] x^2 ... by Horner's rule; the recursion leaves straight-line code.
template <int I = 0, Real T, int N>
FLB_INLINE T poly(T x, const double (&c)[N]) {
    if constexpr (I == N - 1) return T(c[I]);
    else return fmadd(poly<I + 1>(x, c), x, T(c[I]));
}
// The table for this precision.
#define FLB_POLY(T, x, name)                                                            \
    [&](T flb_x) __attribute__((always_inline)) {                                       \
        if constexpr (sizeof(T) == 4) return poly(flb_x, ::flb::coefficients::name##F); \
        else return poly(flb_x, ::flb::coefficients::name##D);                          \
    }(x)

// An integer n as a float, and 2^n for n in the range of normal exponents.
template <Real T>
FLB_INLINE T int_to_float(typename Fp<T>::Int n) {
    if constexpr (sizeof(T) == 4) return T(n);
    else  // AVX2 has no such conversion of 64-bit integers
        return from_bits<T>(to_bits(Fp<T>::kMagic) + typename Fp<T>::UInt(n)) - Fp<T>::kMagic;
}
template <Real T>
FLB_INLINE T pow2(typename Fp<T>::Int n) {
    return from_bits<T>(typename Fp<T>::UInt(n + Fp<T>::kBias) << Fp<T>::kMantissa);
}
// An unevaluated sum hi + lo.
template <class T>
struct Pair {
    T hi, lo;
};
template <Real T>
FLB_INLINE Pair<T> two_sum(T a, T b) {
    const T s = a + b, v = s - a;
    return {s, (a - (s - v)) + (b - v)};
}
template <Real T>
FLB_INLINE Pair<T> quick_two_sum(T a, T b) {  // |a| >= |b|
    const T s = a + b;
    return {s, b - (s - a)};
}
template <Real T>
FLB_INLINE Pair<T> two_prod(T a, T b) {
    const T p = a * b;
#if FLB_HAS_FMA
    return {p, fmadd(a, b, -p)};
#else
    constexpr T kSplit = sizeof(T) == 4 ? T(4097) : T(134217729);
    const T at = kSplit * a, ah = at - (at - a), al = a - ah;
    const T bt = kSplit * b, bh = bt - (bt - b), bl = b - bh;
    return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
#endif
}

// Elements that a fast function cannot do (huge arguments of sin, huge quotients of fmod) are rare: a chunk that holds
// one goes through `slow` as a whole, all others through the vector loop. out may equal a.
constexpr int64_t kGuardChunk = 256;
template <class T, class Hard, class Fast, class Slow>
FLB_INLINE void map_guarded(T* out, const T* a, int64_t n, Hard hard, Fast fast, Slow slow) {
    for (int64_t begin = 0; begin < n; begin += kGuardChunk) {
        const int64_t count = n - begin < kGuardChunk ? n - begin : kGuardChunk;
        const T* x = a + begin;
        T* y = out + begin;
        int any = 0;
        for (int64_t i = 0; i < count; ++i) any |= hard(x[i]) ? 1 : 0;
        if (__builtin_expect(any, 0)) {
            for (int64_t i = 0; i < count; ++i) y[i] = slow(x[i]);
        } else {
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) y[i] = fast(x[i]);
        }
    }
}
template <class T, class Hard, class Fast, class Slow>
FLB_INLINE void map_guarded(T* out, const T* a, const T* b, int64_t n, Hard hard, Fast fast, Slow slow) {
    for (int64_t begin = 0; begin < n; begin += kGuardChunk) {
        const int64_t count = n - begin < kGuardChunk ? n - begin : kGuardChunk;
        const T *x = a + begin, *z = b + begin;
        T* y = out + begin;
        int any = 0;
        for (int64_t i = 0; i < count; ++i) any |= hard(x[i], z[i]) ? 1 : 0;
        if (__builtin_expect(any, 0)) {
            for (int64_t i = 0; i < count; ++i) y[i] = slow(x[i], z[i]);
        } else {
            FLB_IVDEP
            for (int64_t i = 0; i < count; ++i) y[i] = fast(x[i], z[i]);
        }
    }
}

}  // namespace FLB_ISA
}  // namespace flb
