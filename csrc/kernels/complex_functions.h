// Elementary functions of complex numbers, with C99's branch cuts and values at infinities.
//
// Compiled once, for every processor: std::complex's templates must not be instantiated in per-instruction-set files.
// complex64 computes in double, so its results are correctly rounded up to a rare last bit and do not overflow early.
#pragma once
#include "core/scalar_types.h"

namespace flb::complex_math {

// clang-format off
#define FLB_COMPLEX_FUNCTIONS(X)                                                                       \
    X(exp)                                                                                             \
    X(exp2) X(expm1) X(log) X(log2) X(log10) X(log1p) X(sqrt) X(rsqrt) X(reciprocal) X(sigmoid) X(sgn) \
        X(sin) X(cos) X(tan) X(sinh) X(cosh) X(tanh) X(asin) X(acos) X(atan) X(asinh) X(acosh) X(atanh)
// clang-format on

#define FLB_COMPLEX_DECLARE(name)            \
    Complex<double> name(Complex<double> z); \
    FLB_INLINE Complex<float> name(Complex<float> z) { return Complex<float>(name(Complex<double>(z))); }
FLB_COMPLEX_FUNCTIONS(FLB_COMPLEX_DECLARE)
#undef FLB_COMPLEX_DECLARE

Complex<double> pow(Complex<double> x, Complex<double> y);
FLB_INLINE Complex<float> pow(Complex<float> x, Complex<float> y) {
    return Complex<float>(pow(Complex<double>(x), Complex<double>(y)));
}
Complex<double> logaddexp(Complex<double> a, Complex<double> b);  // log(exp(a) + exp(b))
FLB_INLINE Complex<float> logaddexp(Complex<float> a, Complex<float> b) {
    return Complex<float>(logaddexp(Complex<double>(a), Complex<double>(b)));
}
double abs(Complex<double> z);    // no overflow or underflow on the way
double angle(Complex<double> z);  // in (-pi, pi], NaN if a part is NaN
FLB_INLINE float abs(Complex<float> z) { return float(abs(Complex<double>(z))); }
FLB_INLINE float angle(Complex<float> z) { return float(angle(Complex<double>(z))); }

}  // namespace flb::complex_math
