// The tiles of AMX and their packing: see Note [AMX panels]. Compiled for AVX-512 alone; called where amx_available().
#include "kernels/amx_gemm.h"

#include "kernels/isa/amx_tiles.h"
#include "kernels/isa/transpose.h"

#if defined(__AVX512BW__)
#include "kernels/isa/bfloat16_panels.h"

namespace flb {
namespace FLB_ISA {

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

void amx_pack_impl(bool is_a, const void* source, int64_t stride, int64_t k_stride, int64_t count, int64_t k,
                   void* panels) {
    const uint16_t* from = static_cast<const uint16_t*>(source);
    char* to = static_cast<char*>(panels);
    for (int64_t i = 0; i < count; i += kAmxWidth)
        for (int64_t step = 0; step < k; step += kAmxDepth)
            for (int64_t half = 0; half < kAmxWidth; half += 16, to += kAmxTileBytes) {
                const int64_t left = count - i - half < 0 ? 0 : count - i - half;
                const uint16_t* corner = from + (i + half) * stride + step * k_stride;
                Vector<float> rows[16];
                if (k_stride == 1) {
                    rows_along_k(corner, stride, left, k - step, rows);
                } else {
#pragma GCC unroll 16
                    for (int p = 0; p < 16; ++p)
                        rows[p] = pair_of_steps(corner + 2 * p * k_stride, k_stride, left, k - step - 2 * p);
                }
                if (is_a != (k_stride == 1)) transpose(rows);
#pragma GCC unroll 16
                for (int r = 0; r < 16; ++r) store(reinterpret_cast<float*>(to) + 16 * r, rows[r]);
            }
}

// Tiles 0 to 3 are sums (0 1 of the upper rows, 2 3 of the lower), 4 and 5 hold A, 6 and 7 B. What the next step loads is
// fetched into the first cache level meanwhile.
template <bool kBothHalves>
void multiply_panels(int64_t steps, const char* a, const char* b, float* sums) {
    FLB_TILE_ZERO(0);
    FLB_TILE_ZERO(1);
    FLB_TILE_ZERO(2);
    FLB_TILE_ZERO(3);
    for (int64_t s = 0; s < steps; ++s, a += 2 * kAmxTileBytes, b += 2 * kAmxTileBytes) {
        const char *next_a = a + 2 * kAmxTileBytes, *next_b = b + 2 * kAmxTileBytes;
        FLB_TILE_LOAD(6, b, 64);
        FLB_TILE_LOAD(4, a, 64);
        FLB_TILE_LOAD(7, b + kAmxTileBytes, 64);
        FLB_TILE_MULTIPLY(0, 4, 6);
        fetch_tile(next_b);
        if constexpr (kBothHalves) FLB_TILE_LOAD(5, a + kAmxTileBytes, 64);
        FLB_TILE_MULTIPLY(1, 4, 7);
        fetch_tile(next_a);
        fetch_tile(next_b + kAmxTileBytes);
        if constexpr (kBothHalves) {
            FLB_TILE_MULTIPLY(2, 5, 6);
            FLB_TILE_MULTIPLY(3, 5, 7);
            fetch_tile(next_a + kAmxTileBytes);
        }
    }
    constexpr int64_t kStride = kAmxWidth * sizeof(float);
    FLB_TILE_STORE(0, sums, kStride);
    FLB_TILE_STORE(1, sums + 16, kStride);
    if constexpr (kBothHalves) {
        FLB_TILE_STORE(2, sums + 16 * kAmxWidth, kStride);
        FLB_TILE_STORE(3, sums + 16 * kAmxWidth + 16, kStride);
    }
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

void amx_block_impl(const BFloat16Block& g) {
    const TilesInUse in_use;
    alignas(64) float sums[kAmxWidth * kAmxWidth];
    uint16_t* const c = static_cast<uint16_t*>(g.c);
    const int64_t steps = (g.k + kAmxDepth - 1) / kAmxDepth, panel_bytes = steps * 2 * kAmxTileBytes;
    for (int64_t j = 0; j < g.columns; j += kAmxWidth)
        for (int64_t i = 0; i < g.rows; i += kAmxWidth) {
            const char* a = static_cast<const char*>(g.a) + i / kAmxWidth * panel_bytes;
            const char* b = g.b + j / kAmxWidth * panel_bytes;
            const int64_t rows = g.rows - i < kAmxWidth ? g.rows - i : kAmxWidth,
                          columns = g.columns - j < kAmxWidth ? g.columns - j : kAmxWidth;
            uint16_t* to = c + i * g.ldc + j;
            for (int64_t r = 0; r < rows; ++r) __builtin_prefetch(to + r * g.ldc, 1);
            if (rows > 16) multiply_panels<true>(steps, a, b, sums);
            else multiply_panels<false>(steps, a, b, sums);
            finish_sums(sums, rows, columns, g.alpha, g.beta, to, g.ldc);
        }
}

FLB_REGISTER_KERNEL(amx_pack, &amx_pack_impl);
FLB_REGISTER_KERNEL(amx_block, &amx_block_impl);

}  // namespace FLB_ISA
}  // namespace flb

#endif
