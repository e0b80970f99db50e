// Building blocks of the reductions' loops. Vectors are 64 bytes at every instruction set (the compiler splits them
// where the machine's are narrower), so every set adds up in the same order and gives the same bits.
#pragma once
#include "kernels/isa/intrinsics.h"  // before anything else that may include them

#include "core/scalar_types.h"
#include "kernels/reduce_kernels.h"

namespace flb {
namespace FLB_ISA {

template <class A>
struct Vec {
    typedef A type __attribute__((vector_size(64)));
    static constexpr int lanes = 64 / sizeof(A);
};
template <class A>
FLB_INLINE typename Vec<A>::type load_vec(const A* p) {
    typename Vec<A>::type v;
    __builtin_memcpy(&v, p, 64);
    return v;
}

template <class A> struct is_complex_acc {
    static constexpr bool value = false;
};
template <class T> struct is_complex_acc<Complex<T>> {
    static constexpr bool value = true;
};

template <class A> struct Limits;
template <> struct Limits<float> {
    static constexpr float lowest = -__builtin_inff(), highest = __builtin_inff();
};
template <> struct Limits<double> {
    static constexpr double lowest = -__builtin_inf(), highest = __builtin_inf();
};
template <> struct Limits<int32_t> {
    static constexpr int32_t lowest = INT32_MIN, highest = INT32_MAX;
};
template <> struct Limits<int64_t> {
    static constexpr int64_t lowest = INT64_MIN, highest = INT64_MAX;
};
template <> struct Limits<uint64_t> {
    static constexpr uint64_t lowest = 0, highest = UINT64_MAX;
};

// The operators, on scalars and vectors alike. Integers wrap: they are added and multiplied as unsigned.
struct AddOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return a + b; }
    template <class A> static FLB_INLINE A identity() { return A(0); }
};
struct MulOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return a * b; }
    template <class A> static FLB_INLINE A identity() { return A(1); }
};
// On elements that are 0 or 1.
struct OrOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return a | b; }
    template <class A> static FLB_INLINE A identity() { return 0; }
};
struct AndOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return a & b; }
    template <class A> static FLB_INLINE A identity() { return 1; }
};
struct MaxOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return ((b > a) | (b != b)) ? b : a; }
    template <class A> static FLB_INLINE A identity() { return Limits<A>::lowest; }
};
struct MinOp {
    template <class V> static FLB_INLINE V apply(V a, V b) { return ((b < a) | (b != b)) ? b : a; }
    template <class A> static FLB_INLINE A identity() { return Limits<A>::highest; }
};

// Fewer than a vector's lanes, the others from `rest`.
template <class A>
FLB_INLINE typename Vec<A>::type load_some(const A* p, int64_t n, typename Vec<A>::type rest) {
#if defined(__AVX512F__)
    using V = typename Vec<A>::type;
    if constexpr (sizeof(A) == 4)
        return (V)_mm512_mask_loadu_epi32((__m512i)rest, __mmask16((1u << n) - 1), p);
    else if constexpr (sizeof(A) == 8)
        return (V)_mm512_mask_loadu_epi64((__m512i)rest, __mmask8((1u << n) - 1), p);
#endif
    A lane[Vec<A>::lanes];
    __builtin_memcpy(lane, &rest, 64);
    for (int64_t k = 0; k < n; ++k) lane[k] = p[k];
    return load_vec(lane);
}

// All n values in one vector, whose lanes are still to be joined.
template <class Op, class A>
FLB_INLINE typename Vec<A>::type fold_vector(const A* p, int64_t n, typename Vec<A>::type identity) {
    using V = typename Vec<A>::type;
    constexpr int lanes = Vec<A>::lanes;
    if (n < lanes) return Op::apply(identity, load_some(p, n, identity));
    V a = identity, b = identity, c = identity, d = identity;
    int64_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        a = Op::apply(a, load_vec(p + i));
        b = Op::apply(b, load_vec(p + i + lanes));
        c = Op::apply(c, load_vec(p + i + 2 * lanes));
        d = Op::apply(d, load_vec(p + i + 3 * lanes));
    }
    for (; i + lanes <= n; i += lanes) a = Op::apply(a, load_vec(p + i));
    if (i < n) b = Op::apply(b, load_some(p + i, n - i, identity));
    return Op::apply(Op::apply(a, b), Op::apply(c, d));
}
template <class Op, class A>
FLB_INLINE typename Vec<A>::type identity_vector() {
    A lane[Vec<A>::lanes];
    for (A& x : lane) x = Op::template identity<A>();
    return load_vec(lane);
}

