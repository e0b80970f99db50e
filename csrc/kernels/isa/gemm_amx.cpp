// The tiles of AMX and their packing: see Note [AMX panels]. Compiled for AVX-512 alone; called where amx_available().
#include "kernels/amx_gemm.h"

#include "kernels/isa/amx_tiles.h"
#include "kernels/isa/transpose.h"

#if defined(__AVX512BW__)

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

// 16 pairs of steps of k, each of 16 neighbouring elements: (k, k + 1) side by side.
FLB_INLINE void pairs_of_steps(const uint16_t* source, int64_t k_stride, int64_t count, int64_t depth,
                               Vector<float> (&rows)[16]) {
    const __mmask16 mask = count >= 16 ? 0xffff : __mmask16((1u << count) - 1);
    const auto step = [&](int k) {
        return k < depth ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, source + k * k_stride))
                         : _mm512_setzero_si512();
    };
#pragma GCC unroll 16
    for (int p = 0; p < 16; ++p)
        rows[p] = (Vector<float>)_mm512_or_si512(step(2 * p), _mm512_slli_epi32(step(2 * p + 1), 16));
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
                if (k_stride == 1) rows_along_k(corner, stride, left, k - step, rows);
                else pairs_of_steps(corner, k_stride, left, k - step, rows);
                if (is_a != (k_stride == 1)) transpose(rows);
#pragma GCC unroll 16
                for (int r = 0; r < 16; ++r) store(reinterpret_cast<float*>(to) + 16 * r, rows[r]);
            }
}

// Tiles 0 to 3 are sums (0 1 of the upper rows, 2 3 of the lower), 4 and 5 hold A, 6 and 7 B.
template <bool kBothHalves>
void multiply_panels(int64_t steps, const char* a, const char* b, float* c, int64_t ldc, bool accumulate) {
    const int64_t stride = ldc * int64_t(sizeof(float));
    float* const lower = c + 16 * ldc;
    if (accumulate) {
        FLB_TILE_LOAD(0, c, stride);
        FLB_TILE_LOAD(1, c + 16, stride);
        if constexpr (kBothHalves) {
            FLB_TILE_LOAD(2, lower, stride);
            FLB_TILE_LOAD(3, lower + 16, stride);
        }
    } else {
        FLB_TILE_ZERO(0);
        FLB_TILE_ZERO(1);
        FLB_TILE_ZERO(2);
        FLB_TILE_ZERO(3);
    }
    for (int64_t s = 0; s < steps; ++s, a += 2 * kAmxTileBytes, b += 2 * kAmxTileBytes) {
        FLB_TILE_LOAD(6, b, 64);
        FLB_TILE_LOAD(4, a, 64);
        FLB_TILE_LOAD(7, b + kAmxTileBytes, 64);
        FLB_TILE_MULTIPLY(0, 4, 6);
        if constexpr (kBothHalves) FLB_TILE_LOAD(5, a + kAmxTileBytes, 64);
        FLB_TILE_MULTIPLY(1, 4, 7);
        if constexpr (kBothHalves) {
            FLB_TILE_MULTIPLY(2, 5, 6);
            FLB_TILE_MULTIPLY(3, 5, 7);
        }
    }
    FLB_TILE_STORE(0, c, stride);
    FLB_TILE_STORE(1, c + 16, stride);
    if constexpr (kBothHalves) {
        FLB_TILE_STORE(2, lower, stride);
        FLB_TILE_STORE(3, lower + 16, stride);
    }
}

void amx_block_impl(const AmxBlock& g) {
    const TilesInUse in_use;
    for (int64_t j = 0; j < g.panels_of_b; ++j)
        for (int64_t i = 0; i < g.rows; i += kAmxWidth) {
            const char* a = g.a + i / kAmxWidth * g.panel_bytes;
            const char* b = g.b + j * g.panel_bytes;
            float* c = g.c + i * g.ldc + j * kAmxWidth;
            if (g.rows - i > 16) multiply_panels<true>(g.steps, a, b, c, g.ldc, g.accumulate);
            else multiply_panels<false>(g.steps, a, b, c, g.ldc, g.accumulate);
        }
}

FLB_REGISTER_KERNEL(amx_pack, &amx_pack_impl);
FLB_REGISTER_KERNEL(amx_block, &amx_block_impl);

}  // namespace FLB_ISA
}  // namespace flb

#endif
