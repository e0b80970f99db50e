// Powers of floating numbers and integers.
#include "kernels/isa/integers.h"
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath_log.h"

namespace flb {
namespace FLB_ISA {

struct Pow {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vpow(a, b);
    }
};
// By squaring, wrapping. A negative exponent leaves an integer only for 1 and -1; 0 stands for the rest.
struct IntegerPow {
    template <class T>
    static FLB_INLINE T f(T base, T exponent) {
        if constexpr (kIsSigned<T>)
            if (exponent < T(0))
                return base == T(1) ? T(1) : base == T(-1) ? (exponent % 2 ? T(-1) : T(1)) : T(0);
        wrapping<T> result = 1, factor = wrapping<T>(base);
        for (wrapping<T> e = wrapping<T>(exponent); e; e >>= 1) {
            if (e & 1) result *= factor;
            factor *= factor;
        }
        return T(result);
    }
};

struct BoolPow {
    static FLB_INLINE bool f(bool base, bool exponent) { return base | !exponent; }
};

FLB_LOOPS(binary<BoolPow, bool>("pow"));
FLB_LOOPS(FLB_FLOATS(binary, Pow, "pow"), FLB_INTS(binary, IntegerPow, "pow"));

}  // namespace FLB_ISA
}  // namespace flb
