// Complex functions as loops: calls per element, compiled once for every processor.
#define FLB_LEVEL 0
#define FLB_ISA once
#include "kernels/complex_functions.h"
#include "kernels/isa/loops.h"

namespace flb {
namespace FLB_ISA {

#define FLB_COMPLEX_LOOP(function)                     \
    struct Complex_##function {                        \
        template <class T>                             \
        static FLB_INLINE Complex<T> f(Complex<T> z) { \
            return complex_math::function(z);          \
        }                                              \
    };
FLB_COMPLEX_FUNCTIONS(FLB_COMPLEX_LOOP)
#undef FLB_COMPLEX_LOOP
#define FLB_COMPLEX_ENTRIES(function) \
    unary<Complex_##function, C64>(#function), unary<Complex_##function, C128>(#function),
FLB_LOOPS(FLB_COMPLEX_FUNCTIONS(FLB_COMPLEX_ENTRIES));

struct ComplexPow {
    template <class T>
    static FLB_INLINE Complex<T> f(Complex<T> a, Complex<T> b) {
        return complex_math::pow(a, b);
    }
};
struct ComplexLogAddExp {
    template <class T>
    static FLB_INLINE Complex<T> f(Complex<T> a, Complex<T> b) {
        return complex_math::logaddexp(a, b);
    }
};
struct ComplexSinc {
    template <class T>
    static FLB_INLINE Complex<T> f(Complex<T> z) {
        constexpr double kPi = 3.14159265358979323846;
        if (z.re == 0 && z.im == 0) return {1, 0};
        const Complex<double> x(kPi * z.re, kPi * z.im);
        return Complex<T>(complex_math::sin(x) / x);
    }
};
struct ComplexAbs {
    template <class T>
    static FLB_INLINE T f(Complex<T> z) {
        return complex_math::abs(z);
    }
};
struct Angle {
    template <class T>
    static FLB_INLINE T f(Complex<T> z) {
        return complex_math::angle(z);
    }
    template <Real T>
    static FLB_INLINE T f(T x) {
        return x != x ? x : x < T(0) ? T(3.14159265358979323846264338327950288L) : T(0);
    }
};
struct Conjugate {
    template <class T>
    static FLB_INLINE Complex<T> f(Complex<T> z) {
        return conj(z);
    }
};
struct Identity {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x;
    }
};
// Two parts to one number, and length and angle to one number.
struct FromParts {
    template <Real T>
    static FLB_INLINE Complex<T> f(T re, T im) {
        return {re, im};
    }
};
struct FromPolar {
    template <Real T>
    static FLB_INLINE Complex<T> f(T length, T angle) {
        return {T(length * __builtin_cos(angle)), T(length * __builtin_sin(angle))};
    }
};
FLB_LOOPS(FLB_COMPLEXES(binary, ComplexPow, "pow"));
FLB_LOOPS(FLB_COMPLEXES(binary, ComplexLogAddExp, "logaddexp"));
FLB_LOOPS(FLB_COMPLEXES(unary, ComplexSinc, "sinc"));
FLB_LOOPS(unary<ComplexAbs, C64, float>("abs"), unary<ComplexAbs, C128, double>("abs"));
FLB_LOOPS(unary<Angle, C64, float>("angle"), unary<Angle, C128, double>("angle"),
          FLB_FLOATS(unary, Angle, "angle"));
FLB_LOOPS(FLB_COMPLEXES(unary, Conjugate, "conj_physical"), FLB_FLOATS(unary, Identity, "conj_physical"),
          FLB_BYTES(unary, Identity, "conj_physical"), unary<Identity, bool>("conj_physical"));
FLB_LOOPS(binary<FromParts, float, C64>("complex"), binary<FromParts, double, C128>("complex"));
FLB_LOOPS(binary<FromPolar, float, C64>("polar"), binary<FromPolar, double, C128>("polar"));

}  // namespace FLB_ISA
}  // namespace flb
