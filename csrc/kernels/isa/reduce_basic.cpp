#include "kernels/isa/reduce_loops.h"
#include "kernels/long_folds.h"

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

template <class Op, class A>
void long_fold(const void* elements, int64_t blocks, void* acc) {
    using V = typename Vec<A>::type;
    constexpr int lanes = Vec<A>::lanes;
    const A* p = static_cast<const A*>(elements);
    const V identity = identity_vector<Op, A>();
    V stack[8];
    int top = 0;
    for (int64_t b = 0; b < blocks; ++b) {
        stack[top++] = fold_vector<Op>(p + b * kFoldBlock, kFoldBlock, identity);
        for (int64_t c = b + 1; !(c & 1); c >>= 1, --top)
            stack[top - 2] = Op::apply(stack[top - 2], stack[top - 1]);
    }
    A lane[lanes];
    __builtin_memcpy(lane, &stack[0], 64);
    for (int w = lanes / 2; w; w /= 2)
        for (int k = 0; k < w; ++k) lane[k] = Op::apply(lane[k], lane[k + w]);
    *static_cast<A*>(acc) = lane[0];
}

template <class T>
LongFold long_fold_of(ReduceOp op) {
    switch (op) {
        case ReduceOp::Sum: return long_fold<AddOp, T>;
        case ReduceOp::Max: return long_fold<MaxOp, T>;
        case ReduceOp::Min: return long_fold<MinOp, T>;
        default: return nullptr;
    }
}

// Of the types that are accumulated as they are.
LongFold long_fold_for(ReduceOp op, DType dtype) {
    switch (dtype) {
        case DType::Float32: return long_fold_of<float>(op);
        case DType::Float64: return long_fold_of<double>(op);
        case DType::Int64:
            return op == ReduceOp::Sum ? long_fold<AddOp, uint64_t> : long_fold_of<int64_t>(op);
        default: return nullptr;
    }
}

FLB_REGISTER_KERNEL(find_long_fold, &long_fold_for);
FLB_REGISTER_KERNEL(reduce_basic_loops, &basic_loops);

}  // namespace FLB_ISA
}  // namespace flb
