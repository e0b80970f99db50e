// From a functor to a loop. A kernel file writes
//     struct Mul { template <class T> static FLB_INLINE T f(T a, T b) { return a * b; } };
//     FLB_LOOPS(binary<Mul, float>("mul"), binary<Mul, double>("mul"));
// One formula, compiled once, serves contiguous, broadcast and strided operands: what is not contiguous passes through
// small blocks, so that the arithmetic is vectorised for any strides.
//
// A functor is a class with a static f, as above; or, if it needs the call's scalar parameters, a class template over the
// element type with a constructor from `const void* params` and an operator(): these go to the makers ending in _p.
#pragma once
#include "kernels/isa/vmath_core.h"
#include "kernels/loop.h"
#include "kernels/strided.h"

namespace flb {
namespace FLB_ISA {

using C64 = Complex<float>;
using C128 = Complex<double>;

template <class T>
FLB_INLINE const T& param(const void* params, int index) {
    return *reinterpret_cast<const T*>(static_cast<const char*>(params) + 16 * index);
}
// A loop that meets an element without a result (an integer division by zero) says so here; the caller raises.
FLB_INLINE int32_t* failure_flag(const void* params) {
    return const_cast<int32_t*>(&param<int32_t>(params, kFailureSlot));
}

template <class F>
struct Static {
    explicit FLB_INLINE Static(const void*) {}
    template <class... T>
    FLB_INLINE auto operator()(T... x) const {
        return F::f(x...);
    }
};

constexpr int64_t kStage = 512;

// Calls body(data, count) with contiguous blocks of every operand; operand 0 is the output. One call, of all n elements,
// when everything is contiguous already.
template <int... Width, class Body>
FLB_INLINE void staged(char* const* data, const int64_t* strides, int64_t n, Body body) {
    constexpr int kCount = sizeof...(Width);
    constexpr int kWidth[kCount] = {Width...};
    bool flat = true;
    for (int k = 0; k < kCount; ++k) flat &= strides[k] == kWidth[k];
    if (__builtin_expect(flat || n == 1, 1)) {
        body(data, n);
        return;
    }
    alignas(64) char buffers[kCount][kStage * 16];
    char* block[kCount];
    for (int64_t begin = 0; begin < n; begin += kStage) {
        const int64_t count = n - begin < kStage ? n - begin : kStage;
        for (int k = 0; k < kCount; ++k) {
            block[k] = strides[k] == kWidth[k] ? data[k] + begin * strides[k] : buffers[k];
            if (k && block[k] == buffers[k] && (strides[k] || begin == 0))
                gather_elements(kWidth[k], block[k], data[k] + begin * strides[k], strides[k], count);
        }
        body(static_cast<char* const*>(block), count);
        if (block[0] == buffers[0])
            scatter_elements(kWidth[0], data[0] + begin * strides[0], strides[0], block[0], count);
    }
}

template <class F, class Out, class A>
void unary_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    const F f(params);
    const auto body = [&](char* const* d, int64_t count) __attribute__((noinline)) {
        Out* out = reinterpret_cast<Out*>(d[0]);
        const A* a = reinterpret_cast<const A*>(d[1]);
        const F g = f;
        FLB_IVDEP
        for (int64_t i = 0; i < count; ++i) out[i] = Out(g(a[i]));
    };
    staged<sizeof(Out), sizeof(A)>(data, strides, n, body);
}

template <class F, class Out, class A, class B = A>
void binary_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    const F f(params);
    const auto body = [&](char* const* d, int64_t count) __attribute__((noinline)) {
        Out* out = reinterpret_cast<Out*>(d[0]);
        const A* a = reinterpret_cast<const A*>(d[1]);
        const B* b = reinterpret_cast<const B*>(d[2]);
        const F g = f;
        FLB_IVDEP
        for (int64_t i = 0; i < count; ++i) out[i] = Out(g(a[i], b[i]));
    };
    staged<sizeof(Out), sizeof(A), sizeof(B)>(data, strides, n, body);
}

// For operators of one instruction or so: a number as operand gets a loop of its own.
template <class F, class Out, class T>
void light_binary_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    if (strides[0] == sizeof(Out) && strides[1] == sizeof(T) && strides[2] == 0) {
        Out* out = reinterpret_cast<Out*>(data[0]);
        const T* a = reinterpret_cast<const T*>(data[1]);
        const T y = *reinterpret_cast<const T*>(data[2]);
        FLB_IVDEP
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(a[i], y);
    } else if (strides[0] == sizeof(Out) && strides[1] == 0 && strides[2] == sizeof(T)) {
        Out* out = reinterpret_cast<Out*>(data[0]);
        const T x = *reinterpret_cast<const T*>(data[1]);
        const T* b = reinterpret_cast<const T*>(data[2]);
        FLB_IVDEP
        for (int64_t i = 0; i < n; ++i) out[i] = F::f(x, b[i]);
    } else {
        binary_loop<Static<F>, Out, T>(data, strides, n, params);
    }
}

