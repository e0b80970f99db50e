// Square blocks turned in registers, where the instruction set has the shuffles for it.
#pragma once
#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

template <class T>
constexpr bool kTurnsInRegisters = false;

#if defined(__AVX512F__)
template <>
inline constexpr bool kTurnsInRegisters<float> = true;
template <>
inline constexpr bool kTurnsInRegisters<double> = true;

// Rows become columns: the lanes are interleaved within 128 bits first, then the 128-bit quarters.
FLB_INLINE void transpose(Vector<float> (&rows)[16]) {
    __m512 r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = (__m512)rows[i];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
            const __m512d a = (__m512d)t[4 * i + h], b = (__m512d)t[4 * i + 2 + h];
            r[4 * i + 2 * h] = (__m512)_mm512_unpacklo_pd(a, b);
            r[4 * i + 2 * h + 1] = (__m512)_mm512_unpackhi_pd(a, b);
        }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
        rows[i] = (Vector<float>)_mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        rows[8 + i] = (Vector<float>)_mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    }
}
FLB_INLINE void transpose(Vector<double> (&rows)[8]) {
    __m512d r[8], t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        r[2 * i] = _mm512_unpacklo_pd((__m512d)rows[2 * i], (__m512d)rows[2 * i + 1]);
        r[2 * i + 1] = _mm512_unpackhi_pd((__m512d)rows[2 * i], (__m512d)rows[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        t[i] = _mm512_shuffle_f64x2(r[i], r[2 + i], 0x88);
        t[2 + i] = _mm512_shuffle_f64x2(r[i], r[2 + i], 0xdd);
        t[4 + i] = _mm512_shuffle_f64x2(r[4 + i], r[6 + i], 0x88);
        t[6 + i] = _mm512_shuffle_f64x2(r[4 + i], r[6 + i], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        rows[i] = (Vector<double>)_mm512_shuffle_f64x2(t[i], t[4 + i], 0x88);
        rows[4 + i] = (Vector<double>)_mm512_shuffle_f64x2(t[i], t[4 + i], 0xdd);
    }
}
#elif defined(__AVX2__)
template <>
inline constexpr bool kTurnsInRegisters<float> = true;

FLB_INLINE void transpose(Vector<float> (&rows)[8]) {
    __m256 r[8], t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_ps((__m256)rows[2 * i], (__m256)rows[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps((__m256)rows[2 * i], (__m256)rows[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i)
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
            const __m256d a = (__m256d)t[4 * i + h], b = (__m256d)t[4 * i + 2 + h];
            r[4 * i + 2 * h] = (__m256)_mm256_unpacklo_pd(a, b);
            r[4 * i + 2 * h + 1] = (__m256)_mm256_unpackhi_pd(a, b);
        }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        rows[i] = (Vector<float>)_mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
        rows[4 + i] = (Vector<float>)_mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
    }
}
#endif

}  // namespace FLB_ISA
}  // namespace flb
