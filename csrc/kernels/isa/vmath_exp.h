// exp and its relatives: e^x, 2^x, e^x - 1, sinh, cosh, tanh, the logistic function.
#pragma once
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

// x = n ln(2) + r with |r| <= ln(2)/2; |n| may reach 2^10. `shifted` holds n in its low mantissa bits, on top of the
// low bits of `magic`.
template <Real T>
struct ExpReduced {
    T r, shifted;
};
template <Real T>
FLB_INLINE ExpReduced<T> exp_reduce(T x, T magic) {
    const T shifted = fmadd(x, T(0x1.71547652b82fep+0), magic);
    const T n = shifted - magic;
    return {fmadd(-n, Fp<T>::kLn2Lo, fmadd(-n, Fp<T>::kLn2Hi, x)), shifted};
}
// With this magic number, the shifted bits moved up by the mantissa's width are 2^n itself.
template <Real T>
constexpr T kMagicPow2 = Fp<T>::kMagic + T(Fp<T>::kBias);
template <Real T>
FLB_INLINE T shifted_pow2(T shifted) {
    return from_bits<T>(to_bits(shifted) << Fp<T>::kMantissa);
}

// p 2^n 2^Extra, rounded once, where `shifted` is n on kMagicScale and x has the sign of n. Subnormal and infinite
// results need two factors: one is 2^64 (double: 2^512) for positive x, its inverse for negative x, which is a matter
// of one exponent bit.
template <Real T>
constexpr int kScaleSplit = sizeof(T) == 4 ? 64 : 512;
template <Real T>
constexpr T kMagicScale = Fp<T>::kMagic + T(Fp<T>::kBias - kScaleSplit<T>);
template <int Extra = 0, Real T>
FLB_INLINE T scale(T p, T shifted, T x) {
    using UInt = typename Fp<T>::UInt;
    constexpr UInt kBit = UInt(1) << (sizeof(T) * 8 - 2);
    constexpr UInt kUp = UInt(Fp<T>::kBias + kScaleSplit<T> + Extra) << Fp<T>::kMantissa;
    const UInt negative = (to_bits(x) >> 1) & kBit;
    return p * from_bits<T>((to_bits(shifted) << Fp<T>::kMantissa) + negative) * from_bits<T>(kUp ^ negative);
}

// e^r - 1 for a reduced r.
template <Real T>
FLB_INLINE T expm1_poly(T r) {
    return fmadd(r * r, FLB_POLY(T, r, kExp), r);
}
// Beyond these, e^x is 0 or infinity; clamping keeps 2^n in range and lets a NaN through.
template <Real T>
FLB_INLINE T exp_clamp(T x) {
    return sizeof(T) == 4 ? clamp(x, T(-105), T(90)) : clamp(x, T(-750), T(711));
}

template <Real T>
FLB_INLINE T vexp(T x) {
    const T c = exp_clamp(x);
    const auto [r, shifted] = exp_reduce(c, kMagicScale<T>);
    return scale(expm1_poly(r) + T(1), shifted, x);
}
// e^x for |x| <= 80: the result is a normal number, one factor is enough.
template <Real T>
FLB_INLINE T exp_in_range(T x) {
    const auto [r, shifted] = exp_reduce(x, kMagicPow2<T>);
    return (expm1_poly(r) + T(1)) * shifted_pow2(shifted);
}
// e^x / 2, which is still finite where e^x has just overflowed.
template <Real T>
FLB_INLINE T exp_half(T x) {
    const T c = exp_clamp(x);
    const auto [r, shifted] = exp_reduce(c, kMagicScale<T>);
    return scale<-1>(expm1_poly(r) + T(1), shifted, x);
}

template <Real T>
FLB_INLINE T vexp2(T x) {
    const T c = sizeof(T) == 4 ? clamp(x, T(-151), T(130)) : clamp(x, T(-1080), T(1026));
    const T shifted = c + kMagicScale<T>;
    const T r = c - (shifted - kMagicScale<T>);
    return scale(fmadd(r, FLB_POLY(T, r, kExp2), T(1)), shifted, x);
}

template <Real T>
FLB_INLINE T vexpm1(T x) {
    const T c = sizeof(T) == 4 ? clamp(x, T(-40), T(89)) : clamp(x, T(-80), T(710));
    const auto [r, shifted] = exp_reduce(c, kMagicPow2<T> - T(1));
    // 2^n (e^r - 1) + (2^n - 1), all halved: 2^n itself overflows for the largest finite results.
    const T half = shifted_pow2(shifted);
    const T y = T(2) * fmadd(half, expm1_poly(r), half - T(0.5));
    return vcopysign(y, x);
}

// 1 - 2/(e^2a + 1) cancels for small a, where the polynomial takes over.
template <Real T>
FLB_INLINE T vtanh(T x) {
    const T a = vabs(x), z = a * a;
    const T small = fmadd(a * z, FLB_POLY(T, z, kTanh), a);
    const T e = exp_in_range(T(2) * at_most(a, sizeof(T) == 4 ? T(10) : T(20)));
    const T large = T(1) - T(2) / (e + T(1));
    return vcopysign(a < T(0.625) ? small : large, x);
}
template <Real T>
FLB_INLINE T vsinh(T x) {
    const T a = vabs(x), z = a * a;
    const T small = fmadd(a * z, FLB_POLY(T, z, kSinh), a);
    const T h = exp_half(a);
    return vcopysign(a < T(1) ? small : h - T(0.25) / h, x);
}
template <Real T>
FLB_INLINE T vcosh(T x) {
    const T h = exp_half(vabs(x));
    return h + T(0.25) / h;
}

// 1/(1 + e^-x). e^-|x| never overflows, and for x < 0 the form e/(1+e) keeps tiny results.
template <Real T>
FLB_INLINE T vsigmoid(T x) {
    const T e = vexp(-vabs(x));
    return (x < T(0) ? e : T(1)) / (T(1) + e);
}
template <Real T>
FLB_INLINE T vsilu(T x) {
    return x * vsigmoid(x);
}

}  // namespace FLB_ISA
}  // namespace flb
