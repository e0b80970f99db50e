// From a functor to a loop. A kernel file writes
//     struct Mul { template <class T> static FLB_INLINE T f(T a, T b) { return a * b; } };
//     FLB_LOOPS(binary<Mul, float>("mul"), binary<Mul, double>("mul"));
// One formula serves contiguous, broadcast and strided operands.
#pragma once
#include "kernels/loop.h"

namespace flb {
namespace FLB_ISA {

template <class T>
FLB_INLINE const T& param(const void* params, int index) {
    return *reinterpret_cast<const T*>(static_cast<const char*>(params) + 16 * index);
}

template <class F, class Out, class A>
void unary_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    if (strides[0] == sizeof(Out) && strides[1] == sizeof(A)) {
        Out* out = reinterpret_cast<Out*>(data[0]);
        const A* a = reinterpret_cast<const A*>(data[1]);
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i]);
        return;
    }
    char *out = data[0], *a = data[1];
    const int64_t so = strides[0], sa = strides[1];
    for (int64_t i = 0; i < n; ++i, out += so, a += sa)
        *reinterpret_cast<Out*>(out) = F::f(*reinterpret_cast<const A*>(a));
}

template <class F, class Out, class T>
void binary_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    Out* out = reinterpret_cast<Out*>(data[0]);
    const T* a = reinterpret_cast<const T*>(data[1]);
    const T* b = reinterpret_cast<const T*>(data[2]);
    constexpr int64_t so = sizeof(Out), st = sizeof(T);
    if (strides[0] == so && strides[1] == st && strides[2] == st) {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], b[i]);
    } else if (strides[0] == so && strides[1] == st && strides[2] == 0) {
        const T y = *b;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], y);
    } else if (strides[0] == so && strides[1] == 0 && strides[2] == st) {
        const T x = *a;
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(x, b[i]);
    } else {
        char *po = data[0], *pa = data[1], *pb = data[2];
        const int64_t s0 = strides[0], s1 = strides[1], s2 = strides[2];
        for (int64_t i = 0; i < n; ++i, po += s0, pa += s1, pb += s2)
            *reinterpret_cast<Out*>(po) = F::f(*reinterpret_cast<const T*>(pa), *reinterpret_cast<const T*>(pb));
    }
}

template <class F, class T, class Out = T>
constexpr LoopEntry unary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<Out>::value, unary_loop<F, Out, T>};
}
template <class F, class T, class Out = T>
constexpr LoopEntry binary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<Out>::value, binary_loop<F, Out, T>};
}

}  // namespace FLB_ISA
}  // namespace flb

#define FLB_CAT_(a, b) a##b
#define FLB_CAT(a, b) FLB_CAT_(a, b)
// At namespace scope, inside flb::FLB_ISA.
#define FLB_LOOPS(...)                                                                      \
    static const ::flb::LoopEntry FLB_CAT(loop_entries_, __LINE__)[] = {__VA_ARGS__};       \
    [[maybe_unused]] static const bool FLB_CAT(loops_registered_, __LINE__) =               \
        (::flb::register_loops(FLB_LEVEL, FLB_CAT(loop_entries_, __LINE__),                 \
                               int(sizeof(FLB_CAT(loop_entries_, __LINE__)) / sizeof(::flb::LoopEntry))), true)
