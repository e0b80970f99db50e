// Rounding, roots, distances and exact remainders.
#pragma once
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

FLB_INLINE float vfloor(float x) { return __builtin_floorf(x); }
FLB_INLINE double vfloor(double x) { return __builtin_floor(x); }
FLB_INLINE float vceil(float x) { return __builtin_ceilf(x); }
FLB_INLINE double vceil(double x) { return __builtin_ceil(x); }
FLB_INLINE float vtrunc(float x) { return __builtin_truncf(x); }
FLB_INLINE double vtrunc(double x) { return __builtin_trunc(x); }
// Half to even: what the default rounding mode does.
FLB_INLINE float vround(float x) { return __builtin_nearbyintf(x); }
FLB_INLINE double vround(double x) { return __builtin_nearbyint(x); }

template <Real T>
FLB_INLINE T vrsqrt(T x) {
    return T(1) / vsqrt(x);
}

// sqrt(x^2 + y^2) without overflow or underflow on the way; an infinity wins over NaN.
FLB_INLINE float vhypot(float x, float y) {
    const double a = x, b = y;
    const float r = float(vsqrt(a * a + b * b));
    return vabs(x) == Fp<float>::kInf || vabs(y) == Fp<float>::kInf ? Fp<float>::kInf : r;
}
FLB_INLINE double vhypot(double x, double y) {
    using F = Fp<double>;
    const double a = vabs(x), b = vabs(y), high = a > b ? a : b;
    const double factor = high > 0x1p500 ? 0x1p-600 : high < 0x1p-400 ? 0x1p600 : 1.0;
    const double inverse = high > 0x1p500 ? 0x1p600 : high < 0x1p-400 ? 0x1p-600 : 1.0;
    const double sa = a * factor, sb = b * factor;
    const double r = vsqrt(fmadd(sa, sa, sb * sb)) * inverse;
    return a == F::kInf || b == F::kInf ? F::kInf : r;
}

// C's fmod, exactly, while the quotient is small enough; other elements are fmod_is_hard and take fmod_slow, as
// map_fmod does.
FLB_INLINE bool fmod_is_hard(float a, float b) {
    return (vabs(a) >= 0x1p28f * vabs(b)) & (vabs(a) < Fp<float>::kInf) & (b != 0);
}
FLB_INLINE bool fmod_is_hard(double a, double b) {
    const double x = vabs(a), y = vabs(b);
    bool hard = x >= 0x1p51 * y;
#if !FLB_HAS_FMA  // the exact product splits its factors, which overflows or underflows early
    hard |= (x > 0x1p970) | (y < 0x1p-900);
#endif
    return hard & (x < Fp<double>::kInf) & (b != 0);
}
FLB_INLINE float fmod_slow(float a, float b) { return __builtin_fmodf(a, b); }
FLB_INLINE double fmod_slow(double a, double b) { return __builtin_fmod(a, b); }

// |a| - trunc(|a|/|b|) |b|: the rounded quotient may be one too large, never too small.
FLB_INLINE double fmod_positive(double x, double y) {
    const double q = vtrunc(x / y);
#if FLB_HAS_FMA
    const double r = fmadd(-q, y, x);
#else
    const Pair<double> p = two_prod(q, y);
    const double r = (x - p.hi) - p.lo;
#endif
    return r < 0 ? r + y : r;
}
FLB_INLINE double vfmod(double a, double b) {
    const double x = vabs(a), y = vabs(b);
    const double r = fmod_positive(x, y);
    return vcopysign(y == Fp<double>::kInf && x < y ? x : r, a);
}
FLB_INLINE float vfmod(float a, float b) {
    const double x = vabs(double(a)), y = vabs(double(b)), q = vtrunc(x / y),
                 d = x - q * y;  // q * y is exact
    const double r = d < 0 ? d + y : d;
    return vcopysign(float(y == Fp<double>::kInf && x < y ? x : r), a);
}
// Python's sign: that of the divisor.
template <Real T>
FLB_INLINE T remainder_from_fmod(T r, T b) {
    return (r != T(0)) & ((r < T(0)) != (b < T(0))) ? r + b : r;
}
template <Real T>
FLB_INLINE T vremainder(T a, T b) {
    return remainder_from_fmod(vfmod(a, b), b);
}
// floor(a / b), from the exact remainder; division by zero gives what a / b gives.
template <Real T>
FLB_INLINE T floor_divide_from_fmod(T a, T b, T r) {
    T q = (a - r) / b;
    q = (r != T(0)) & ((r < T(0)) != (b < T(0))) ? q - T(1) : q;
    const T down = vfloor(q);
    const T rounded = q - down > T(0.5) ? down + T(1) : down;
    const T y = q == T(0) ? vcopysign(T(0), a / b) : rounded;
    return b == T(0) ? a / b : y;
}
template <Real T>
FLB_INLINE T vfloor_divide(T a, T b) {
    return floor_divide_from_fmod(a, b, vfmod(a, b));
}

template <Real T>
FLB_INLINE void map_fmod(T* out, const T* a, const T* b, int64_t n) {
    map_guarded(
        out, a, b, n, [](T x, T y) { return fmod_is_hard(x, y); }, [](T x, T y) { return vfmod(x, y); },
        [](T x, T y) { return fmod_slow(x, y); });
}
template <Real T>
FLB_INLINE void map_remainder(T* out, const T* a, const T* b, int64_t n) {
    map_guarded(
        out, a, b, n, [](T x, T y) { return fmod_is_hard(x, y); }, [](T x, T y) { return vremainder(x, y); },
        [](T x, T y) { return remainder_from_fmod(fmod_slow(x, y), y); });
}
template <Real T>
FLB_INLINE void map_floor_divide(T* out, const T* a, const T* b, int64_t n) {
    map_guarded(
        out, a, b, n, [](T x, T y) { return fmod_is_hard(x, y); },
        [](T x, T y) { return vfloor_divide(x, y); },
        [](T x, T y) { return floor_divide_from_fmod(x, y, fmod_slow(x, y)); });
}

}  // namespace FLB_ISA
}  // namespace flb
