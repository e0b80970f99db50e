// Rounding, and single steps between neighbouring numbers.
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath_basic.h"

namespace flb {
namespace FLB_ISA {

struct Ceil {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vceil(x);
    }
};
struct Floor {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vfloor(x);
    }
};
struct Round {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vround(x);
    }
};
struct Trunc {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vtrunc(x);
    }
};
struct Frac {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x - vtrunc(x);
    }
};
struct Same {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x;
    }
};
// Rounds to a multiple of 1/scale.
template <class T>
struct RoundDecimals {
    T scale;
    bool divide;  // a negative number of decimals: scale is its power of ten
    explicit FLB_INLINE RoundDecimals(const void* params)
        : scale(param<T>(params, 0)), divide(param<T>(params, 1) < T(0)) {}
    FLB_INLINE T operator()(T x) const {
        return divide ? vround(x / scale) * scale : vround(x * scale) / scale;
    }
};
struct CopySign {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vcopysign(a, b);
    }
};
// One step in the ordering of bit patterns.
struct NextAfter {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        using U = typename Fp<T>::UInt;
        const U bits = to_bits(a);
        const bool away = (a < b) == (a > T(0));
        const T step = from_bits<T>(away ? bits + 1 : bits - 1);
        const T smallest = vcopysign(from_bits<T>(U(1)), b);
        const T moved = a == T(0) ? smallest : step;
        return (a != a) | (b != b) ? a + b : a == b ? b : moved;
    }
};

FLB_LOOPS(FLB_FLOATS(unary, Ceil, "ceil"), FLB_BYTES(unary, Same, "ceil"));
FLB_LOOPS(FLB_FLOATS(unary, Floor, "floor"), FLB_BYTES(unary, Same, "floor"));
FLB_LOOPS(FLB_FLOATS(unary, Round, "round"), FLB_BYTES(unary, Same, "round"));
FLB_LOOPS(FLB_FLOATS(unary, Trunc, "trunc"), FLB_BYTES(unary, Same, "trunc"));
FLB_LOOPS(FLB_FLOATS(unary, Frac, "frac"));
FLB_LOOPS(FLB_FLOATS(unary_p, RoundDecimals, "round_decimals"));
FLB_LOOPS(FLB_FLOATS(binary, CopySign, "copysign"));
FLB_LOOPS(FLB_FLOATS(binary, NextAfter, "nextafter"));

}  // namespace FLB_ISA
}  // namespace flb
