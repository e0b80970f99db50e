#include "kernels/special_polynomials.h"

#include <cmath>
#include <limits>

#include "kernels/special_functions.h"

namespace flb::special {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// The degree as an integer in [0, 2^63), or -1.
double degree(double n) {
    n = std::trunc(n);
    return n >= 0 && n < 9223372036854775808.0 ? n + 0.0 : -1;
}
bool is_odd(double n) { return std::fmod(n, 2) == 1; }

// p(n+1) = 2 x p(n) - p(n-1) from p(0) = 1 and p(1) = first.
double chebyshev_recurrence(double x, double first, double n) {
    if (n == 0) return 1;
    double before = 1, p = first;
    for (double k = 1; k < n && !std::isnan(p); k += 1) {
        const double next = (x + x) * p - before;
        before = p;
        p = next;
    }
    return p;
}

// Steps that cost no more than the closed form and, at small integers, round nothing.
constexpr double kSteps = 8;

// What the closed forms need of |x|: t with cos t = |x|, or cosh t = |x| beyond 1.
struct Angle {
    explicit Angle(double x) : beyond(std::fabs(x) > 1) {
        const double a = std::fabs(x);
        t = beyond ? std::acosh(a) : std::acos(a);
    }
    double cosine(double factor) const { return beyond ? std::cosh(factor * t) : std::cos(factor * t); }
    double sine(double factor) const { return beyond ? std::sinh(factor * t) : std::sin(factor * t); }
    // sine(a) / sine(b), a > b, also where both overflow.
    double sine_ratio(double a, double b) const {
        const double s = sine(a), r = sine(b);
        return std::isinf(s) && std::isinf(r) ? s : s / r;
    }
    double t;
    bool beyond;
};

double chebyshev_w_positive(const Angle& angle, double n) { return angle.sine_ratio(n + 0.5, 0.5); }
double chebyshev_v_positive(const Angle& angle, double n) {
    const double c = angle.cosine(n + 0.5), r = angle.cosine(0.5);
    return std::isinf(c) && std::isinf(r) ? c : c / r;
}

// P_n(cos t) for many degrees and t in (0, pi/2]: the expansion in Bessel functions of (n + 1/2) t whose coefficients
// are analytic in t (I. Bogaert, SIAM J. Sci. Comput. 36 (2014), gives them); three terms leave n^-4.
double legendre_bessel(double t, double n) {
    const double v = n + 0.5, s = std::sin(t), c = std::cos(t), z = v * t;
    double a1, a2;
    if (t < 0.02) {  // the leading terms at 0, where the quotients cancel
        const double q = t * t;
        a1 = -t / 24 * (1 + q / 15);
        a2 = t * t * (7.0 / 1920);
    } else {
        a1 = (t * c - s) / (8 * t * s);
        a2 = (6 * t * s * c - 15 * s * s + t * t * (9 - s * s)) / (128 * t * t * s * s);
    }
    return std::sqrt(t / s) * (::j0(z) + a1 * ::j1(z) / v + a2 * ::jn(2, z) / (v * v));
}
constexpr double kLegendreSteps = 20000;

}  // namespace

double chebyshev_polynomial_t(double x, double degree_) {
    const double n = degree(degree_);
    if (n < 0) return 0;
    if (std::fabs(x) == 1) return x > 0 || !is_odd(n) ? 1 : -1;
    if (n <= kSteps || !std::isfinite(x)) return chebyshev_recurrence(x, x, n);
    const double y = Angle(x).cosine(n);
    return x < 0 && is_odd(n) ? -y : y;
}

double chebyshev_polynomial_u(double x, double degree_) {
    const double n = degree(degree_);
    if (n < 0) return 0;
    if (std::fabs(x) == 1) return x > 0 || !is_odd(n) ? n + 1 : -(n + 1);
    if (n <= kSteps || !std::isfinite(x)) return chebyshev_recurrence(x, x + x, n);
    const double y = Angle(x).sine_ratio(n + 1, 1);
    return x < 0 && is_odd(n) ? -y : y;
}

