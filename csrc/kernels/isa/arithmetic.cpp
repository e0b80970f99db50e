// The arithmetic of numbers: add, sub, mul, div and their relatives.
#include "kernels/isa/loops.h"

namespace flb {
namespace FLB_ISA {

// Signed overflow wraps, as in PyTorch; computing on unsigned integers keeps that defined.
template <class T>
struct Wrapping { using type = T; };
template <> struct Wrapping<int8_t> { using type = uint8_t; };
template <> struct Wrapping<int16_t> { using type = uint16_t; };
template <> struct Wrapping<int32_t> { using type = uint32_t; };
template <> struct Wrapping<int64_t> { using type = uint64_t; };
template <class T>
using wrapping = typename Wrapping<T>::type;

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

// a + alpha * b: the one pointwise family with a parameter from the call.
template <class F, class T>
void scaled_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    const T alpha = param<T>(params, 0);
    if (strides[0] == sizeof(T) && strides[1] == sizeof(T) && strides[2] == sizeof(T)) {
        T* out = reinterpret_cast<T*>(data[0]);
        const T *a = reinterpret_cast<const T*>(data[1]), *b = reinterpret_cast<const T*>(data[2]);
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], Mul::f(alpha, b[i]));
        return;
    }
    char *out = data[0], *a = data[1], *b = data[2];
    for (int64_t i = 0; i < n; ++i, out += strides[0], a += strides[1], b += strides[2])
        *reinterpret_cast<T*>(out) = F::f(*reinterpret_cast<const T*>(a), Mul::f(alpha, *reinterpret_cast<const T*>(b)));
}
template <class F, class T>
constexpr LoopEntry scaled(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, scaled_loop<F, T>};
}

using C64 = Complex<float>;
using C128 = Complex<double>;

FLB_LOOPS(binary<Add, bool>("add"), binary<Add, uint8_t>("add"), binary<Add, int32_t>("add"), binary<Add, int64_t>("add"),
          binary<Add, uint64_t>("add"), binary<Add, float>("add"), binary<Add, double>("add"), binary<Add, C64>("add"),
          binary<Add, C128>("add"));
FLB_LOOPS(binary<Sub, uint8_t>("sub"), binary<Sub, int32_t>("sub"), binary<Sub, int64_t>("sub"), binary<Sub, uint64_t>("sub"),
          binary<Sub, float>("sub"), binary<Sub, double>("sub"), binary<Sub, C64>("sub"), binary<Sub, C128>("sub"));
FLB_LOOPS(binary<Mul, bool>("mul"), binary<Mul, uint8_t>("mul"), binary<Mul, int32_t>("mul"), binary<Mul, int64_t>("mul"),
          binary<Mul, uint64_t>("mul"), binary<Mul, float>("mul"), binary<Mul, double>("mul"), binary<Mul, C64>("mul"),
          binary<Mul, C128>("mul"));
FLB_LOOPS(binary<Div, float>("div"), binary<Div, double>("div"), binary<Div, C64>("div"), binary<Div, C128>("div"));
FLB_LOOPS(unary<Neg, int32_t>("neg"), unary<Neg, int64_t>("neg"), unary<Neg, uint64_t>("neg"), unary<Neg, float>("neg"),
          unary<Neg, double>("neg"), unary<Neg, C64>("neg"), unary<Neg, C128>("neg"));
FLB_LOOPS(scaled<Add, bool>("add_scaled"), scaled<Add, int64_t>("add_scaled"), scaled<Add, uint64_t>("add_scaled"),
          scaled<Add, float>("add_scaled"), scaled<Add, double>("add_scaled"), scaled<Add, C64>("add_scaled"),
          scaled<Add, C128>("add_scaled"));
FLB_LOOPS(scaled<Sub, int64_t>("sub_scaled"), scaled<Sub, uint64_t>("sub_scaled"), scaled<Sub, float>("sub_scaled"),
          scaled<Sub, double>("sub_scaled"), scaled<Sub, C64>("sub_scaled"), scaled<Sub, C128>("sub_scaled"));

}  // namespace FLB_ISA
}  // namespace flb
