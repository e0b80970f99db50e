// Logarithms, what is built from them (inverse hyperbolic functions, softplus, logaddexp), and powers.
#pragma once
#include "kernels/isa/vmath_exp.h"

namespace flb {
namespace FLB_ISA {

// x = 2^e (1 + f) with 1 + f from sqrt(1/2) to sqrt(2), for finite x > 0.
template <Real T>
struct LogReduced {
    T f, e;
};
template <Real T>
FLB_INLINE LogReduced<T> log_reduce(T x) {
    using F = Fp<T>;
    const bool subnormal = x < F::kMinNormal;
    const auto u = to_bits(subnormal ? x * pow2<T>(F::kMantissa) : x);
    const typename F::Int bias = subnormal ? F::kBias + F::kMantissa : F::kBias;
    const auto one = to_bits(T(1));
    const auto biased = (u - F::kSqrtHalfBits + one) >> F::kMantissa;
    const T m = from_bits<T>(u - (biased << F::kMantissa) + one);
    return {m - T(1), int_to_float<T>(typename F::Int(biased) - bias)};
}
// log(0) = -inf, log(negative) = nan, log(inf) = inf, log(nan) = nan: what the reduction cannot know.
template <Real T>
FLB_INLINE T log_special(T x, T y) {
    const T finite = x < Fp<T>::kInf ? y : x;
    const T nonnegative = x < T(0) ? Fp<T>::kNan : finite;
    return x == T(0) ? -Fp<T>::kInf : nonnegative;
}

// log((1+s)/(1-s)) - 2s, over s, for s = f / (2 + f).
FLB_INLINE double log_tail(double s) {
    const double z = s * s;
    return z * poly(z, coefficients::kLogD);
}
FLB_INLINE float log_reduced(LogReduced<float> v) {
    const float f = v.f, f2 = f * f;
    const float low = fmadd(f2, fmadd(f, poly(f, coefficients::kLogF), -0.5f), v.e * Fp<float>::kLn2Lo);
    return fmadd(v.e, Fp<float>::kLn2Hi, f + low);
}
FLB_INLINE double log_reduced(LogReduced<double> v) {
    const double f = v.f, s = f / (2 + f), half_square = 0.5 * f * f;
    const double low = fmadd(s, half_square + log_tail(s), v.e * Fp<double>::kLn2Lo);
    return fmadd(v.e, Fp<double>::kLn2Hi, f - (half_square - low));
}

template <Real T>
FLB_INLINE T vlog(T x) {
    return log_special(x, log_reduced(log_reduce(x)));
}

// In another base: f is multiplied by 1/ln(base), given as a short part and a rest so that the leading product is exact.
FLB_INLINE float vlog2(float x) {
    const auto [f, e] = log_reduce(x);
    const float low = fmadd(f * f, poly(f, coefficients::kLog2F), f * 0x1.47652cp-12f);
    return log_special(x, e + fmadd(f, 0x1.714p+0f, low));
}
FLB_INLINE float vlog10(float x) {
    const auto [f, e] = log_reduce(x);
    const float low =
        fmadd(f * f, poly(f, coefficients::kLog10F), fmadd(f, 0x1.7b1526p-14f, e * 0x1.3509f8p-18f));
    return log_special(x, fmadd(e, 0x1.344p-2f, fmadd(f, 0x1.bcap-2f, low)));
}
// e unit + log(1+f) / ln(base), where inverse and unit are pairs with a short high part.
FLB_INLINE double log_in_base(LogReduced<double> v, Pair<double> inverse, Pair<double> unit) {
    const double f = v.f, s = f / (2 + f), half_square = 0.5 * f * f;
    const double hi = from_bits<double>(to_bits(f - half_square) & 0xffffffff00000000u);
    const double lo = ((f - hi) - half_square) + s * (half_square + log_tail(s));
    const Pair<double> sum = two_sum(v.e * unit.hi, hi * inverse.hi);
    const double rest = v.e * unit.lo + ((lo + hi) * inverse.lo + lo * inverse.hi);
    return sum.hi + (sum.lo + rest);
}
FLB_INLINE double vlog2(double x) {
    return log_special(x, log_in_base(log_reduce(x), {0x1.71547p+0, 0x1.94ae0bf85ddf4p-22}, {1.0, 0.0}));
}
FLB_INLINE double vlog10(double x) {
    return log_special(x, log_in_base(log_reduce(x), {0x1.bcb7bp-2, 0x1.526e50e32a6abp-26},
                                      {0x1.34413509f78p-2, 0x1.fef311f12b358p-46}));
}

// log(1 + x): what 1 + x loses is put back into the reduced argument, so small x pass through untouched.
template <Real T>
FLB_INLINE T vlog1p(T x) {
    const T u = T(1) + x;
    const T lost = x > T(1) ? T(1) - (u - x) : x - (u - T(1));
    auto v = log_reduce(u);
    const auto biased = (to_bits(u) - Fp<T>::kSqrtHalfBits + to_bits(T(1))) >> Fp<T>::kMantissa;
    const T inverse = from_bits<T>((2 * Fp<T>::kBias - biased) << Fp<T>::kMantissa);  // 2^-e
    v.f = u > T(0x1p60) ? v.f : fmadd(lost, inverse, v.f);
    const T y = log_special(u, log_reduced(v));
    return x == T(0) ? x : y;
}

template <Real T>
FLB_INLINE T vatanh(T x) {
    if constexpr (sizeof(T) == 4) {
        return T(vatanh(double(x)));
    } else {
        const T a = vabs(x);
        return vcopysign(T(0.5) * vlog1p(T(2) * a / (T(1) - a)), x);
    }
}
template <Real T>
FLB_INLINE T vasinh(T x) {
    if constexpr (sizeof(T) == 4) {
        return T(vasinh(double(x)));
    } else {
        const T a = vabs(x);
        const bool huge = a > T(0x1p60);  // a^2 may overflow; asinh(a) = log(2a) to the last bit
        const T y = vlog1p(huge ? a : a + a * a / (T(1) + vsqrt(T(1) + a * a)));
        return vcopysign(huge ? y + T(0x1.62e42fefa39efp-1) : y, x);
    }
}
template <Real T>
FLB_INLINE T vacosh(T x) {
    if constexpr (sizeof(T) == 4) {
        return T(vacosh(double(x)));
    } else {
        const T t = x - T(1);
        const bool huge = x > T(0x1p60);
        const T y = vlog1p(huge ? x : t + vsqrt(T(2) * t + t * t));
        return x < T(1) ? Fp<T>::kNan : huge ? y + T(0x1.62e42fefa39efp-1) : y;
    }
}

// log(e^a + e^b); equal infinities are their own result.
template <Real T>
FLB_INLINE T vlogaddexp(T a, T b) {
    const T high = a > b ? a : b;
    const T y = high + vlog1p(vexp(-vabs(a - b)));
    return a == b && vabs(a) == Fp<T>::kInf ? a : y;
}
// log(1 + e^x)
template <Real T>
FLB_INLINE T vsoftplus(T x) {
    return (x > T(0) ? x : T(0)) + vlog1p(vexp(-vabs(x)));
}
// log(1/(1 + e^-x))
template <Real T>
FLB_INLINE T vlogsigmoid(T x) {
    return (x < T(0) ? x : T(0)) - vlog1p(vexp(-vabs(x)));
}

// x log(y), x log(1 + y), -x log(x): 0 wherever x is 0, unless y is NaN.
template <Real T>
FLB_INLINE T vxlogy(T x, T y) {
    const T r = x * vlog(y);
    return y != y ? y : x == T(0) ? T(0) : r;
}
template <Real T>
FLB_INLINE T vxlog1py(T x, T y) {
    const T r = x * vlog1p(y);
    return y != y ? y : x == T(0) ? T(0) : r;
}
template <Real T>
FLB_INLINE T ventr(T x) {
    const T r = -x * vlog(x);
    return x < T(0) ? -Fp<T>::kInf : x == T(0) ? T(0) : r;
}

// C99's rules for signs, zeros, infinities and NaN, given |x|^y.
template <Real T>
FLB_INLINE T pow_special(T x, T y, T r) {
    const T half = T(0.5) * y;
    const bool integer = __builtin_trunc(y) == y, odd = integer && __builtin_trunc(half) != half;
    r = odd && sign_bit(x) ? -r : r;
    r = x < T(0) && !integer && x > -Fp<T>::kInf ? Fp<T>::kNan : r;
    r = x != x || y != y ? x + y : r;
    return y == T(0) || x == T(1) ? T(1) : r;
}
// Through double: its spare bits make the float result nearly correctly rounded.
FLB_INLINE float vpow(float x, float y) {
    const double a = vabs(double(x));
    const auto [f, e] = log_reduce(a);
    const double s = f / (2 + f);
    double l = fmadd(s, poly(s * s, coefficients::kLog2Pow), e);
    l = a == 0 ? -Fp<double>::kInf : a == Fp<double>::kInf ? a : l;
    double t = clamp(l * y, -300.0, 300.0);
    t = a == 1 ? 0.0 : t;
    const double shifted = t + kMagicPow2<double>, r = t - (shifted - kMagicPow2<double>);
    const double p = fmadd(r, poly(r, coefficients::kExp2Pow), 1.0);
    return float(pow_special(double(x), double(y), p * shifted_pow2(shifted)));
}
// log(x) to about 68 bits as a pair, times y, and exp of the pair.
FLB_INLINE double vpow(double x, double y) {
    using F = Fp<double>;
    const double a = vabs(x);
    const auto [f, e] = log_reduce(a);
    // s = f / (2 + f)
    const Pair<double> den = quick_two_sum(2.0, f);
    const double sh = f / den.hi;
    const Pair<double> back = two_prod(sh, den.hi);
    const double sl = (((f - back.hi) - back.lo) - sh * den.lo) / den.hi;
    // log(1+f) = s (2 + (2/3) z + z^2 T(z)), z = s^2
    Pair<double> z = two_prod(sh, sh);
    z.lo += 2 * sh * sl;
    constexpr double kTwoThirds = 0x1.5555555555555p-1, kTwoThirdsLo = 0x1.5555555555555p-55;
    Pair<double> u = two_prod(z.hi, kTwoThirds);
    u.lo += z.hi * kTwoThirdsLo + z.lo * kTwoThirds;
    u.lo = fmadd(z.hi * z.hi, poly(z.hi, coefficients::kLogPowD), u.lo);
    Pair<double> v = quick_two_sum(2.0, u.hi);
    v.lo += u.lo;
    Pair<double> log1 = two_prod(sh, v.hi);
    log1.lo += sh * v.lo + sl * v.hi;
    Pair<double> sum = two_sum(e * F::kLn2Hi, log1.hi);
    sum = quick_two_sum(sum.hi, sum.lo + (log1.lo + e * F::kLn2Lo));
    sum.hi = a == 0 ? -F::kInf : a == F::kInf ? a : sum.hi;
    // y log(x), limited to where exp is neither 0 nor infinity (its low part is then of no account)
    Pair<double> t = two_prod(y, sum.hi);
    t.lo = fmadd(y, sum.lo, t.lo);
    t.lo = vabs(t.hi) < 800 && a != 1 ? t.lo : 0.0;
    t.hi = clamp(t.hi, -750.0, 711.0);
    t.hi = a == 1 ? 0.0 : t.hi;
    const auto [r, shifted] = exp_reduce(t.hi, kMagicScale<double>);
    return pow_special(x, y, scale(expm1_poly(r + t.lo) + 1.0, shifted, t.hi));
}

}  // namespace FLB_ISA
}  // namespace flb
