// Circular functions and their inverses.
//
// vsin, vcos and vtan are accurate for |x| <= kTrigLimit (and right for infinities and NaN). Larger arguments need
// another reduction: guard the loop, as map_sin, map_cos and map_tan do, with trig_is_hard and the *_slow functions.
#pragma once
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

template <Real T>
constexpr T kTrigLimit = sizeof(T) == 4 ? T(0x1p17) : T(0x1p20);

template <Real T>
FLB_INLINE bool trig_is_hard(T x) {
    const T a = vabs(x);
    return (a > kTrigLimit<T>)&(a < Fp<T>::kInf);
}
FLB_INLINE float sin_slow(float x) { return float(__builtin_sin(double(x))); }
FLB_INLINE float cos_slow(float x) { return float(__builtin_cos(double(x))); }
FLB_INLINE float tan_slow(float x) { return float(__builtin_tan(double(x))); }
FLB_INLINE double sin_slow(double x) { return __builtin_sin(x); }
FLB_INLINE double cos_slow(double x) { return __builtin_cos(x); }
FLB_INLINE double tan_slow(double x) { return __builtin_tan(x); }

// x - k pi for an integer or half-integer k next to x/pi. The products with the leading parts of pi are exact (with
// FMA because the difference fits, else because the parts are short), so the result has full relative accuracy.
FLB_INLINE float subtract_pi(float x, float k) {
#if FLB_HAS_FMA
    return fmadd(-k, -0x1.ee59dap-49f, fmadd(-k, -0x1.777a5cp-24f, fmadd(-k, 0x1.921fb6p+1f, x)));
#else
    const double d = k;
    return float((double(x) - d * 0x1.921fb544p+1) - d * 0x1.0b4611a626331p-33);
#endif
}
FLB_INLINE double subtract_pi(double x, double k) {
#if FLB_HAS_FMA
    return fmadd(-k, -0x1.f1976b7ed8fbcp-109,
                 fmadd(-k, 0x1.1a62633145c07p-53, fmadd(-k, 0x1.921fb54442d18p+1, x)));
#else
    return (((x - k * 0x1.921fb544p+1) - k * 0x1.0b4611a6p-33) - k * 0x1.3198a2ep-68) -
           k * 0x1.b839a252049c1p-103;
#endif
}

template <Real T>
FLB_INLINE typename Fp<T>::UInt top_bit() {
    return typename Fp<T>::UInt(1) << (sizeof(T) * 8 - 1);
}
// Nearer to pi/2 than this, the sine rounds to 1.
template <Real T>
constexpr T kSineIsOne = sizeof(T) == 4 ? T(0x1p-12) : T(0x1p-27);

// sin(r) for |r| <= pi/2, and a little beyond: a large argument's k may be the neighbour's. At the ends the polynomial
// would miss 1 by the last bit, and programs rely on cos(0) == 1 and take the root of 1 - sin(pi/2).
template <Real T>
FLB_INLINE T sin_poly(T r) {
    const T z = r * r;
    const T one = from_bits<T>((to_bits(r) & top_bit<T>()) | to_bits(T(1)));
    T y = fmadd(r * z, FLB_POLY(T, z, kSin), r);
    // In double the sum can round past 1 further from there; in float it never does.
    if constexpr (sizeof(T) == 8) y = vabs(y) > T(1) ? one : y;
    return vabs(vabs(r) - T(0x1.921fb54442d18p+0)) < kSineIsOne<T> ? one : y;
}

// x = r + k pi: sin(x) = (-1)^k sin(r)
template <Real T>
FLB_INLINE T vsin(T x) {
    const T shifted = fmadd(x, T(0x1.45f306dc9c883p-2), Fp<T>::kMagic);
    const T r = subtract_pi(x, shifted - Fp<T>::kMagic);
    const auto sign = to_bits(shifted) << (sizeof(T) * 8 - 1);
    const T y = from_bits<T>(to_bits(sin_poly(r)) ^ sign);
    return x == T(0) ? x : y;
}
// x = r + (k + 1/2) pi: cos(x) = -(-1)^k sin(r)
template <Real T>
FLB_INLINE T vcos(T x) {
    const T shifted = fmadd(x, T(0x1.45f306dc9c883p-2), T(-0.5)) + Fp<T>::kMagic;
    const T r = subtract_pi(x, (shifted - Fp<T>::kMagic) + T(0.5));
    const auto sign = ~(to_bits(shifted) << (sizeof(T) * 8 - 1)) & top_bit<T>();
    return from_bits<T>(to_bits(sin_poly(r)) ^ sign);
}
// x = r + k pi/2: tan(x) = tan(r), or -1/tan(r) for odd k. One division serves both.
template <Real T>
FLB_INLINE T tan_quotient(T r, T top, T bottom, bool odd) {
    const T sine = r * top;
    return (odd ? -bottom : sine) / (odd ? sine : bottom);
}
FLB_INLINE double vtan(double x) {
    const double shifted = fmadd(x, 0x1.45f306dc9c883p-1, Fp<double>::kMagic);
    const double r = subtract_pi(x, 0.5 * (shifted - Fp<double>::kMagic)), z = r * r;
    const double y = tan_quotient(r, poly(z, coefficients::kTanTopD), poly(z, coefficients::kTanBottomD),
                                  (to_bits(shifted) & 1) != 0);
    return x == 0 ? x : y;
}
// In double: near a pole, a float's rounding errors add up to three ulp.
FLB_INLINE float vtan(float a) {
    const double x = a, shifted = fmadd(x, 0x1.45f306dc9c883p-1, Fp<double>::kMagic);
    const double k = shifted - Fp<double>::kMagic;
    const double r = (x - k * 0x1.921fb544p+0) - k * 0x1.0b4611a626331p-34, z = r * r;
    const double y = tan_quotient(r, poly(z, coefficients::kTanTopF), poly(z, coefficients::kTanBottomF),
                                  (to_bits(shifted) & 1) != 0);
    return a == 0 ? a : float(y);
}

