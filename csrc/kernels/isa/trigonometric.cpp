// Circular functions and their inverses.
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath.h"

namespace flb {
namespace FLB_ISA {

#define FLB_GUARDED(Name, function)                                 \
    struct Name {                                                   \
        template <class T>                                          \
        static FLB_INLINE void map(T* out, const T* a, int64_t n) { \
            function(out, a, n);                                    \
        }                                                           \
    }
FLB_GUARDED(Sin, map_sin);
FLB_GUARDED(Cos, map_cos);
FLB_GUARDED(Tan, map_tan);
#undef FLB_GUARDED
// sin(pi x) / (pi x), from x modulo 2, so that integers give exactly 0.
template <Real T>
FLB_INLINE T sinc(T x) {
    constexpr T kPi = T(3.14159265358979323846264338327950288L);
    const T r = x - T(2) * vround(x * T(0.5));
    const T reduced = vabs(r) > T(0.5) ? vcopysign(T(1), r) - r : r;
    const T s = sin_poly(kPi * reduced);
    return x == T(0) ? T(1) : vabs(x) == Fp<T>::kInf ? Fp<T>::kNan : s / (kPi * x);
}

struct Asin {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vasin(x);
    }
};
struct Acos {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vacos(x);
    }
};
struct Atan {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vatan(x);
    }
};
struct Sinc {
    template <class T>
    static FLB_INLINE T f(T x) {
        return sinc(x);
    }
};
struct Deg2rad {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x * T(0.0174532925199432957692369076848861271L);
    }
};
struct Rad2deg {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x * T(57.2957795130823208767981548141051703L);
    }
};
struct Atan2 {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vatan2(a, b);
    }
};

FLB_LOOPS(FLB_FLOATS(unary, Asin, "asin"));
FLB_LOOPS(FLB_FLOATS(unary, Acos, "acos"));
FLB_LOOPS(FLB_FLOATS(unary, Atan, "atan"));
FLB_LOOPS(FLB_FLOATS(unary, Sinc, "sinc"));
FLB_LOOPS(FLB_FLOATS(unary, Deg2rad, "deg2rad"));
FLB_LOOPS(FLB_FLOATS(unary, Rad2deg, "rad2deg"));
FLB_LOOPS(FLB_FLOATS(binary, Atan2, "atan2"));
FLB_LOOPS(FLB_FLOATS(unary_map, Sin, "sin"), FLB_FLOATS(unary_map, Cos, "cos"),
          FLB_FLOATS(unary_map, Tan, "tan"));

}  // namespace FLB_ISA
}  // namespace flb
