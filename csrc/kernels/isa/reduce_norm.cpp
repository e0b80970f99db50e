#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

template <class T> struct RealOf {
    using type = T;
};
template <> struct RealOf<Half> {
    using type = float;
};
template <> struct RealOf<BFloat16> {
    using type = float;
};
template <> struct RealOf<Complex<Half>> {
    using type = float;
};
template <class T> struct RealOf<Complex<T>> {
    using type = T;
};

FLB_INLINE float root(float x) { return __builtin_sqrtf(x); }
FLB_INLINE double root(double x) { return __builtin_sqrt(x); }
FLB_INLINE float power_of(float x, double p) { return __builtin_powf(x, float(p)); }
FLB_INLINE double power_of(double x, double p) { return __builtin_pow(x, p); }

struct Magnitude {
    template <class A, class T> static FLB_INLINE A map(T x, double) {
        if constexpr (is_complex_acc<T>::value) {
            // The larger part is factored out, so that squares neither overflow nor vanish.
            const A re = A(x.re) < 0 ? -A(x.re) : A(x.re), im = A(x.im) < 0 ? -A(x.im) : A(x.im);
            const A large = re > im ? re : im, small = re > im ? im : re;
            const A ratio = small / large;
            const A finite = large * root(1 + ratio * ratio);
            const A infinity = Limits<A>::highest;
            const A sum = re + im;  // NaN if a part is
            return (re == infinity) | (im == infinity) ? infinity : (sum != sum) | (sum == 0) ? sum : finite;
        } else {
            const A a = A(x);
            return a < 0 ? -a : a == 0 ? A(0) : a;
        }
    }
};
struct Square {
    template <class A, class T> static FLB_INLINE A map(T x, double) {
        if constexpr (is_complex_acc<T>::value) {
            return A(x.re) * A(x.re) + A(x.im) * A(x.im);
        } else {
            return A(x) * A(x);
        }
    }
};
struct Power {
    template <class A, class T> static FLB_INLINE A map(T x, double p) {
        return power_of(Magnitude::map<A>(x, p), p);
    }
};

template <class T>
const ReduceLoops* norm_loops_for(ReduceOp op) {
    using A = typename RealOf<T>::type;
    switch (op) {
        case ReduceOp::SumAbs: return monoid_loops<Magnitude, AddOp, T, A>();
        case ReduceOp::SumSquare: return monoid_loops<Square, AddOp, T, A>();
        case ReduceOp::MaxAbs: return monoid_loops<Magnitude, MaxOp, T, A>();
        case ReduceOp::MinAbs: return monoid_loops<Magnitude, MinOp, T, A>();
        case ReduceOp::SumPow: return monoid_loops<Power, AddOp, T, A>();
        default: return nullptr;
    }
}

const ReduceLoops* norm_loops(ReduceOp op, DType dtype) {
    switch (dtype) {
        case DType::Float16: return norm_loops_for<Half>(op);
        case DType::BFloat16: return norm_loops_for<BFloat16>(op);
        case DType::Float32: return norm_loops_for<float>(op);
        case DType::Float64: return norm_loops_for<double>(op);
        case DType::Complex32: return norm_loops_for<Complex<Half>>(op);
        case DType::Complex64: return norm_loops_for<Complex<float>>(op);
        case DType::Complex128: return norm_loops_for<Complex<double>>(op);
        default: return nullptr;
    }
}

FLB_REGISTER_KERNEL(reduce_norm_loops, &norm_loops);

}  // namespace FLB_ISA
}  // namespace flb