template <class Op, class A>
FLB_INLINE A fold_values(const A* p, int64_t n) {
    if constexpr (is_complex_acc<A>::value) {
        constexpr int lanes = 8;
        A acc[lanes];
        for (int k = 0; k < lanes; ++k) acc[k] = Op::template identity<A>();
        int64_t i = 0;
        for (; i + lanes <= n; i += lanes)
            for (int k = 0; k < lanes; ++k) acc[k] = Op::apply(acc[k], p[i + k]);
        for (int k = 0; i < n; ++i, ++k) acc[k] = Op::apply(acc[k], p[i]);
        for (int w = lanes / 2; w; w /= 2)
            for (int k = 0; k < w; ++k) acc[k] = Op::apply(acc[k], acc[k + w]);
        return acc[0];
    } else {
        constexpr int lanes = Vec<A>::lanes;
        A lane[lanes];
        const auto v = fold_vector<Op>(p, n, identity_vector<Op, A>());
        __builtin_memcpy(lane, &v, 64);
        for (int w = lanes / 2; w; w /= 2)
            for (int k = 0; k < w; ++k) lane[k] = Op::apply(lane[k], lane[k + w]);
        return lane[0];
    }
}

// The lanes of as many vectors as there are lanes, each joined as fold_values joins them: halves onto halves, of two vectors
// at a time. The results come in the order of the vectors.
template <class Op, class A>
struct JoinLanes {
    using V = typename Vec<A>::type;
    static constexpr int lanes = Vec<A>::lanes;

    // v[0 .. count) hold groups of 2w lanes.
    template <int w = lanes / 2>
    static FLB_INLINE void run(V* v, int count = lanes) {
        for (int i = 0; i < count / 2; ++i) v[i] = pair<w>(v[2 * i], v[2 * i + 1], All{});
        if constexpr (w > 1) run<w / 2>(v, count / 2);
    }

  private:
    using Mask = decltype(V{} < V{});  // integers of the same width
    template <int... I>
    struct Indices {};
    template <int N, int... I>
    struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
    template <int... I>
    struct MakeIndices<0, I...> {
        using type = Indices<I...>;
    };
    using All = typename MakeIndices<lanes>::type;
    // Where lane i of the result finds the first of its two: groups of the first vector come first.
    static constexpr int source(int i, int w) {
        const int groups = lanes / (2 * w), group = i / w;
        return (group < groups ? 0 : lanes) + group % groups * 2 * w + i % w;
    }
    template <int w, int... I>
    static FLB_INLINE V pair(V x, V y, Indices<I...>) {
        return Op::apply(__builtin_shuffle(x, y, Mask{source(I, w)...}),
                         __builtin_shuffle(x, y, Mask{source(I, w) + w...}));
    }
};

template <class A> FLB_INLINE const A* row_at(const void* base, int64_t stride, int64_t i) {
    return reinterpret_cast<const A*>(static_cast<const char*>(base) + i * stride);
}

