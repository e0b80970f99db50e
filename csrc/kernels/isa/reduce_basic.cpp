#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

template <class T> struct Sums {
    using type = uint64_t;
};  // integers: int64, wrapping
template <> struct Sums<float> {
    using type = float;
};
template <> struct Sums<Half> {
    using type = float;
};
template <> struct Sums<BFloat16> {
    using type = float;
};
template <> struct Sums<double> {
    using type = double;
};
template <> struct Sums<Complex<Half>> {
    using type = Complex<float>;
};
template <> struct Sums<Complex<float>> {
    using type = Complex<float>;
};
template <> struct Sums<Complex<double>> {
    using type = Complex<double>;
};

template <class T> struct Compared {
    using type = int32_t;
};
template <> struct Compared<uint32_t> {
    using type = int64_t;
};
template <> struct Compared<int64_t> {
    using type = int64_t;
};
template <> struct Compared<uint64_t> {
    using type = uint64_t;
};
template <> struct Compared<float> {
    using type = float;
};
template <> struct Compared<Half> {
    using type = float;
};
template <> struct Compared<BFloat16> {
    using type = float;
};
template <> struct Compared<double> {
    using type = double;
};

template <class T>
const ReduceLoops* loops_for(ReduceOp op) {
    using S = typename Sums<T>::type;
    switch (op) {
        case ReduceOp::Sum:
            // Same width, other sign: read in place.
            if constexpr (same<T, int64_t>::value) return monoid_loops<AsIs, AddOp, uint64_t, uint64_t>();
            return monoid_loops<AsIs, AddOp, T, S>();
        case ReduceOp::NanSum:
            if constexpr (same<S, uint64_t>::value) return monoid_loops<AsIs, AddOp, T, S>();
            return monoid_loops<NanToZero, AddOp, T, S>();
        case ReduceOp::Prod: return monoid_loops<AsIs, MulOp, T, S>();
        case ReduceOp::Any: return monoid_loops<NonZero, OrOp, T, int32_t>();
        case ReduceOp::All: return monoid_loops<NonZero, AndOp, T, int32_t>();
        case ReduceOp::CountNonzero: return monoid_loops<NonZero, AddOp, T, uint64_t>();
        default: break;
    }
    if constexpr (!is_complex_acc<T>::value) {
        using C = typename Compared<T>::type;
        if (op == ReduceOp::Min) return monoid_loops<AsIs, MinOp, T, C>();
        if (op == ReduceOp::Max) return monoid_loops<AsIs, MaxOp, T, C>();
    }
    return nullptr;
}

const ReduceLoops* basic_loops(ReduceOp op, DType dtype) {
    return visit(dtype, [op](auto t) { return loops_for<typename decltype(t)::type>(op); });
}

FLB_REGISTER_KERNEL(reduce_basic_loops, &basic_loops);

}  // namespace FLB_ISA
}  // namespace flb
