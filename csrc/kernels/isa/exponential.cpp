// Exponentials, logarithms and roots.
#include "kernels/isa/vmath_maps.h"

#include "kernels/isa/loops.h"
#include "kernels/isa/stream_loops.h"

namespace flb {
namespace FLB_ISA {

// log2(2^a + 2^b), around the larger of both.
template <Real T>
FLB_INLINE T log_add_exp2(T a, T b) {
    constexpr T kInvLn2 = T(1.44269504088896340735992468100189214L);
    const T high = a > b ? a : b, low = a > b ? b : a;
    const T r = high + vlog1p(vexp2(low - high)) * kInvLn2;
    return a == b && vabs(a) == Fp<T>::kInf ? a : a != a || b != b ? a + b : r;
}

struct Exp {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_exp(out, a, n);
    }
};
struct Exp2 {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vexp2(x);
    }
};
struct Expm1 {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vexpm1(x);
    }
};
struct Log {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_log(out, a, n);
    }
};
struct Log2 {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vlog2(x);
    }
};
struct Log10 {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vlog10(x);
    }
};
struct Log1p {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vlog1p(x);
    }
};
struct Sqrt {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vsqrt(x);
    }
};
struct Rsqrt {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vrsqrt(x);
    }
};
struct Sigmoid {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_sigmoid(out, a, n);
    }
};
struct LogAddExp {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vlogaddexp(a, b);
    }
};
struct LogAddExp2 {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return log_add_exp2(a, b);
    }
};
struct Xlogy {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vxlogy(a, b);
    }
};
struct Xlog1py {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vxlog1py(a, b);
    }
};
struct BinaryCrossEntropy {  // of a probability and a target, with logarithms of at least -100
    template <class T>
    static FLB_INLINE T f(T x, T target) {
        const T no = vlog1p(-x), yes = vlog(x), least = T(-100);
        return (target - T(1)) * (no < least ? least : no) - target * (yes < least ? least : yes);
    }
};
struct Hypot {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return vhypot(a, b);
    }
};

FLB_STREAMS(FLB_FLOATS(stream_map, Exp, "exp"), FLB_FLOATS(stream_map, Log, "log"),
            FLB_FLOATS(stream_map, Sigmoid, "sigmoid"), FLB_FLOATS(stream_unary, Sqrt, "sqrt"));
FLB_LOOPS(FLB_FLOATS(unary_map, Exp, "exp"));
FLB_LOOPS(FLB_FLOATS(unary, Exp2, "exp2"));
FLB_LOOPS(FLB_FLOATS(unary, Expm1, "expm1"));
FLB_LOOPS(FLB_FLOATS(unary_map, Log, "log"));
FLB_LOOPS(FLB_FLOATS(unary, Log2, "log2"));
FLB_LOOPS(FLB_FLOATS(unary, Log10, "log10"));
FLB_LOOPS(FLB_FLOATS(unary, Log1p, "log1p"));
FLB_LOOPS(FLB_FLOATS(unary, Sqrt, "sqrt"));
FLB_LOOPS(FLB_FLOATS(unary, Rsqrt, "rsqrt"));
FLB_LOOPS(FLB_FLOATS(unary_map, Sigmoid, "sigmoid"));
FLB_LOOPS(FLB_FLOATS(binary, LogAddExp, "logaddexp"));
FLB_LOOPS(FLB_FLOATS(binary, LogAddExp2, "logaddexp2"));
FLB_LOOPS(FLB_FLOATS(binary, Xlogy, "xlogy"));
FLB_LOOPS(FLB_FLOATS(binary, Xlog1py, "special_xlog1py"));
FLB_LOOPS(FLB_FLOATS(binary, Hypot, "hypot"));
FLB_LOOPS(FLB_FLOATS(binary, BinaryCrossEntropy, "_binary_cross_entropy"));

}  // namespace FLB_ISA
}  // namespace flb
