// Elements fetched by index, a vector at a time. Included by per-instruction-set files only.
#pragma once
#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// x[at[0]], x[at[1]], ... for a vector's lanes.
FLB_INLINE Vector<float> gather(const float* x, const int32_t* at) {
#if defined(__AVX512F__)
    return (Vector<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, _mm512_loadu_si512(at), x, 4);
#else
    Vector<float> v = {};
    for (int i = 0; i < kLanes<float>; ++i) v[i] = x[at[i]];
    return v;
#endif
}
FLB_INLINE Vector<double> gather(const double* x, const int32_t* at) {
    Vector<double> v = {};
    for (int i = 0; i < kLanes<double>; ++i) v[i] = x[at[i]];
    return v;
}

// The same, 0 where an index is negative: memory there is not touched.
FLB_INLINE Vector<float> gather_inside(const float* x, const int32_t* at) {
#if defined(__AVX512F__)
    const __m512i where = _mm512_loadu_si512(at);
    const __mmask16 inside = _mm512_cmpge_epi32_mask(where, _mm512_setzero_si512());
    return (Vector<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), inside, where, x, 4);
#elif defined(__AVX2__)
    const __m256i where = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    const __m256 inside = _mm256_castsi256_ps(_mm256_xor_si256(where, _mm256_set1_epi32(-1)));
    return (Vector<float>)_mm256_mask_i32gather_ps(_mm256_setzero_ps(), x, where, inside, 4);
#else
    Vector<float> v = {};
    for (int i = 0; i < kLanes<float>; ++i) v[i] = at[i] < 0 ? 0.0f : x[at[i]];
    return v;
#endif
}
FLB_INLINE Vector<double> gather_inside(const double* x, const int32_t* at) {
    Vector<double> v = {};
    for (int i = 0; i < kLanes<double>; ++i) v[i] = at[i] < 0 ? 0.0 : x[at[i]];
    return v;
}

template <class T>
FLB_INLINE void store_some(T* p, Vector<T> v, int64_t count) {
    if (count >= kLanes<T>) store(p, v);
    else
        for (int64_t i = 0; i < count; ++i) p[i] = v[i];
}

}  // namespace FLB_ISA
}  // namespace flb
