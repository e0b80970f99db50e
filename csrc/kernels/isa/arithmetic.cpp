// The arithmetic of numbers: add, sub, mul, div and their relatives.
#include "kernels/isa/integers.h"
#include "kernels/isa/loops.h"
#include "kernels/isa/stream_loops.h"

namespace flb {
namespace FLB_ISA {

struct Add {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(wrapping<T>(a) + wrapping<T>(b));
    }
    static FLB_INLINE bool f(bool a, bool b) { return a | b; }
};
struct Sub {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(wrapping<T>(a) - wrapping<T>(b));
    }
};
struct Mul {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return T(wrapping<T>(a) * wrapping<T>(b));
    }
    static FLB_INLINE bool f(bool a, bool b) { return a & b; }
};
struct Div {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return a / b;
    }
};
struct Neg {
    template <class T>
    static FLB_INLINE T f(T a) {
        return T(-wrapping<T>(a));
    }
};

struct Abs {
    template <class T>
    static FLB_INLINE T f(T a) {
        return a < T(0) ? Neg::f(a) : a;
    }
    static FLB_INLINE float f(float a) { return vabs(a); }
    static FLB_INLINE double f(double a) { return vabs(a); }
};
struct Sign {
    template <class T>
    static FLB_INLINE T f(T a) {
        return T((a > T(0)) - (a < T(0)));
    }
    static FLB_INLINE bool f(bool a) { return a; }
};
struct Square {
    template <class T>
    static FLB_INLINE T f(T a) {
        return Mul::f(a, a);
    }
};
struct Cube {
    template <class T>
    static FLB_INLINE T f(T a) {
        return Mul::f(Mul::f(a, a), a);
    }
};
struct Reciprocal {
    template <class T>
    static FLB_INLINE T f(T a) {
        return T(1) / a;
    }
};

// a + alpha * b
template <class F>
struct Scaled {
    template <class T>
    struct With {
        T alpha;
        explicit FLB_INLINE With(const void* params) : alpha(param<T>(params, 0)) {}
        FLB_INLINE T operator()(T a, T b) const { return F::f(a, Mul::f(alpha, b)); }
    };
};
FLB_STREAMS(FLB_FLOATS(stream_binary, Add, "add"), FLB_FLOATS(stream_binary, Sub, "sub"),
            FLB_FLOATS(stream_binary, Mul, "mul"), FLB_FLOATS(stream_binary, Div, "div"));
FLB_STREAMS(FLB_FLOATS(stream_unary, Neg, "neg"), FLB_FLOATS(stream_unary, Abs, "abs"),
            FLB_FLOATS(stream_unary, Square, "square"));

template <class T>
using AddScaled = Scaled<Add>::With<T>;
template <class T>
using SubScaled = Scaled<Sub>::With<T>;

FLB_LOOPS(FLB_BYTES(light_binary, Add, "add"), FLB_FLOATS(light_binary, Add, "add"),
          FLB_COMPLEXES(light_binary, Add, "add"), light_binary<Add, bool>("add"));
FLB_LOOPS(FLB_BYTES(light_binary, Sub, "sub"), FLB_FLOATS(light_binary, Sub, "sub"),
          FLB_COMPLEXES(light_binary, Sub, "sub"));
FLB_LOOPS(FLB_BYTES(light_binary, Mul, "mul"), FLB_FLOATS(light_binary, Mul, "mul"),
          FLB_COMPLEXES(light_binary, Mul, "mul"), light_binary<Mul, bool>("mul"));
FLB_LOOPS(FLB_FLOATS(light_binary, Div, "div"), FLB_COMPLEXES(binary, Div, "div"));
FLB_LOOPS(FLB_BYTES(light_unary, Neg, "neg"), FLB_FLOATS(light_unary, Neg, "neg"),
          FLB_COMPLEXES(light_unary, Neg, "neg"));
FLB_LOOPS(FLB_BYTES(light_unary, Abs, "abs"), FLB_FLOATS(light_unary, Abs, "abs"));
FLB_LOOPS(FLB_BYTES(unary, Sign, "sign"), FLB_FLOATS(unary, Sign, "sign"), unary<Sign, bool>("sign"));
FLB_LOOPS(FLB_BYTES(unary, Sign, "sgn"), FLB_FLOATS(unary, Sign, "sgn"), unary<Sign, bool>("sgn"));
FLB_LOOPS(FLB_BYTES(light_unary, Square, "square"), FLB_FLOATS(light_unary, Square, "square"),
          FLB_COMPLEXES(light_unary, Square, "square"));
FLB_LOOPS(FLB_BYTES(unary, Cube, "cube"), FLB_FLOATS(unary, Cube, "cube"),
          FLB_COMPLEXES(unary, Cube, "cube"));
FLB_LOOPS(FLB_FLOATS(unary, Reciprocal, "reciprocal"));
FLB_LOOPS(FLB_INTS(binary_p, AddScaled, "add_scaled"), FLB_FLOATS(binary_p, AddScaled, "add_scaled"),
          FLB_COMPLEXES(binary_p, AddScaled, "add_scaled"), binary_p<AddScaled, bool>("add_scaled"));
FLB_LOOPS(FLB_INTS(binary_p, SubScaled, "sub_scaled"), FLB_FLOATS(binary_p, SubScaled, "sub_scaled"),
          FLB_COMPLEXES(binary_p, SubScaled, "sub_scaled"));

}  // namespace FLB_ISA
}  // namespace flb
