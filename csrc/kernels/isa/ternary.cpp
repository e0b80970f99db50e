// Operators of three tensors.
#include "kernels/isa/integers.h"
#include "kernels/isa/loops.h"

namespace flb {
namespace FLB_ISA {

template <class T>
FLB_INLINE T plus_product(T a, T b, T c) {
    return T(wrapping<T>(a) + wrapping<T>(b) * wrapping<T>(c));
}
template <class T>
struct Addcmul {
    T value;
    explicit FLB_INLINE Addcmul(const void* params) : value(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T a, T b, T c) const {
        return plus_product(a, T(wrapping<T>(value) * wrapping<T>(b)), c);
    }
};
template <class T>
struct Addcdiv {
    T value;
    explicit FLB_INLINE Addcdiv(const void* params) : value(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T a, T b, T c) const { return a + value * b / c; }
};
// From whichever end is nearer, so that a weight of 1 gives the end itself.
struct Lerp {
    template <class T>
    static FLB_INLINE T f(T start, T end, T weight) {
        const T span = end - start;
        return vabs(weight) < T(0.5) ? start + weight * span : end - span * (T(1) - weight);
    }
    template <class T>
    static FLB_INLINE Complex<T> f(Complex<T> start, Complex<T> end, Complex<T> weight) {
        const Complex<T> span = end - start;
        const bool near = weight.re * weight.re + weight.im * weight.im < T(0.25);
        return near ? start + weight * span : end - span * (Complex<T>(T(1)) - weight);
    }
};
struct Where {
    template <class T>
    static FLB_INLINE T f(uint8_t condition, T a, T b) {
        return condition ? a : b;
    }
};
static Loop where_loop(int width) {
    switch (width) {
        case 1: return ternary_loop<Static<Where>, uint8_t, uint8_t, uint8_t, uint8_t>;
        case 2: return ternary_loop<Static<Where>, uint16_t, uint8_t, uint16_t, uint16_t>;
        case 4: return ternary_loop<Static<Where>, uint32_t, uint8_t, uint32_t, uint32_t>;
        case 8: return ternary_loop<Static<Where>, uint64_t, uint8_t, uint64_t, uint64_t>;
        default: return ternary_loop<Static<Where>, Bytes16, uint8_t, Bytes16, Bytes16>;
    }
}
FLB_REGISTER_KERNEL(find_where, where_loop);

FLB_LOOPS(FLB_FLOATS(ternary_p, Addcmul, "addcmul"), FLB_INTS(ternary_p, Addcmul, "addcmul"),
          FLB_COMPLEXES(ternary_p, Addcmul, "addcmul"));
FLB_LOOPS(FLB_FLOATS(ternary_p, Addcdiv, "addcdiv"), FLB_COMPLEXES(ternary_p, Addcdiv, "addcdiv"));
FLB_LOOPS(FLB_FLOATS(ternary, Lerp, "lerp"), FLB_COMPLEXES(ternary, Lerp, "lerp"));

}  // namespace FLB_ISA
}  // namespace flb
