// The few vector operations that the product kernels write by hand; everything else is left to the compiler.
// Included by per-instruction-set files only.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/scalar_types.h"
#if defined(__AVX2__)
// GCC 12 takes the undefined operand of its own intrinsics for a mistake (its bug 105593), wherever they are inlined.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
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

// sum += a * b, with the same rounding. Written out where GCC would otherwise overwrite a factor and move it back.
template <class T>
FLB_INLINE void add_product(Vector<T>& sum, Vector<T> a, Vector<T> b) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) {
        __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return;
    } else if constexpr (std::is_same_v<T, double>) {
        __asm__("vfmadd231pd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return;
    }
#endif
    sum = multiply_add<T>(a, b, sum);
}

// Elements Offset, Offset + Step, ... of Step vectors that follow one another.
template <int Step, int Offset, class U, int... I>
FLB_INLINE Vector<U> pick(const U* p, std::integer_sequence<int, I...> lanes) {
    using Index = std::conditional_t<sizeof(U) == 4, int32_t, int64_t>;
    if constexpr (Step == 2) {
        return __builtin_shuffle(load(p), load(p + kLanes<U>), Vector<Index>{Index(2 * I + Offset)...});
    } else {
        static_assert(Step == 4);
        return __builtin_shuffle(pick<2, Offset % 2>(p, lanes), pick<2, Offset % 2>(p + 2 * kLanes<U>, lanes),
                                 Vector<Index>{Index(2 * I + Offset / 2)...});
    }
}

// Calls f with `n`, from 1 to Max, as a constant.
template <int Max, class F>
FLB_INLINE void with_constant(int64_t n, F&& f) {
    if constexpr (Max > 0) {
        if (n == Max) {
            f(std::integral_constant<int, Max>());
        } else {
            with_constant<Max - 1>(n, f);
        }
    }
}

// A vector of T from elements of a type that is as narrow or narrower.
template <class T, class S>
FLB_INLINE Vector<T> load_as(const S* p) {
    if constexpr (sizeof(S) == sizeof(T)) {
        return load(reinterpret_cast<const T*>(p));
    } else {
        static_assert(std::is_same_v<T, float> && sizeof(S) == 2);
        [[maybe_unused]] constexpr bool kBrain = std::is_same_v<S, BFloat16>;
#if defined(__AVX512F__)
        const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        if constexpr (kBrain) return (Vector<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16);
        else return (Vector<float>)_mm512_cvtph_ps(bits);
#elif defined(__AVX2__) && defined(__F16C__)
        const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        if constexpr (kBrain) return (Vector<float>)_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16);
        else return (Vector<float>)_mm256_cvtph_ps(bits);
#else
        Vector<float> v;
        for (int i = 0; i < kLanes<float>; ++i) v[i] = float(p[i]);
        return v;
#endif
    }
}
#if defined(__AVX2__) && !defined(__AVX512F__)
// All bits of lanes [low, high).
template <class T>
FLB_INLINE __m256i lanes_between(int64_t low, int64_t high) {
    if constexpr (sizeof(T) == 4) {
        const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(int(low)), lane),
                                   _mm256_cmpgt_epi32(_mm256_set1_epi32(int(high)), lane));
    } else {
        const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
        return _mm256_andnot_si256(_mm256_cmpgt_epi64(_mm256_set1_epi64x(low), lane),
                                   _mm256_cmpgt_epi64(_mm256_set1_epi64x(high), lane));
    }
}
// Those lanes; the others are zero, and not read.
template <class T>
FLB_INLINE Vector<T> load_lanes(const T* p, __m256i lanes) {
    if constexpr (sizeof(T) == 4)
        return (Vector<T>)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), lanes);
    else return (Vector<T>)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), lanes);
}
#endif
// Only the first n elements, 0 < n <= lanes; zeros follow.
template <class T, class S>
FLB_INLINE Vector<T> load_first(const S* p, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(S) == 4 && sizeof(T) == 4) {
        return (Vector<T>)_mm512_maskz_loadu_ps(__mmask16(0xffffu >> (16 - n)), p);
    } else if constexpr (sizeof(S) == 8) {
        return (Vector<T>)_mm512_maskz_loadu_pd(__mmask8(0xffu >> (8 - n)), p);
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(S) == sizeof(T))
        return load_lanes<T>(reinterpret_cast<const T*>(p), lanes_between<T>(0, n));
#endif
    S padded[kLanes<T>] = {};
    for (int64_t i = 0; i < n; ++i) padded[i] = p[i];
    return load_as<T>(padded);
}
template <class T>
FLB_INLINE void store_first(T* p, Vector<T> v, int64_t n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
        return _mm512_mask_storeu_ps(p, __mmask16(0xffffu >> (16 - n)), (__m512)v);
    } else if constexpr (sizeof(T) == 8) {
        return _mm512_mask_storeu_pd(p, __mmask8(0xffu >> (8 - n)), (__m512d)v);
    }
#endif
    T lanes[kLanes<T>];
    store(lanes, v);
    int64_t done = 0;
#pragma GCC unroll 5
    for (int64_t width = kLanes<T>; width > 0; width /= 2)
        if (n & width) {
            std::memcpy(p + done, lanes + done, size_t(width) * sizeof(T));
            done += width;
        }
}

// The sum of the lanes: halves onto halves.
template <class T>
FLB_INLINE T lane_sum(Vector<T> v) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) {
        const __m256 low = _mm512_castps512_ps256((__m512)v),
                     high = _mm256_castpd_ps(_mm512_extractf64x4_pd((__m512d)v, 1));
        const __m256 eight = _mm256_add_ps(low, high);
        __m128 x = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        x = _mm_add_ps(x, _mm_movehl_ps(x, x));
        return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
    }
#endif
    T lanes[kLanes<T>];
    store(lanes, v);
    for (int width = kLanes<T> / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    return lanes[0];
}

}  // namespace FLB_ISA
}  // namespace flb
