// Special functions as loops. They iterate per element, so one compilation serves every processor: level 0, double.
#define FLB_LEVEL 0
#define FLB_ISA once
#include <cmath>

#include "kernels/isa/loops.h"
#include "kernels/sampling_derivatives.h"
#include "kernels/special_functions.h"
#include "kernels/special_polynomials.h"

namespace flb {

FLB_DEFINE_KERNEL(find_where);

namespace FLB_ISA {

#define FLB_SPECIAL(function)                       \
    struct Unary_##function {                       \
        template <class T>                          \
        static FLB_INLINE T f(T x) {                \
            return T(special::function(double(x))); \
        }                                           \
    }
#define FLB_SPECIAL_AS(function, name) \
    FLB_SPECIAL(function);             \
    FLB_LOOPS(FLB_FLOATS(unary, Unary_##function, name))

FLB_SPECIAL_AS(lgamma, "lgamma");
FLB_SPECIAL_AS(digamma, "digamma");
FLB_SPECIAL_AS(erfcx, "special_erfcx");
FLB_SPECIAL_AS(ndtri, "special_ndtri");
FLB_SPECIAL_AS(log_ndtr, "special_log_ndtr");
FLB_SPECIAL_AS(i0, "i0");
FLB_SPECIAL_AS(i0e, "special_i0e");
FLB_SPECIAL_AS(i1, "special_i1");
FLB_SPECIAL_AS(i1e, "special_i1e");
FLB_SPECIAL_AS(bessel_j0, "special_bessel_j0");
FLB_SPECIAL_AS(bessel_j1, "special_bessel_j1");
FLB_SPECIAL_AS(bessel_y0, "special_bessel_y0");
FLB_SPECIAL_AS(bessel_y1, "special_bessel_y1");
FLB_SPECIAL_AS(modified_bessel_k0, "special_modified_bessel_k0");
FLB_SPECIAL_AS(modified_bessel_k1, "special_modified_bessel_k1");
FLB_SPECIAL_AS(scaled_modified_bessel_k0, "special_scaled_modified_bessel_k0");
FLB_SPECIAL_AS(scaled_modified_bessel_k1, "special_scaled_modified_bessel_k1");
FLB_SPECIAL_AS(airy_ai, "special_airy_ai");
FLB_SPECIAL_AS(spherical_bessel_j0, "special_spherical_bessel_j0");

#define FLB_SPECIAL_BINARY(function, name)                     \
    struct Binary_##function {                                 \
        template <class T>                                     \
        static FLB_INLINE T f(T a, T b) {                      \
            return T(special::function(double(a), double(b))); \
        }                                                      \
    };                                                         \
    FLB_LOOPS(FLB_FLOATS(binary, Binary_##function, name))
FLB_SPECIAL_BINARY(zeta, "special_zeta");
FLB_SPECIAL_BINARY(igamma, "igamma");
FLB_SPECIAL_BINARY(igammac, "igammac");
FLB_SPECIAL_BINARY(chebyshev_polynomial_t, "special_chebyshev_polynomial_t");
FLB_SPECIAL_BINARY(chebyshev_polynomial_u, "special_chebyshev_polynomial_u");
FLB_SPECIAL_BINARY(chebyshev_polynomial_v, "special_chebyshev_polynomial_v");
FLB_SPECIAL_BINARY(chebyshev_polynomial_w, "special_chebyshev_polynomial_w");
FLB_SPECIAL_BINARY(shifted_chebyshev_polynomial_t, "special_shifted_chebyshev_polynomial_t");
FLB_SPECIAL_BINARY(shifted_chebyshev_polynomial_u, "special_shifted_chebyshev_polynomial_u");
FLB_SPECIAL_BINARY(shifted_chebyshev_polynomial_v, "special_shifted_chebyshev_polynomial_v");
FLB_SPECIAL_BINARY(shifted_chebyshev_polynomial_w, "special_shifted_chebyshev_polynomial_w");
FLB_SPECIAL_BINARY(hermite_polynomial_h, "special_hermite_polynomial_h");
FLB_SPECIAL_BINARY(hermite_polynomial_he, "special_hermite_polynomial_he");
FLB_SPECIAL_BINARY(laguerre_polynomial_l, "special_laguerre_polynomial_l");
FLB_SPECIAL_BINARY(legendre_polynomial_p, "special_legendre_polynomial_p");
FLB_SPECIAL_BINARY(gamma_draw_derivative, "_standard_gamma_grad");

// Of a Dirichlet draw's element x with respect to its concentration, over 1 - x: the others shrink in proportion.
struct DirichletGrad {
    template <class T>
    static FLB_INLINE T f(T x, T concentration, T total) {
        const double slope =
            special::beta_draw_derivative(x, concentration, double(total) - double(concentration));
        return x < 1 ? T(slope / (1 - double(x))) : T(0);
    }
};
FLB_LOOPS(FLB_FLOATS(ternary, DirichletGrad, "_dirichlet_grad"));

template <class T>
struct Polygamma {
    int order;
    explicit FLB_INLINE Polygamma(const void* params) : order(int(param<T>(params, 0))) {}
    FLB_INLINE T operator()(T x) const {
        if (order == 1 && x < 0 && x == std::floor(x)) {
            // At a pole PyTorch gives what pi ** 2 / sin(pi * x) ** 2 makes of the rounded product, in the dtype itself.
            const T s = std::sin(T(3.14159265358979323846) * x);
            return T(3.14159265358979323846 * 3.14159265358979323846) / (s * s);
        }
        return T(special::polygamma(order, double(x)));
    }
};
FLB_LOOPS(FLB_FLOATS(unary_p, Polygamma, "polygamma"));

struct FrexpMantissa {
    template <class T>
    static FLB_INLINE T f(T x) {
        int exponent;
        return std::frexp(x, &exponent);
    }
};
struct FrexpExponent {
    template <class T>
    static FLB_INLINE int32_t f(T x) {
        int exponent = 0;
        std::frexp(x, &exponent);
        return x - x == T(0) ? exponent : 0;
    }
};
FLB_LOOPS(FLB_FLOATS(unary, FrexpMantissa, "frexp_mantissa"));
FLB_LOOPS(unary<FrexpExponent, float, int32_t>("frexp_exponent"),
          unary<FrexpExponent, double, int32_t>("frexp_exponent"));

}  // namespace FLB_ISA
}  // namespace flb
