// The few vector operations that the product kernels write by hand; everything else is left to the compiler.
// Included by per-instruction-set files only.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/scalar_types.h"
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace flb {
namespace FLB_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T>
FLB_INLINE Vector<T> load(const T* p) {
    Vector<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class T>
FLB_INLINE void store(T* p, Vector<T> v) {
    std::memcpy(p, &v, sizeof v);
}
template <class T>
FLB_INLINE Vector<T> broadcast(T x) {
    return x - Vector<T>{};
}

// a * b + c; fused where the instruction set has it (-ffp-contract=off keeps the compiler from doing so itself).
template <class T>
FLB_INLINE Vector<T> multiply_add(Vector<T> a, Vector<T> b, Vector<T> c) {
    return a * b + c;
}
#if defined(__AVX512F__)
template <>
FLB_INLINE Vector<float> multiply_add<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
    return (Vector<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
template <>
FLB_INLINE Vector<double> multiply_add<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
    return (Vector<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
}
#elif defined(__FMA__)
template <>
FLB_INLINE Vector<float> multiply_add<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
    return (Vector<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
template <>
FLB_INLINE Vector<double> multiply_add<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
    return (Vector<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
#elif defined(__aarch64__)
template <>
FLB_INLINE Vector<float> multiply_add<float>(Vector<float> a, Vector<float> b, Vector<float> c) {
    return (Vector<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
template <>
FLB_INLINE Vector<double> multiply_add<double>(Vector<double> a, Vector<double> b, Vector<double> c) {
    return (Vector<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#endif

}  // namespace FLB_ISA
}  // namespace flb