template <class F, class Out, class A, class B = A, class C = A>
void ternary_loop(char* const* data, const int64_t* strides, int64_t n, const void* params) {
    const F f(params);
    const auto body = [&](char* const* d, int64_t count) __attribute__((noinline)) {
        Out* out = reinterpret_cast<Out*>(d[0]);
        const A* a = reinterpret_cast<const A*>(d[1]);
        const B* b = reinterpret_cast<const B*>(d[2]);
        const C* c = reinterpret_cast<const C*>(d[3]);
        const F g = f;
        FLB_IVDEP
        for (int64_t i = 0; i < count; ++i) out[i] = Out(g(a[i], b[i], c[i]));
    };
    staged<sizeof(Out), sizeof(A), sizeof(B), sizeof(C)>(data, strides, n, body);
}

// Functors over whole blocks, F::map(out, a[, b], n): functions with a guard for rare elements.
template <class F, class T>
void unary_map_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    const auto body = [](char* const* d, int64_t count) __attribute__((noinline)) {
        F::map(reinterpret_cast<T*>(d[0]), reinterpret_cast<const T*>(d[1]), count);
    };
    staged<sizeof(T), sizeof(T)>(data, strides, n, body);
}
template <class F, class T>
void binary_map_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    const auto body = [](char* const* d, int64_t count) __attribute__((noinline)) {
        F::map(reinterpret_cast<T*>(d[0]), reinterpret_cast<const T*>(d[1]), reinterpret_cast<const T*>(d[2]),
               count);
    };
    staged<sizeof(T), sizeof(T), sizeof(T)>(data, strides, n, body);
}

template <class F, class T, class Out = T>
constexpr LoopEntry unary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<Out>::value, unary_loop<Static<F>, Out, T>};
}
template <class F, class T>
constexpr LoopEntry predicate(const char* name) {
    return unary<F, T, bool>(name);
}
template <class F, class T>
constexpr LoopEntry light_unary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, unary_loop<Static<F>, T, T>, true};
}
template <template <class> class F, class T>
constexpr LoopEntry unary_p(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, unary_loop<F<T>, T, T>};
}
template <class F, class T>
constexpr LoopEntry unary_map(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, unary_map_loop<F, T>};
}
template <class F, class T, class Out = T>
constexpr LoopEntry binary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<Out>::value, binary_loop<Static<F>, Out, T>};
}
template <class F, class T, class Out = T>
constexpr LoopEntry light_binary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<Out>::value, light_binary_loop<F, Out, T>, true};
}
template <class F, class T>
constexpr LoopEntry comparison(const char* name) {
    return light_binary<F, T, bool>(name);
}
template <template <class> class F, class T>
constexpr LoopEntry binary_p(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, binary_loop<F<T>, T, T>};
}
template <class F, class T>
constexpr LoopEntry binary_map(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, binary_map_loop<F, T>};
}
template <class F, class T>
constexpr LoopEntry ternary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, ternary_loop<Static<F>, T, T>};
}
template <class F, class T>
constexpr LoopEntry light_ternary(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, ternary_loop<Static<F>, T, T, T, T>, true};
}
template <template <class> class F, class T>
constexpr LoopEntry ternary_p(const char* name) {
    return {name, dtype_of<T>::value, dtype_of<T>::value, ternary_loop<F<T>, T, T>};
}

}  // namespace FLB_ISA
}  // namespace flb

// Entries of one functor for several dtypes: FLB_LOOPS(FLB_FLOATS(unary, Exp, "exp")). Narrow integers compute in int32,
// float16 and bfloat16 in float32 (LoopSet::choose).
#define FLB_FLOATS(make, F, name) make<F, float>(name), make<F, double>(name)
#define FLB_INTS(make, F, name) make<F, int32_t>(name), make<F, int64_t>(name), make<F, uint64_t>(name)
#define FLB_BYTES(make, F, name) make<F, uint8_t>(name), FLB_INTS(make, F, name)
#define FLB_COMPLEXES(make, F, name) make<F, C64>(name), make<F, C128>(name)

#define FLB_CAT_(a, b) a##b
#define FLB_CAT(a, b) FLB_CAT_(a, b)
// At namespace scope, inside flb::FLB_ISA.
#define FLB_LOOPS(...)                                                                                    \
    static const ::flb::LoopEntry FLB_CAT(loop_entries_, __LINE__)[] = {__VA_ARGS__};                     \
    [[maybe_unused]] static const bool FLB_CAT(loops_registered_, __LINE__) =                             \
        (::flb::register_loops(FLB_LEVEL, FLB_CAT(loop_entries_, __LINE__),                               \
                               int(sizeof(FLB_CAT(loop_entries_, __LINE__)) / sizeof(::flb::LoopEntry))), \
         true)
