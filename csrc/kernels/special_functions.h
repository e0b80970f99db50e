// Special functions of one element, in double: gamma and Bessel families, inverse error functions, incomplete gamma.
//
// Compiled once, for every processor: they iterate, so wide instructions would not help. For float inputs convert on
// the way in and out. Values at poles, infinities and NaN are PyTorch's.
#pragma once

namespace flb::special {

double lgamma(double x);
double digamma(double x);
double trigamma(double x);
double zeta(double s, double q);     // Hurwitz: sum over k >= 0 of (k + q)^-s
double polygamma(int n, double x);   // the n-th derivative of digamma
double igamma(double a, double x);   // regularised lower incomplete gamma P(a, x)
double igammac(double a, double x);  // 1 - P(a, x)

double erfinv(double x);
double erfcx(double x);     // e^(x^2) erfc(x)
double ndtri(double p);     // inverse of the normal distribution function
double log_ndtr(double x);  // logarithm of the normal distribution function

double i0(double x);
double i0e(double x);  // e^-|x| i0(x)
double i1(double x);
double i1e(double x);
double bessel_j0(double x);
double bessel_j1(double x);
double bessel_y0(double x);
double bessel_y1(double x);
double modified_bessel_k0(double x);
double modified_bessel_k1(double x);
double scaled_modified_bessel_k0(double x);  // e^x k0(x)
double scaled_modified_bessel_k1(double x);
double airy_ai(double x);
double spherical_bessel_j0(double x);  // sin(x) / x

}  // namespace flb::special
