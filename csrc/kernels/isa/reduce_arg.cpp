// argmin and argmax with the value found. n accumulators are n indices followed by n values.
#include "kernels/isa/reduce_loops.h"

namespace flb {
namespace FLB_ISA {

template <class A>
struct Found {
    FLB_INLINE Found(const void* acc, int64_t n)
        : index(static_cast<int64_t*>(const_cast<void*>(acc))), value(reinterpret_cast<A*>(index + n)) {}
    int64_t* __restrict index;
    A* __restrict value;
};

// b beats a: strictly, so that the first of equals stays; a NaN beats all but an earlier NaN.
template <class Op, class A>
FLB_INLINE bool beats(A b, A a) {
    const bool better = same<Op, MaxOp>::value ? b > a : b < a;
    return better | ((b != b) & (a == a));
}

template <int size> struct IndexLike {
    using type = int32_t;
};
template <> struct IndexLike<8> {
    using type = int64_t;
};

template <class A>
FLB_INLINE bool is_found(A x, A best) {
    return (x == best) | ((x != x) & (best != best));
}

template <class Op, class A>
struct Arg {
    static void fold(const void* loaded, int64_t n, int64_t first, void* acc) {
        const A* x = static_cast<const A*>(loaded);
        const A best = fold_values<Op>(x, n);
        // Strips without the value found are passed over with vectors.
        constexpr int64_t kStrip = 64;
        int64_t i = 0;
        for (; i + kStrip < n; i += kStrip) {
            int32_t hits = 0;
            for (int64_t k = 0; k < kStrip; ++k) hits |= is_found(x[i + k], best);
            if (hits != 0) break;
        }
        while (!is_found(x[i], best)) ++i;
        const Found<A> found(acc, 1);
        *found.index = first + i;
        *found.value = x[i];
    }
    static void fold_rows(const void* loaded, int64_t stride, int64_t rows, int64_t n, int64_t first,
                          void* acc) {
        // Row numbers as wide as the values, so that both fill vectors of as many lanes.
        using Narrow = typename IndexLike<sizeof(A)>::type;
        const Found<A> found(acc, n);
        constexpr int64_t kStrip = 256;
        Narrow row_of[kStrip];
        for (int64_t begin = 0; begin < n; begin += kStrip) {
            const int64_t m = n - begin < kStrip ? n - begin : kStrip;
            A* __restrict value = found.value + begin;
            const A* first_row = row_at<A>(loaded, stride, 0) + begin;
            for (int64_t j = 0; j < m; ++j) {
                value[j] = first_row[j];
                row_of[j] = 0;
            }
            for (int64_t r = 1; r < rows; ++r) {
                const A* __restrict x = row_at<A>(loaded, stride, r) + begin;
                for (int64_t j = 0; j < m; ++j) {
                    const bool wins = beats<Op>(x[j], value[j]);
                    value[j] = wins ? x[j] : value[j];
                    row_of[j] = wins ? Narrow(r) : row_of[j];
                }
            }
            for (int64_t j = 0; j < m; ++j) found.index[begin + j] = first + row_of[j];
        }
    }
    static void merge(void* acc, const void* later, int64_t n) {
        const Found<A> a(acc, n), b(later, n);
        for (int64_t j = 0; j < n; ++j) {
            const bool wins = beats<Op>(b.value[j], a.value[j]);
            a.value[j] = wins ? b.value[j] : a.value[j];
            a.index[j] = wins ? b.index[j] : a.index[j];
        }
    }
    static void identity(void* acc, int64_t n) {
        const Found<A> found(acc, n);
        for (int64_t j = 0; j < n; ++j) {
            found.index[j] = 0;
            found.value[j] = Op::template identity<A>();
        }
    }
};

template <class Op, class T, class A>
const ReduceLoops* arg_loops_of() {
    using F = Arg<Op, A>;
    static const ReduceLoops loops = {
        int(sizeof(T)), int(sizeof(A)), 16,       64,         same<T, A>::value, load_elements<AsIs, T, A>,
        F::fold,        F::fold_rows,   F::merge, F::identity};
    return &loops;
}

template <class T, class A>
const ReduceLoops* arg_loops_for(ReduceOp op) {
    return op == ReduceOp::ArgMax ? arg_loops_of<MaxOp, T, A>() : arg_loops_of<MinOp, T, A>();
}

const ReduceLoops* arg_loops(ReduceOp op, DType dtype) {
    switch (dtype) {
        case DType::Bool: return arg_loops_for<bool, int32_t>(op);
        case DType::UInt8: return arg_loops_for<uint8_t, int32_t>(op);
        case DType::Int8: return arg_loops_for<int8_t, int32_t>(op);
        case DType::Int16: return arg_loops_for<int16_t, int32_t>(op);
        case DType::UInt16: return arg_loops_for<uint16_t, int32_t>(op);
        case DType::Int32: return arg_loops_for<int32_t, int32_t>(op);
        case DType::UInt32: return arg_loops_for<uint32_t, int64_t>(op);
        case DType::Int64: return arg_loops_for<int64_t, int64_t>(op);
        case DType::UInt64: return arg_loops_for<uint64_t, uint64_t>(op);
        case DType::Float16: return arg_loops_for<Half, float>(op);
        case DType::BFloat16: return arg_loops_for<BFloat16, float>(op);
        case DType::Float32: return arg_loops_for<float, float>(op);
        case DType::Float64: return arg_loops_for<double, double>(op);
        default: return nullptr;
    }
}

FLB_REGISTER_KERNEL(reduce_arg_loops, &arg_loops);

}  // namespace FLB_ISA
}  // namespace flb
