// exp and its relatives: e^x, 2^x, e^x - 1, sinh, cosh, tanh, the logistic function.
#pragma once
#include "kernels/isa/vmath_core.h"

namespace flb {
namespace FLB_ISA {

// x = n ln(2) + r with |r| <= ln(2)/2; |n| may reach 2^10.
template <Real T>
struct ExpReduced {
    T r;
    typename Fp<T>::Int n;
};
template <Real T>
FLB_INLINE ExpReduced<T> exp_reduce(T x) {
    const T shifted = fmadd(x, T(0x1.71547652b82fep+0), Fp<T>::kMagic);
    const T n = shifted - Fp<T>::kMagic;
    const T r = fmadd(-n, Fp<T>::kLn2Lo, fmadd(-n, Fp<T>::kLn2Hi, x));
    using Int = typename Fp<T>::Int;
    return {r, Int(to_bits(shifted)) - Int(to_bits(Fp<T>::kMagic))};
}
// e^r - 1 for a reduced r.
template <Real T>
FLB_INLINE T expm1_poly(T r) {
    return fmadd(r * r, FLB_POLY(T, r, kExp), r);
}
// Beyond these, e^x is 0 or infinity; clamping keeps 2^n in range and lets a NaN through.
template <Real T>
FLB_INLINE T exp_clamp(T x) {
    return sizeof(T) == 4 ? at_least(at_most(x, T(90)), T(-105)) : at_least(at_most(x, T(711)), T(-750));
}

template <Real T>
FLB_INLINE T vexp(T x) {
    const auto [r, n] = exp_reduce(exp_clamp(x));
    return scale(expm1_poly(r) + T(1), n);
}
// e^x for |x| <= 80: the result is a normal number, one multiplication less.
template <Real T>
FLB_INLINE T exp_in_range(T x) {
    const auto [r, n] = exp_reduce(x);
    return (expm1_poly(r) + T(1)) * pow2<T>(n);
}
// e^x / 2, which is still finite where e^x has just overflowed.
template <Real T>
FLB_INLINE T exp_half(T x) {
    const auto [r, n] = exp_reduce(exp_clamp(x));
    return scale(expm1_poly(r) + T(1), n - 1);
}

template <Real T>
FLB_INLINE T vexp2(T x) {
    const T c = sizeof(T) == 4 ? at_least(at_most(x, T(130)), T(-151)) : at_least(at_most(x, T(1026)), T(-1080));
    const T shifted = c + Fp<T>::kMagic;
    const T r = c - (shifted - Fp<T>::kMagic);
    using Int = typename Fp<T>::Int;
    return scale(fmadd(r, FLB_POLY(T, r, kExp2), T(1)), Int(to_bits(shifted)) - Int(to_bits(Fp<T>::kMagic)));
}

template <Real T>
FLB_INLINE T vexpm1(T x) {
    const T c = sizeof(T) == 4 ? at_least(at_most(x, T(89)), T(-40)) : at_least(at_most(x, T(710)), T(-80));
    const auto [r, n] = exp_reduce(c);
    // 2^n (e^r - 1) + (2^n - 1), all halved: 2^n itself overflows for the largest finite results.
    const T half = pow2<T>(n - 1);
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
