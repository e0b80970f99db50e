// Hyperbolic functions and their inverses, and error functions.
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath.h"

namespace flb {
namespace FLB_ISA {

struct Sinh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vsinh(x);
    }
};
struct Cosh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vcosh(x);
    }
};
struct Tanh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vtanh(x);
    }
};
struct Asinh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vasinh(x);
    }
};
struct Acosh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vacosh(x);
    }
};
struct Atanh {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vatanh(x);
    }
};
struct Erf {
    template <class T>
    static FLB_INLINE T f(T x) {
        return verf(x);
    }
};
struct Erfc {
    template <class T>
    static FLB_INLINE T f(T x) {
        return verfc(x);
    }
};
struct Entr {
    template <class T>
    static FLB_INLINE T f(T x) {
        return ventr(x);
    }
};
struct Ndtr {
    template <class T>
    static FLB_INLINE T f(T x) {
        return normal_cdf(x);
    }
};

FLB_LOOPS(FLB_FLOATS(unary, Sinh, "sinh"));
FLB_LOOPS(FLB_FLOATS(unary, Cosh, "cosh"));
FLB_LOOPS(FLB_FLOATS(unary, Tanh, "tanh"));
FLB_LOOPS(FLB_FLOATS(unary, Asinh, "asinh"));
FLB_LOOPS(FLB_FLOATS(unary, Acosh, "acosh"));
FLB_LOOPS(FLB_FLOATS(unary, Atanh, "atanh"));
FLB_LOOPS(FLB_FLOATS(unary, Erf, "erf"));
FLB_LOOPS(FLB_FLOATS(unary, Erfc, "erfc"));
FLB_LOOPS(FLB_FLOATS(unary, Entr, "special_entr"));
FLB_LOOPS(FLB_FLOATS(unary, Ndtr, "special_ndtr"));

}  // namespace FLB_ISA
}  // namespace flb
