#include "kernels/complex_functions.h"

#include <cmath>
#include <complex>

namespace flb::complex_math {

namespace {

using Z = std::complex<double>;

Z in(Complex<double> z) { return {z.re, z.im}; }
Complex<double> out(Z z) { return {z.real(), z.imag()}; }

constexpr double kLn2 = 0.69314718055994530942, kLn10 = 2.30258509299404568402;

}  // namespace

#define FLB_COMPLEX_STANDARD(name) \
    Complex<double> name(Complex<double> z) { return out(std::name(in(z))); }
FLB_COMPLEX_STANDARD(exp)
FLB_COMPLEX_STANDARD(log)
FLB_COMPLEX_STANDARD(sqrt)
FLB_COMPLEX_STANDARD(sin)
FLB_COMPLEX_STANDARD(cos)
FLB_COMPLEX_STANDARD(tan)
FLB_COMPLEX_STANDARD(sinh)
FLB_COMPLEX_STANDARD(cosh)
FLB_COMPLEX_STANDARD(tanh)
FLB_COMPLEX_STANDARD(asin)
FLB_COMPLEX_STANDARD(acos)
FLB_COMPLEX_STANDARD(atan)
FLB_COMPLEX_STANDARD(asinh)
FLB_COMPLEX_STANDARD(acosh)
FLB_COMPLEX_STANDARD(atanh)
#undef FLB_COMPLEX_STANDARD

Complex<double> exp2(Complex<double> z) { return exp(Complex<double>(z.re * kLn2, z.im * kLn2)); }
Complex<double> expm1(Complex<double> z) {
    // e^x cos(y) - 1 without cancellation near 0
    const double s = std::sin(z.im / 2), e = std::expm1(z.re);
    return {e * std::cos(z.im) - 2 * s * s, z.im == 0 ? z.im : (e + 1) * std::sin(z.im)};
}
Complex<double> log2(Complex<double> z) {
    const Complex<double> w = log(z);
    return {w.re / kLn2, w.im / kLn2};
}
Complex<double> log10(Complex<double> z) {
    const Complex<double> w = log(z);
    return {w.re / kLn10, w.im / kLn10};
}
Complex<double> log1p(Complex<double> z) {
    if (std::fabs(z.re) < 0.5 && std::fabs(z.im) < 0.5)
        return {0.5 * std::log1p(z.re * (2 + z.re) + z.im * z.im), std::atan2(z.im, 1 + z.re)};
    return log(Complex<double>(1 + z.re, z.im));
}

// std::complex's division, unlike ours, gives C99's results at zeros and infinities.
Complex<double> reciprocal(Complex<double> z) { return out(Z(1) / in(z)); }
Complex<double> rsqrt(Complex<double> z) { return out(Z(1) / std::sqrt(in(z))); }
Complex<double> sigmoid(Complex<double> z) { return out(Z(1) / (Z(1) + std::exp(-in(z)))); }

double abs(Complex<double> z) { return std::hypot(z.re, z.im); }
double angle(Complex<double> z) { return std::atan2(z.im, z.re); }
Complex<double> sgn(Complex<double> z) {
    const double length = abs(z);
    return length == 0 ? Complex<double>(0, 0) : Complex<double>(z.re / length, z.im / length);
}

Complex<double> pow(Complex<double> x, Complex<double> y) {
    if (y.re == 0 && y.im == 0) return {1, 0};
    if (x.re == 0 && x.im == 0 && y.re > 0) return {0, 0};
    return out(std::pow(in(x), in(y)));
}

Complex<double> logaddexp(Complex<double> a, Complex<double> b) {
    if (a.re != a.re || a.im != a.im || b.re != b.re || b.im != b.im) return {NAN, NAN};
    const bool first = a.re >= b.re;
    const Complex<double> high = first ? a : b, low = first ? b : a;
    if (std::isinf(low.re) && low.re == high.re)
        return low.re < 0 ? low : out(std::log(std::exp(in(low)) + std::exp(in(high))));
    const Complex<double> e = exp(Complex<double>(low.re - high.re, low.im - high.im));
    // The difference of an infinity's imaginary part is none: e is zero there.
    const Complex<double> rest = std::isinf(low.re - high.re) ? Complex<double>(0, 0) : log1p(e);
    return {high.re + rest.re, high.im + rest.im};
}

}  // namespace flb::complex_math
