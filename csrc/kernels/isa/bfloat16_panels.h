// What packing bfloat16 panels for AMX and for pairs share: blocks of 16 by 32 elements in registers, and finished sums.
#pragma once
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

// 16 rows of 32 elements along k: `count` rows and `depth` elements exist.
FLB_INLINE void rows_along_k(const uint16_t* source, int64_t stride, int64_t count, int64_t depth,
                             Vector<float> (&rows)[16]) {
    const __mmask32 mask = depth >= 32 ? ~__mmask32(0) : (__mmask32(1) << depth) - 1;
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i)
        rows[i] =
            i < count ? (Vector<float>)_mm512_maskz_loadu_epi16(mask, source + i * stride) : Vector<float>{};
}

// Two steps of k of 16 neighbouring elements, side by side: `count` elements and `depth` steps exist.
FLB_INLINE Vector<float> pair_of_steps(const uint16_t* source, int64_t k_stride, int64_t count,
                                       int64_t depth) {
    const __mmask16 mask = count >= 16 ? 0xffff : __mmask16((1u << count) - 1);
    const auto step = [&](int k) {
        return k < depth ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, source + k * k_stride))
                         : _mm512_setzero_si512();
    };
    return (Vector<float>)_mm512_or_si512(step(0), _mm512_slli_epi32(step(1), 16));
}

// BFloat16(float) on sixteen.
FLB_INLINE __m256i narrow(__m512 x) {
    const __m512i bits = (__m512i)x,
                  odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff)), 16);
    const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0)));
}

// c = alpha * sums + beta * c for at most 32 columns, which is the stride of the sums.
FLB_INLINE void finish_sums(const float* sums, int64_t rows, int64_t columns, float alpha, float beta,
                            uint16_t* c, int64_t ldc) {
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t v = 0; v < columns; v += 16) {
            const __mmask16 mask = columns - v >= 16 ? 0xffff : __mmask16((1u << (columns - v)) - 1);
            uint16_t* to = c + r * ldc + v;
            __m512 x = _mm512_mul_ps(_mm512_set1_ps(alpha), _mm512_load_ps(sums + r * 32 + v));
            if (beta != 0) {
                const __m512i before =
                    _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, to)), 16);
                x = _mm512_add_ps(x, _mm512_mul_ps(_mm512_set1_ps(beta), (__m512)before));
            }
            _mm256_mask_storeu_epi16(to, mask, narrow(x));
        }
}

}  // namespace FLB_ISA
}  // namespace flb