template <Real T>
FLB_INLINE void map_sin(T* out, const T* a, int64_t n) {
    map_guarded(
        out, a, n, [](T x) { return trig_is_hard(x); }, [](T x) { return vsin(x); },
        [](T x) { return sin_slow(x); });
}
template <Real T>
FLB_INLINE void map_cos(T* out, const T* a, int64_t n) {
    map_guarded(
        out, a, n, [](T x) { return trig_is_hard(x); }, [](T x) { return vcos(x); },
        [](T x) { return cos_slow(x); });
}
template <Real T>
FLB_INLINE void map_tan(T* out, const T* a, int64_t n) {
    map_guarded(
        out, a, n, [](T x) { return trig_is_hard(x); }, [](T x) { return vtan(x); },
        [](T x) { return tan_slow(x); });
}

// sin(pi x) / (pi x). Reducing x instead of pi x is exact, so no argument is too large.
template <Real T>
FLB_INLINE T vsinc(T x) {
    constexpr T kPi = T(0x1.921fb54442d18p+1);
    const T k = sizeof(T) == 4 ? T(__builtin_nearbyintf(float(x))) : T(__builtin_nearbyint(double(x)));
    const T half = T(0.5) * k;
    const bool odd =
        half != (sizeof(T) == 4 ? T(__builtin_truncf(float(half))) : T(__builtin_trunc(double(half))));
    const T sine = sin_poly(kPi * (x - k));
    const T y = (odd ? -sine : sine) / (kPi * x);
    return x == T(0) ? T(1) : vabs(x) == Fp<T>::kInf ? T(0) : y;
}

// asin(a) = a + a z P(z); above 1/2, through asin(a) = pi/2 - 2 asin(sqrt((1-a)/2)).
template <Real T>
FLB_INLINE T vasin(T x) {
    const T a = vabs(x);
    const bool large = a > T(0.5);
    const T z = large ? T(0.5) * (T(1) - a) : a * a;
    const T b = large ? vsqrt(z) : a;
    const T tail = b * z * FLB_POLY(T, z, kAsin);
    constexpr T kHi = T(0x1.921fb54442d18p+0),
                kLo = T(1.57079632679489661923132169163975144L - (long double)kHi);
    return vcopysign(large ? kHi - (T(2) * b - (kLo - T(2) * tail)) : b + tail, x);
}
template <Real T>
FLB_INLINE T vacos(T x) {
    const T a = vabs(x);
    const bool large = a > T(0.5);
    const T z = large ? T(0.5) * (T(1) - a) : a * a;
    const T b = large ? vsqrt(z) : x;
    const T tail = b * z * FLB_POLY(T, z, kAsin);
    constexpr T kHi = T(0x1.921fb54442d18p+0),
                kLo = T(1.57079632679489661923132169163975144L - (long double)kHi);
    const T middle = kHi - (b - (kLo - tail));
    const T twice = T(2) * (b + tail);
    return !large ? middle : x < T(0) ? T(2) * kHi - (twice - T(2) * kLo) : twice;
}

// atan(top/bottom) for a quotient t of at most tan(pi/8), plus eighths of a circle: eighths * pi/4 + sign * atan(t).
template <Real T>
FLB_INLINE T atan_sum(T t, T eighths, T sign) {
    constexpr T kHi = T(0x1.921fb54442d18p-1),
                kLo = T(0.785398163397448309615660845819875721L - (long double)kHi);
    const T z = t * t;
    const T tail = fmadd(sign, t * z * FLB_POLY(T, z, kAtan), eighths * kLo);
    return fmadd(eighths, kHi, fmadd(sign, t, tail));
}
template <Real T>
FLB_INLINE T vatan(T x) {
    const T a = vabs(x);
    const bool middle = a > T(0x1.a827999fcef32p-2), large = a > T(0x1.3504f333f9de6p+1);
    const T top = large ? T(-1) : middle ? a - T(1) : a;
    const T bottom = large ? a : middle ? a + T(1) : T(1);
    return vcopysign(atan_sum(top / bottom, large ? T(2) : middle ? T(1) : T(0), T(1)), x);
}
template <Real T>
FLB_INLINE T vatan2(T y, T x) {
    using F = Fp<T>;
    const T ay = vabs(y), ax = vabs(x);
    const bool swap = ay > ax;
    T high = swap ? ay : ax, low = swap ? ax : ay;
    // Equal infinities count as equal numbers, 0/0 as 0; huge values are halved twice so that their sum is finite.
    low = low == F::kInf ? T(1) : low;
    high = high == F::kInf && (ay == ax) ? T(1) : high;
    high = high == T(0) ? T(1) : high;
    const T factor = high > T(1) / (T(4) * F::kMinNormal) ? T(0.25) : T(1);
    high *= factor, low *= factor;
    const bool middle = low > T(0x1.a827999fcef32p-2) * high;
    const T t = (middle ? low - high : low) / (middle ? low + high : high);
    T eighths = middle ? T(1) : T(0), sign = T(1);
    eighths = swap ? T(2) - eighths : eighths, sign = swap ? -sign : sign;
    const bool left = sign_bit(x);
    eighths = left ? T(4) - eighths : eighths, sign = left ? -sign : sign;
    const T r = vcopysign(atan_sum(t, eighths, sign), y);
    return x != x || y != y ? x + y : r;
}

}  // namespace FLB_ISA
}  // namespace flb
