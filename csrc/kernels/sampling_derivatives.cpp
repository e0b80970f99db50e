#include "kernels/sampling_derivatives.h"

#include <cmath>
#include <limits>

#include "kernels/special_functions.h"

namespace flb::special {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kTiny = 1e-17;
// Series around the mean need some ten times the root of the largest parameter; beyond this many terms the approximations
// for large parameters are good to single precision.
constexpr double kLarge = 1e8;
constexpr int kMostTerms = 200000;

// A draw x = a (1 - 1/(9a) + z / (3 sqrt(a)))^3 of a fixed normal deviate z (Wilson and Hilferty, 1931), error O(1/a).
double gamma_draw_derivative_large(double a, double x) {
    const double root = std::cbrt(x / a);
    const double z = (root - 1 + 1 / (9 * a)) * 3 * std::sqrt(a);
    return x / a + 3 * a * root * root * (1 / (9 * a * a) - z / (6 * a * std::sqrt(a)));
}

// P / density = sum over n of x^(n+1) / (a (a+1) ... (a+n)); a term's logarithm has the derivative log x - digamma(a+n+1).
double gamma_draw_derivative_series(double a, double x) {
    double term = x / a, slope = std::log(x) - digamma(a + 1), sum = 0;
    for (int n = 1; n < kMostTerms; ++n) {
        sum += term * slope;
        term *= x / (a + n);
        slope -= 1 / (a + n);
        if (term * (1 + std::fabs(slope)) < kTiny * std::fabs(sum) && n > x - a) break;
    }
    return -sum;
}

// (1 - P) / density as Legendre's continued fraction h, with dh/da beside it: numerators and denominators of the
// convergents are kept with their derivatives, and scaled.
double gamma_draw_derivative_fraction(double a, double x) {
    double b = x + 1 - a;
    double p0 = 1, p1 = 0, q0 = b, q1 = -1;  // this convergent p0 / q0; derivatives p1, q1
    double before_p0 = 0, before_p1 = 0, before_q0 = 1, before_q1 = 0;
    double h = p0 / q0, slope = (p1 - h * q1) / q0;
    for (int n = 1; n < kMostTerms; ++n) {
        const double c = -n * (n - a), dc = n;
        b += 2;
        const double next_p0 = b * p0 + c * before_p0, next_q0 = b * q0 + c * before_q0;
        const double next_p1 = b * p1 - p0 + c * before_p1 + dc * before_p0;
        const double next_q1 = b * q1 - q0 + c * before_q1 + dc * before_q0;
        const double scale = 1 / (std::fabs(next_p0) + std::fabs(next_q0));
        before_p0 = p0 * scale, before_p1 = p1 * scale, before_q0 = q0 * scale, before_q1 = q1 * scale;
        p0 = next_p0 * scale, p1 = next_p1 * scale, q0 = next_q0 * scale, q1 = next_q1 * scale;
        if (q0 == 0) continue;
        const double next_h = p0 / q0, next_slope = (p1 - next_h * q1) / q0;
        const bool settled = std::fabs(next_h - h) <= 1e-15 * std::fabs(next_h) &&
                             std::fabs(next_slope - slope) <= 1e-14 * std::fabs(next_slope);
        h = next_h, slope = next_slope;
        if (settled) break;
    }
    return x * (slope + h * (std::log(x) - digamma(a)));
}

// The sum over n of t(n) * (offset + slope(n)), t(n) = (a+b)_n / (a+1)_n x^n: I / density without its factor x (1-x) / a.
// `of_first` takes the derivative with respect to a, else with respect to b.
double beta_series(double x, double a, double b, bool of_first) {
    const double total = digamma(a + b);
    double slope = of_first ? std::log(x) - 1 / a - digamma(a) + total : std::log1p(-x) - digamma(b) + total;
    double term = 1, sum = 0;
    for (int n = 0; n < kMostTerms; ++n) {
        sum += term * slope;
        const double ratio = (a + b + n) / (a + 1 + n) * x;
        term *= ratio;
        slope += 1 / (a + b + n) - (of_first ? 1 / (a + 1 + n) : 0);
        if (ratio < 1 && term * (1 + std::fabs(slope)) < kTiny * (1 - ratio) * std::fabs(sum)) break;
    }
    return sum * x * (1 - x) / a;
}

// A draw m + z s of a fixed normal deviate z, with the mean m = a / (a+b) and the variance s^2 = m (1-m) / (a+b+1).
double beta_draw_derivative_large(double x, double a, double b) {
    const double total = a + b, mean = a / total, mean_slope = b / total / total;
    return mean_slope +
           (x - mean) * 0.5 * (mean_slope * (1 - 2 * mean) / (mean * (1 - mean)) - 1 / (total + 1));
}

}  // namespace

double gamma_draw_derivative(double a, double x) {
    if (!(a > 0) || !(x >= 0) || std::isinf(a) || std::isinf(x)) return kNan;
    if (x == 0) return 0;
    if (a > kLarge) return gamma_draw_derivative_large(a, x);
    return x < a + 1 ? gamma_draw_derivative_series(a, x) : gamma_draw_derivative_fraction(a, x);
}

double beta_draw_derivative(double x, double a, double b) {
    if (!(a > 0) || !(b > 0) || !(x >= 0 && x <= 1) || std::isinf(a) || std::isinf(b)) return kNan;
    if (x == 0 || x == 1) return 0;
    // Below the mean from I_x(a, b), above it from 1 - I_(1-x)(b, a): there the terms fall off like a normal density.
    const bool below = x <= (a + 1) / (a + b + 2);
    const double variance = below ? a * ((a + b) / b) : b * ((a + b) / a);
    if (variance > kLarge) return beta_draw_derivative_large(x, a, b);
    return below ? -beta_series(x, a, b, true) : beta_series(1 - x, b, a, false);
}

}  // namespace flb::special
