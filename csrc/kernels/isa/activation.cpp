// Activation functions without parameters, and their derivatives.
#include "kernels/isa/vmath_maps.h"

#include "kernels/isa/loops.h"
#include "kernels/isa/stream_loops.h"

namespace flb {
namespace FLB_ISA {

struct Relu {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x < T(0) ? T(0) : x;
    }
};
// grad where the result (or input) lies above zero.
struct ReluBackward {
    template <class T>
    static FLB_INLINE T f(T grad, T y) {
        return y <= T(0) ? T(0) : grad;  // NaN lets the gradient pass, as in PyTorch
    }
};
struct SigmoidBackward {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return a * (T(1) - b) * b;
    }
};
struct TanhBackward {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return a * (T(1) - b * b);
    }
};
struct Silu {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_silu(out, a, n);
    }
};
struct Gelu {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_gelu(out, a, n);
    }
};
struct GeluTanh {
    template <class T>
    static void map(T* out, const T* a, int64_t n) {
        map_gelu_tanh(out, a, n);
    }
};
struct Mish {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x * vtanh(vsoftplus(x));
    }
};
struct LogSigmoid {
    template <class T>
    static FLB_INLINE T f(T x) {
        return vlogsigmoid(x);
    }
};
struct HardSwish {
    template <class T>
    static FLB_INLINE T f(T x) {
        return x * clamp(x + T(3), T(0), T(6)) / T(6);
    }
};
struct HardSigmoid {
    template <class T>
    static FLB_INLINE T f(T x) {
        return clamp(x + T(3), T(0), T(6)) / T(6);
    }
};
struct SiluBackward {
    template <class T>
    static FLB_INLINE T f(T grad, T x) {
        const T s = vsigmoid(x);
        return grad * s * (T(1) + x * (T(1) - s));
    }
};
struct GeluBackward {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return a * vgelu_grad(b);
    }
};
struct GeluTanhBackward {
    template <class T>
    static FLB_INLINE T f(T a, T b) {
        return a * vgelu_tanh_grad(b);
    }
};
struct Prelu {
    template <class T>
    static FLB_INLINE T f(T x, T weight) {
        return x > T(0) ? x : x * weight;
    }
};

FLB_STREAMS(FLB_FLOATS(stream_unary, Relu, "relu"), FLB_FLOATS(stream_map, Silu, "silu"),
            FLB_FLOATS(stream_map, Gelu, "gelu"), FLB_FLOATS(stream_map, GeluTanh, "gelu_tanh"));
FLB_LOOPS(FLB_FLOATS(binary, Prelu, "prelu"));
FLB_LOOPS(FLB_FLOATS(light_unary, Relu, "relu"), FLB_BYTES(light_unary, Relu, "relu"));
FLB_LOOPS(FLB_FLOATS(light_binary, ReluBackward, "relu_backward"),
          FLB_FLOATS(binary, SigmoidBackward, "sigmoid_backward"),
          FLB_FLOATS(binary, TanhBackward, "tanh_backward"));
FLB_LOOPS(FLB_FLOATS(unary_map, Silu, "silu"));
FLB_LOOPS(FLB_FLOATS(unary, Mish, "mish"));
FLB_LOOPS(FLB_FLOATS(unary, LogSigmoid, "logsigmoid"));
FLB_LOOPS(FLB_FLOATS(unary, HardSwish, "hardswish"));
FLB_LOOPS(FLB_FLOATS(unary, HardSigmoid, "hardsigmoid"));
FLB_LOOPS(FLB_FLOATS(unary_map, Gelu, "gelu"));
FLB_LOOPS(FLB_FLOATS(unary_map, GeluTanh, "gelu_tanh"));
FLB_LOOPS(FLB_FLOATS(binary, SiluBackward, "silu_backward"));
FLB_LOOPS(FLB_FLOATS(binary, GeluBackward, "gelu_backward"));
FLB_LOOPS(FLB_FLOATS(binary, GeluTanhBackward, "gelu_tanh_backward"));

}  // namespace FLB_ISA
}  // namespace flb
