// The error function, its complement, and the activation built on it.
#pragma once
#include "kernels/isa/vmath_exp.h"

namespace flb {
namespace FLB_ISA {

// erfc(a) for a >= 0, as e^(-a^2) P(t) / (1 + 2a) with t = (a-4)/(a+4).
FLB_INLINE double erfc_positive(double a) {
    const double b = at_most(a, 28.0);
    const Pair<double> square = two_prod(b, b);
    const double e = vexp(-square.hi), p = poly((b - 4) / (b + 4), coefficients::kErfcD);
    return fmadd(e, -square.lo, e) * p / (1 + 2 * b);
}
FLB_INLINE double verfc(double x) {
    const double y = erfc_positive(vabs(x));
    return x < 0 ? 2 - y : y;
}
FLB_INLINE float verfc(float x) {
    const double a = at_most(vabs(double(x)), 11.0);
    const double y = vexp(-a * a) * poly((a - 4) / (a + 4), coefficients::kErfcF) / (1 + 2 * a);
    return float(x < 0 ? 2 - y : y);
}

FLB_INLINE double verf(double x) {
    const double a = vabs(x);
    const double small = fmadd(a, poly(a * a, coefficients::kErfD), a);
    return vcopysign(a < 1 ? small : 1 - erfc_positive(a), x);
}
FLB_INLINE float verf(float x) {
    const float a = at_most(vabs(x), 4.0f);
    const float small = fmadd(a, poly(a * a, coefficients::kErfF), a);
    const float large = 1 - exp_in_range(poly(a, coefficients::kErfTailF));
    return vcopysign(a < 1 ? small : large, x);
}

// x times the normal distribution's cumulative probability.
template <Real T>
FLB_INLINE T normal_cdf(T x) {
    return T(0.5) * (T(1) + verf(x * T(0x1.6a09e667f3bcdp-1)));
}
template <Real T>
FLB_INLINE T normal_pdf(T x) {
    return T(0x1.9884533d43651p-2) * vexp(T(-0.5) * x * x);
}
template <Real T>
FLB_INLINE T vgelu(T x) {
    return x * normal_cdf(x);
}
template <Real T>
FLB_INLINE T vgelu_grad(T x) {
    return fmadd(x, normal_pdf(x), normal_cdf(x));
}
// The tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
template <Real T>
FLB_INLINE T vgelu_tanh(T x) {
    const T inner = T(0x1.9884533d43651p-1) * fmadd(T(0.044715) * x * x, x, x);
    return T(0.5) * x * (T(1) + vtanh(inner));
}
template <Real T>
FLB_INLINE T vgelu_tanh_grad(T x) {
    const T t = vtanh(T(0x1.9884533d43651p-1) * fmadd(T(0.044715) * x * x, x, x));
    const T slope = T(0x1.9884533d43651p-1) * fmadd(T(3 * 0.044715) * x, x, T(1));
    return T(0.5) * (T(1) + t) + T(0.5) * x * (T(1) - t * t) * slope;
}

}  // namespace FLB_ISA
}  // namespace flb
