// Activation functions with parameters, and their derivatives.
#include "kernels/isa/loops.h"
#include "kernels/isa/vmath.h"

namespace flb {
namespace FLB_ISA {

template <class T>
struct LeakyRelu {
    T slope;
    explicit FLB_INLINE LeakyRelu(const void* params) : slope(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T x) const { return x > T(0) ? x : x * slope; }
};
template <class T>
struct LeakyReluBackward {
    T slope;
    explicit FLB_INLINE LeakyReluBackward(const void* params) : slope(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T grad, T x) const { return x > T(0) ? grad : grad * slope; }
};
// x where positive, else alpha (e^(x rate) - 1), all times scale: ELU, SELU and CELU.
template <class T>
struct Elu {
    T alpha, scale, rate;
    explicit FLB_INLINE Elu(const void* params)
        : alpha(param<T>(params, 0)), scale(param<T>(params, 1)), rate(param<T>(params, 2)) {}
    FLB_INLINE T operator()(T x) const {
        return (x > T(0) ? x : alpha * vexpm1(at_most(x, T(0)) * rate)) * scale;
    }
};
template <class T>
struct EluBackward {
    T alpha, scale, rate;
    explicit FLB_INLINE EluBackward(const void* params)
        : alpha(param<T>(params, 0)), scale(param<T>(params, 1)), rate(param<T>(params, 2)) {}
    FLB_INLINE T operator()(T grad, T x) const {
        return grad * scale * (x <= T(0) ? alpha * rate * vexp(at_most(x, T(0)) * rate) : T(1));
    }
};
template <class T>
struct Hardtanh {
    T low, high;
    explicit FLB_INLINE Hardtanh(const void* params) : low(param<T>(params, 0)), high(param<T>(params, 1)) {}
    FLB_INLINE T operator()(T x) const { return x < low ? low : x > high ? high : x; }
};
template <class T>
struct HardtanhBackward {
    T low, high;
    explicit FLB_INLINE HardtanhBackward(const void* params)
        : low(param<T>(params, 0)), high(param<T>(params, 1)) {}
    FLB_INLINE T operator()(T grad, T x) const { return (x <= low) | (x >= high) ? T(0) : grad; }
};
template <class T>
struct Threshold {
    T threshold, value;
    explicit FLB_INLINE Threshold(const void* params)
        : threshold(param<T>(params, 0)), value(param<T>(params, 1)) {}
    FLB_INLINE T operator()(T x) const { return x <= threshold ? value : x; }
};
template <class T>
struct ThresholdBackward {
    T threshold;
    explicit FLB_INLINE ThresholdBackward(const void* params) : threshold(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T grad, T x) const { return x <= threshold ? T(0) : grad; }
};
template <class T>
struct HardShrink {
    T lambd;
    explicit FLB_INLINE HardShrink(const void* params) : lambd(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T x) const { return (x >= -lambd) & (x <= lambd) ? T(0) : x; }
};
template <class T>
struct SoftShrink {
    T lambd;
    explicit FLB_INLINE SoftShrink(const void* params) : lambd(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T x) const { return x > lambd ? x - lambd : x < -lambd ? x + lambd : x * T(0); }
};
template <class T>
struct ShrinkBackward {
    T lambd;
    explicit FLB_INLINE ShrinkBackward(const void* params) : lambd(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T grad, T x) const { return (x >= -lambd) & (x <= lambd) ? T(0) : grad; }
};
template <class T>
struct Softplus {
    T beta, threshold;
    explicit FLB_INLINE Softplus(const void* params)
        : beta(param<T>(params, 0)), threshold(param<T>(params, 1)) {}
    FLB_INLINE T operator()(T x) const { return x * beta > threshold ? x : vsoftplus(x * beta) / beta; }
};
template <class T>
struct SoftplusBackward {
    T beta, threshold;
    explicit FLB_INLINE SoftplusBackward(const void* params)
        : beta(param<T>(params, 0)), threshold(param<T>(params, 1)) {}
    FLB_INLINE T operator()(T grad, T x) const {
        return x * beta > threshold ? grad : grad * vsigmoid(x * beta);
    }
};
template <class T>
struct NanToNum {
    T nan, posinf, neginf;
    explicit FLB_INLINE NanToNum(const void* params)
        : nan(param<T>(params, 0)), posinf(param<T>(params, 1)), neginf(param<T>(params, 2)) {}
    FLB_INLINE T operator()(T x) const {
        return x != x ? nan : x == Fp<T>::kInf ? posinf : x == -Fp<T>::kInf ? neginf : x;
    }
};
// log(x / (1 - x)), with x limited to [eps, 1 - eps] when eps is given (not negative).
template <class T>
struct Logit {
    T eps;
    explicit FLB_INLINE Logit(const void* params) : eps(param<T>(params, 0)) {}
    FLB_INLINE T operator()(T x) const {
        const T limited = clamp(x, eps, T(1) - eps);
        const T z = eps < T(0) ? x : limited;
        return vlog(z / (T(1) - z));
    }
};

FLB_LOOPS(FLB_FLOATS(unary_p, LeakyRelu, "leaky_relu"));
FLB_LOOPS(FLB_FLOATS(unary_p, Elu, "elu"));
FLB_LOOPS(FLB_FLOATS(unary_p, HardShrink, "hardshrink"));
FLB_LOOPS(FLB_FLOATS(unary_p, SoftShrink, "softshrink"));
FLB_LOOPS(FLB_FLOATS(unary_p, Softplus, "softplus"));
FLB_LOOPS(FLB_FLOATS(unary_p, NanToNum, "nan_to_num"));
FLB_LOOPS(FLB_FLOATS(unary_p, Logit, "logit"));
FLB_LOOPS(FLB_FLOATS(unary_p, Hardtanh, "hardtanh"), FLB_INTS(unary_p, Hardtanh, "hardtanh"));
FLB_LOOPS(FLB_FLOATS(unary_p, Threshold, "threshold"), FLB_INTS(unary_p, Threshold, "threshold"));
FLB_LOOPS(FLB_FLOATS(binary_p, LeakyReluBackward, "leaky_relu_backward"));
FLB_LOOPS(FLB_FLOATS(binary_p, EluBackward, "elu_backward"));
FLB_LOOPS(FLB_FLOATS(binary_p, HardtanhBackward, "hardtanh_backward"));
FLB_LOOPS(FLB_FLOATS(binary_p, ThresholdBackward, "threshold_backward"));
FLB_LOOPS(FLB_FLOATS(binary_p, ShrinkBackward, "shrink_backward"));
FLB_LOOPS(FLB_FLOATS(binary_p, SoftplusBackward, "softplus_backward"));

}  // namespace FLB_ISA
}  // namespace flb
