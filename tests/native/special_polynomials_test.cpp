// Orthogonal polynomials and the Airy function against values computed with 40 digits; exits with 1 on a difference.
#include "kernels/special_polynomials.h"

#include <cmath>
#include <cstdio>

#include "kernels/special_functions.h"

using namespace flb::special;

namespace {

int failures = 0;

void check(const char* what, double got, double expected, double tolerance = 1e-13) {
    const bool same = got == expected || (std::isnan(got) && std::isnan(expected));
    if (same || std::fabs(got - expected) <= tolerance * std::fabs(expected)) return;
    std::printf("%s = %.17g, expected %.17g  FAILED\n", what, got, expected);
    ++failures;
}
#define CHECK(call, ...) check(#call, call, __VA_ARGS__)

}  // namespace

int main() {
    CHECK(chebyshev_polynomial_t(0.375, 30), -0.510983840553237884);
    CHECK(chebyshev_polynomial_t(-1.25, 31), -1073741824.0);
    CHECK(chebyshev_polynomial_u(0.375, 30), -0.858705245030525719);
    CHECK(chebyshev_polynomial_v(0.375, 30), 0.0685518335755751747);
    CHECK(chebyshev_polynomial_w(0.375, 30), -1.78596232363662661);
    CHECK(chebyshev_polynomial_v(-0.375, 30), -1.78596232363662661);
    CHECK(shifted_chebyshev_polynomial_t(0.6875, 30), -0.510983840553237884);
    CHECK(hermite_polynomial_h(1.5, 20), -2085387081039.0);
    CHECK(hermite_polynomial_he(1.5, 20), 1027290560.95295048);
    CHECK(laguerre_polynomial_l(1.5, 20), -0.341532910048464949);
    CHECK(legendre_polynomial_p(0.375, 20), -0.00523573538994745333);
    // Many degrees: the expansion in Bessel functions takes over from the recurrence.
    CHECK(legendre_polynomial_p(0.375, 30000), -0.00368632579235290963, 1e-10);
    CHECK(legendre_polynomial_p(-1 + std::ldexp(1, -24), 30000), -0.245482451487874018, 1e-11);
    CHECK(legendre_polynomial_p(1 + std::ldexp(1, -30), 30001), 1.46515586925396434, 1e-11);
    CHECK(airy_ai(-40.25), 0.219816534090471569);
    CHECK(airy_ai(-9.75), 0.252624762596343356);
    CHECK(airy_ai(-2.5), -0.112325067692966089);
    CHECK(airy_ai(0.5), 0.23169360648083349);
    CHECK(airy_ai(3.25), 0.00416045461811725645);
    CHECK(airy_ai(9.5), 5.33026370461749163e-10);
    CHECK(airy_ai(20.0), 1.69167286867054031e-27);

    // Degrees: cut towards zero, 0 where there is none. Ends of the interval are exact.
    CHECK(chebyshev_polynomial_t(0.5, 2.75), -0.5);
    CHECK(chebyshev_polynomial_t(0.5, -0.5), 1.0);
    CHECK(laguerre_polynomial_l(0.5, -1), 0.0);
    CHECK(legendre_polynomial_p(0.5, NAN), 0.0);
    CHECK(hermite_polynomial_h(0.5, 1e300), 0.0);
    CHECK(chebyshev_polynomial_u(-1, 9), -10.0);
    CHECK(chebyshev_polynomial_v(-1, 9), -19.0);
    CHECK(chebyshev_polynomial_w(1, 9), 19.0);
    CHECK(legendre_polynomial_p(-1, 9), -1.0);
    // Degrees that no loop could reach end at once.
    CHECK(chebyshev_polynomial_t(1 + std::ldexp(1, -52), 9e18), INFINITY);
    CHECK(chebyshev_polynomial_w(1e300, 9e18), INFINITY);
    CHECK(hermite_polynomial_he(0.0, 9e18), NAN);
    CHECK(laguerre_polynomial_l(0.5, 9e18), NAN);
    CHECK(laguerre_polynomial_l(0.0, 9e18), 1.0);
    CHECK(legendre_polynomial_p(-1.5, 9e18), INFINITY);
    CHECK(std::fabs(legendre_polynomial_p(0.3, 9e18)) < 1e-9, 1.0);
    CHECK(airy_ai(1e300), 0.0);
    CHECK(spherical_bessel_j0(0.0), 1.0);
    CHECK(spherical_bessel_j0(INFINITY), 0.0);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