// V_n(-x) = (-1)^n W_n(x): the forms are used where they don't cancel, at |x|.
double chebyshev_polynomial_v(double x, double degree_) {
    const double n = degree(degree_);
    if (n < 0) return 0;
    if (std::fabs(x) == 1) return x > 0 ? 1 : (is_odd(n) ? -(n + n + 1) : n + n + 1);
    if (n <= kSteps || !std::isfinite(x)) return chebyshev_recurrence(x, x + x - 1, n);
    const Angle angle(x);
    if (x >= 0) return chebyshev_v_positive(angle, n);
    const double y = chebyshev_w_positive(angle, n);
    return is_odd(n) ? -y : y;
}

double chebyshev_polynomial_w(double x, double degree_) {
    const double n = degree(degree_);
    if (n < 0) return 0;
    if (std::fabs(x) == 1) return x > 0 ? n + n + 1 : (is_odd(n) ? -1 : 1);
    if (n <= kSteps || !std::isfinite(x)) return chebyshev_recurrence(x, x + x + 1, n);
    const Angle angle(x);
    if (x >= 0) return chebyshev_w_positive(angle, n);
    const double y = chebyshev_v_positive(angle, n);
    return is_odd(n) ? -y : y;
}

double shifted_chebyshev_polynomial_t(double x, double n) { return chebyshev_polynomial_t(x + x - 1, n); }
double shifted_chebyshev_polynomial_u(double x, double n) { return chebyshev_polynomial_u(x + x - 1, n); }
double shifted_chebyshev_polynomial_v(double x, double n) { return chebyshev_polynomial_v(x + x - 1, n); }
double shifted_chebyshev_polynomial_w(double x, double n) { return chebyshev_polynomial_w(x + x - 1, n); }

// Both grow like the root of a factorial: whatever x is, some hundred steps end in the degree asked for or in NaN.
double hermite_polynomial_h(double x, double degree_) {
    const double n = degree(degree_);
    if (n <= 0) return n < 0 ? 0 : 1;
    double before = 1, p = x + x;
    for (double k = 1; k < n && !std::isnan(p); k += 1) {
        const double next = (x + x) * p - 2 * k * before;
        before = p;
        p = next;
    }
    return p;
}

double hermite_polynomial_he(double x, double degree_) {
    const double n = degree(degree_);
    if (n <= 0) return n < 0 ? 0 : 1;
    double before = 1, p = x;
    for (double k = 1; k < n && !std::isnan(p); k += 1) {
        const double next = x * p - k * before;
        before = p;
        p = next;
    }
    return p;
}

double laguerre_polynomial_l(double x, double degree_) {
    const double n = degree(degree_);
    if (n < 0) return 0;
    if (n == 0 || x == 0) return 1;
    if (n > kLaguerreDegree) return kNan;
    double before = 1, p = 1 - x;
    for (double k = 1; k < n && !std::isnan(p); k += 1) {
        const double next = ((k + k + 1 - x) * p - k * before) / (k + 1);
        before = p;
        p = next;
    }
    return p;
}

double legendre_polynomial_p(double x, double degree_) {
    const double n = degree(degree_);
    if (n <= 0) return n < 0 ? 0 : 1;
    if (std::fabs(x) == 1) return x > 0 || !is_odd(n) ? 1 : -1;
    if (n > kLegendreSteps && std::fabs(x) < 1) {
        const double y = legendre_bessel(std::acos(std::fabs(x)), n);
        return x < 0 && is_odd(n) ? -y : y;
    }
    // Beyond 1 it grows like (x + sqrt(x^2 - 1))^n: many degrees overflow soon, or x is so near to 1 that the expansion's
    // continuation, with I_0 and I_1 for J_0 and J_1, is good to rounding.
    if (n > kLegendreSteps && std::fabs(x) > 1) {
        const double t = std::acosh(std::fabs(x)), z = (n + 0.5) * t;
        if (z > 750)
            return x < 0 && is_odd(n) ? -std::numeric_limits<double>::infinity()
                                      : std::numeric_limits<double>::infinity();
        // z <= 750 and n > 20000 bound t by 0.04.
        const double y =
            std::sqrt(t / std::sinh(t)) * (i0(z) + t / 24 * (1 - t * t / 15) * i1(z) / (n + 0.5));
        return x < 0 && is_odd(n) ? -y : y;
    }
    double before = 1, p = x;
    for (double k = 1; k < n && !std::isnan(p); k += 1) {
        const double next = ((k + k + 1) * x * p - k * before) / (k + 1);
        before = p;
        p = next;
    }
    return p;
}

}  // namespace flb::special
