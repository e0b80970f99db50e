// Orthogonal polynomials at one element, by degree. A degree is a double, cut towards zero: below 0, NaN or beyond int64
// the value is 0, as PyTorch's is.
#pragma once

namespace flb::special {

double chebyshev_polynomial_t(double x, double n);  // cos(n t), x = cos t
double chebyshev_polynomial_u(double x, double n);  // sin((n + 1) t) / sin t
double chebyshev_polynomial_v(double x, double n);  // cos((n + 1/2) t) / cos(t / 2)
double chebyshev_polynomial_w(double x, double n);  // sin((n + 1/2) t) / sin(t / 2)
// The same at 2 x - 1, for x in [0, 1].
double shifted_chebyshev_polynomial_t(double x, double n);
double shifted_chebyshev_polynomial_u(double x, double n);
double shifted_chebyshev_polynomial_v(double x, double n);
double shifted_chebyshev_polynomial_w(double x, double n);
double hermite_polynomial_h(double x, double n);   // weight e^(-x^2)
double hermite_polynomial_he(double x, double n);  // weight e^(-x^2 / 2)
double laguerre_polynomial_l(double x, double n);  // NaN beyond kLaguerreDegree
double legendre_polynomial_p(double x, double n);

// The recurrence needs one step per degree: beyond so many a call would not end while anybody waits.
constexpr double kLaguerreDegree = 1 << 20;

}  // namespace flb::special