template <class Op, class A>
struct Monoid {
    static void fold(const void* loaded, int64_t n, int64_t, void* acc) {
        *static_cast<A*>(acc) = fold_values<Op>(static_cast<const A*>(loaded), n);
    }
    static void fold_many(const void* loaded, int64_t n, int64_t stride, int64_t rows, void* acc) {
        A* out = static_cast<A*>(acc);
        if constexpr (is_complex_acc<A>::value) {
            for (int64_t r = 0; r < rows; ++r) out[r] = fold_values<Op>(row_at<A>(loaded, stride, r), n);
        } else {
            constexpr int lanes = Vec<A>::lanes;
            const auto identity = identity_vector<Op, A>();
            for (int64_t r = 0; r < rows; r += lanes) {
                typename Vec<A>::type v[lanes];
                const int count = rows - r < lanes ? int(rows - r) : lanes;
                for (int i = 0; i < count; ++i)
                    v[i] = fold_vector<Op>(row_at<A>(loaded, stride, r + i), n, identity);
                for (int i = count; i < lanes; ++i) v[i] = identity;
                JoinLanes<Op, A>::run(v);
                __builtin_memcpy(out + r, v, size_t(count) * sizeof(A));
            }
        }
    }
    static void fold_rows(const void* loaded, int64_t stride, int64_t rows, int64_t n, int64_t, void* acc) {
        A* out = static_cast<A*>(acc);
        const char* base = static_cast<const char*>(loaded);
        int64_t j = 0;
        if constexpr (!is_complex_acc<A>::value) {
            using V = typename Vec<A>::type;
            constexpr int lanes = Vec<A>::lanes;
            for (; j + 4 * lanes <= n; j += 4 * lanes) fold_columns<V, 4>(base, stride, rows, j, out);
            for (; j + lanes <= n; j += lanes) fold_columns<V, 1>(base, stride, rows, j, out);
        }
        for (; j < n; ++j) fold_columns<A, 1>(base, stride, rows, j, out);
    }
    static void merge(void* acc, const void* later, int64_t n) {
        A* __restrict a = static_cast<A*>(acc);
        const A* __restrict b = static_cast<const A*>(later);
        for (int64_t j = 0; j < n; ++j) a[j] = Op::apply(a[j], b[j]);
    }
    static void identity(void* acc, int64_t n) {
        for (int64_t j = 0; j < n; ++j) static_cast<A*>(acc)[j] = Op::template identity<A>();
    }

  private:
    // `width` adjacent values of type V (a vector or a scalar) from column j on, their accumulators in registers.
    template <class V, int width>
    static FLB_INLINE void fold_columns(const char* base, int64_t stride, int64_t rows, int64_t j, A* out) {
        V acc[width];
        const char* p = base + j * int64_t(sizeof(A));
        for (int k = 0; k < width; ++k) acc[k] = load_as<V>(p + k * sizeof(V));
        for (int64_t r = 1; r < rows; ++r) {
            p += stride;
            for (int k = 0; k < width; ++k) acc[k] = Op::apply(acc[k], load_as<V>(p + k * sizeof(V)));
        }
        __builtin_memcpy(out + j, acc, sizeof(acc));
    }
    template <class V>
    static FLB_INLINE V load_as(const char* p) {
        V v;
        __builtin_memcpy(&v, p, sizeof(V));
        return v;
    }
};

// What an element becomes before it is accumulated.
struct AsIs {
    template <class A, class T> static FLB_INLINE A map(T x, double) { return A(x); }
};
struct NanToZero {
    template <class A, class T> static FLB_INLINE A map(T x, double) {
        const A a = A(x);
        if constexpr (is_complex_acc<A>::value) return (a.re != a.re || a.im != a.im) ? A(0) : a;
        else return a != a ? A(0) : a;
    }
};
struct NonZero {
    template <class A, class T> static FLB_INLINE A map(T x, double) {
        if constexpr (is_complex_acc<T>::value)
            return A((float_or_double(x.re) != 0) | (float_or_double(x.im) != 0));
        else return A(x != T(0));
    }
    template <class T> static FLB_INLINE T float_or_double(T x) { return x; }
    static FLB_INLINE float float_or_double(Half x) { return float(x); }
};

template <class Map, class T, class A>
void load_elements(const char* src, int64_t stride, int64_t n, void* loaded, const ReduceParams& params) {
    A* __restrict out = static_cast<A*>(loaded);
    const double power = params.power;
    if (stride == int64_t(sizeof(T))) {
        const T* __restrict in = reinterpret_cast<const T*>(src);
        for (int64_t i = 0; i < n; ++i) out[i] = Map::template map<A>(in[i], power);
    } else {
        for (int64_t i = 0; i < n; ++i)
            out[i] = Map::template map<A>(*reinterpret_cast<const T*>(src + i * stride), power);
    }
}

template <class X, class Y> struct same {
    static constexpr bool value = false;
};
template <class X> struct same<X, X> {
    static constexpr bool value = true;
};

template <class Map, class Op, class T, class A>
const ReduceLoops* monoid_loops() {
    using M = Monoid<Op, A>;
    constexpr bool direct = same<T, A>::value && same<Map, AsIs>::value;
    static const ReduceLoops loops = {
        int(sizeof(T)), int(sizeof(A)), int(sizeof(A)), 16,          direct,      load_elements<Map, T, A>,
        M::fold,        M::fold_rows,   M::merge,       M::identity, M::fold_many};
    return &loops;
}

}  // namespace FLB_ISA
}  // namespace flb
