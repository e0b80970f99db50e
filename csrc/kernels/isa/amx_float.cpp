// float32 by its parts on the tiles of AMX: see Note [Products of parts]. Compiled for AVX-512 alone.
#include "kernels/amx_float.h"

#include "kernels/isa/amx_tiles.h"
#include "kernels/isa/transpose.h"

#if defined(__AVX512BW__)

namespace flb {
namespace FLB_ISA {

// The smallest and largest magnitude seen, as bits; zeros do not count.
struct Magnitudes {
    __m512i least = _mm512_set1_epi32(-1), most = _mm512_setzero_si512();
    FLB_INLINE void see(__m512 x) {
        const __m512i bits = _mm512_and_si512((__m512i)x, _mm512_set1_epi32(0x7fffffff));
        most = _mm512_max_epu32(most, bits);
        least = _mm512_min_epu32(least, _mm512_sub_epi32(bits, _mm512_set1_epi32(1)));
    }
    ExponentRange range() const {
        const uint32_t low = _mm512_reduce_min_epu32(least), high = _mm512_reduce_max_epu32(most);
        ExponentRange r;
        if (high) r = {int((low + 1) >> 23) - 127, int(high >> 23) - 127};
        return r;
    }
};

// The nearest bfloat16, as a float32. Ties go away from zero: one instruction less, and as good here.
FLB_INLINE __m512 leading_part(__m512 x) {
    const __m512i rounded = _mm512_add_epi32((__m512i)x, _mm512_set1_epi32(0x8000));
    return (__m512)_mm512_and_si512(rounded, _mm512_set1_epi32(int(0xffff0000)));
}

// A's rows: the elements along k, 16 and 16, become the row of a tile.
FLB_INLINE __m512i one_after_another(__m512 first, __m512 second) {
    alignas(64) static constexpr uint16_t kOdd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21,
                                                      23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43,
                                                      45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
    return _mm512_permutex2var_epi16((__m512i)first, _mm512_load_si512(kOdd), (__m512i)second);
}
// B's columns: two neighbouring steps of k, side by side.
FLB_INLINE __m512i side_by_side(__m512 first, __m512 second) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32((__m512i)first, 16), (__m512i)second);
}

// Row `row` of the tiles of one half, for the three parts.
template <bool kIsA>
FLB_INLINE void store_parts(__m512 first, __m512 second, char* tile, int row) {
#pragma GCC unroll 3
    for (int part = 0; part < 3; ++part) {
        const __m512 a = part < 2 ? leading_part(first) : first, b = part < 2 ? leading_part(second) : second;
        const __m512i merged = kIsA ? one_after_another(a, b) : side_by_side(a, b);
        _mm512_store_si512(tile + part * 2 * kPartsTileBytes + row * 64, merged);
        first = _mm512_sub_ps(first, a);
        second = _mm512_sub_ps(second, b);
    }
}

// Vectors of an operand, `step` elements apart: `count` exist, each of `lanes` elements. What does not exist is zero.
struct Vectors {
    const float* source;
    int64_t step, count;
    __mmask16 mask;
    FLB_INLINE Vectors(const float* source, int64_t step, int64_t count, int64_t lanes)
        : source(source),
          step(step),
          count(count),
          mask(lanes >= 16  ? 0xffff
               : lanes <= 0 ? 0
                            : __mmask16((1u << lanes) - 1)) {}
    FLB_INLINE __m512 get(int64_t i, Magnitudes& seen) const {
        if (i >= count) return _mm512_setzero_ps();
        const __m512 x = _mm512_maskz_loadu_ps(mask, source + i * step);
        seen.see(x);
        return x;
    }
};

// Half a panel by a step of k: 16 rows or columns, of which `count` exist, by 32 elements, of which `depth` exist.
template <bool kIsA>
FLB_INLINE void pack_half(const float* source, int64_t stride, int64_t k_stride, int64_t count, int64_t depth,
                          char* tile, Magnitudes& seen) {
    const float* later = source + 16 * k_stride;
    if (k_stride == 1) {
        const Vectors first(source, stride, count, depth), second(later, stride, count, depth - 16);
        if constexpr (kIsA) {
            for (int r = 0; r < 16; ++r) store_parts<true>(first.get(r, seen), second.get(r, seen), tile, r);
        } else {
            for (int half = 0; half < 2; ++half) {
                Vector<float> rows[16];
#pragma GCC unroll 16
                for (int i = 0; i < 16; ++i) rows[i] = (Vector<float>)(half ? second : first).get(i, seen);
                transpose(rows);
#pragma GCC unroll 8
                for (int r = 0; r < 8; ++r)
                    store_parts<false>((__m512)rows[2 * r], (__m512)rows[2 * r + 1], tile, half * 8 + r);
            }
        }
    } else if constexpr (kIsA) {
        Vector<float> first[16], second[16];
        const Vectors steps(source, k_stride, depth, count);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) first[i] = (Vector<float>)steps.get(i, seen);
        transpose(first);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) second[i] = (Vector<float>)steps.get(16 + i, seen);
        transpose(second);
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) store_parts<true>((__m512)first[r], (__m512)second[r], tile, r);
    } else {
        const Vectors steps(source, k_stride, depth, count);
        for (int r = 0; r < 16; ++r)
            store_parts<false>(steps.get(2 * r, seen), steps.get(2 * r + 1, seen), tile, r);
    }
}

template <bool kIsA>
ExponentRange pack_parts(const float* source, int64_t stride, int64_t k_stride, int64_t count, int64_t k,
                         char* to) {
    Magnitudes seen;
    for (int64_t i = 0; i < count; i += kPartsWidth)
        for (int64_t step = 0; step < k; step += kPartsDepth, to += kPartsStepBytes)
            for (int64_t half = 0; half < 2; ++half) {
                const int64_t row = i + half * 16;
                pack_half<kIsA>(source + row * stride + step * k_stride, stride, k_stride, count - row,
                                k - step, to + half * kPartsTileBytes, seen);
            }
    return seen.range();
}

ExponentRange amx_parts_pack_impl(bool is_a, const float* source, int64_t stride, int64_t k_stride,
                                  int64_t count, int64_t k, void* panels) {
    char* to = static_cast<char*>(panels);
    return is_a ? pack_parts<true>(source, stride, k_stride, count, k, to)
                : pack_parts<false>(source, stride, k_stride, count, k, to);
}

// Tiles 0 to 3 are sums (0 1 of the upper rows, 2 3 of the lower), 4 and 5 hold a part of A, 6 and 7 one of B. What the
// next step loads is fetched into the first cache level meanwhile, and `lines` of every step's share of what comes
// `ahead` into the second.
FLB_INLINE void multiply_steps(int64_t steps, const char* a, const char* b, const char* ahead, int lines) {
    constexpr int64_t T = kPartsTileBytes, H = 0, M = 2 * T, L = 4 * T;
#define FLB_MULTIPLY_FOUR       \
    FLB_TILE_MULTIPLY(0, 4, 6); \
    FLB_TILE_MULTIPLY(1, 4, 7); \
    FLB_TILE_MULTIPLY(2, 5, 6); \
    FLB_TILE_MULTIPLY(3, 5, 7)
#define FLB_LOAD_A(part)            \
    FLB_TILE_LOAD(4, a + part, 64); \
    FLB_TILE_LOAD(5, a + part + T, 64)
#define FLB_LOAD_B(part)            \
    FLB_TILE_LOAD(6, b + part, 64); \
    FLB_TILE_LOAD(7, b + part + T, 64)
    for (int64_t s = 0; s < steps; ++s) {
        const char *next_a = a + kPartsStepBytes, *next_b = b + kPartsStepBytes;
        FLB_LOAD_B(H);
        FLB_LOAD_A(L);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_b + H);
        fetch_tile(next_a + L);
        FLB_LOAD_A(M);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_b + H + T);
        fetch_tile(next_a + L + T);
        FLB_LOAD_B(M);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_a + M);
        fetch_tile(next_a + M + T);
        FLB_LOAD_A(H);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_b + M);
        fetch_tile(next_b + M + T);
        FLB_LOAD_B(H);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_a + H);
        fetch_tile(next_a + H + T);
        FLB_LOAD_B(L);
        FLB_MULTIPLY_FOUR;
        fetch_tile(next_b + L);
        fetch_tile(next_b + L + T);
        for (int line = 0; line < lines; ++line, ahead += 64) __builtin_prefetch(ahead, 0, 2);
        a = next_a;
        b = next_b;
    }
#undef FLB_LOAD_B
#undef FLB_LOAD_A
#undef FLB_MULTIPLY_FOUR
}

void amx_parts_block_impl(const AmxPartsBlock& g) {
    const TilesInUse in_use;
    const int64_t panel = g.steps * kPartsStepBytes, heights = (g.rows + kPartsWidth - 1) / kPartsWidth;
    const int lines = int(kPartsStepBytes / 64 / heights);
    alignas(64) float sums[kPartsWidth * kPartsWidth];
    for (int64_t j = 0; j < g.columns; j += kPartsWidth) {
        const char* b = g.b + j / kPartsWidth * panel;
        const char* ahead = b + panel;
        const int64_t width = g.columns - j < kPartsWidth ? g.columns - j : kPartsWidth;
        for (int64_t i = 0; i < g.rows; i += kPartsWidth, ahead += g.steps * lines * 64) {
            const int64_t rows = g.rows - i < kPartsWidth ? g.rows - i : kPartsWidth;
            float* c = g.c + i * g.ldc + j;
            for (int r = 0; r < rows; ++r) {
                __builtin_prefetch(c + r * g.ldc, 1);
                __builtin_prefetch(c + r * g.ldc + 16, 1);
            }
            FLB_TILE_ZERO(0);
            FLB_TILE_ZERO(1);
            FLB_TILE_ZERO(2);
            FLB_TILE_ZERO(3);
            multiply_steps(g.steps, g.a + i / kPartsWidth * panel, b, ahead, lines);
            constexpr int64_t kStride = kPartsWidth * sizeof(float);
            FLB_TILE_STORE(0, sums, kStride);
            FLB_TILE_STORE(1, sums + 16, kStride);
            FLB_TILE_STORE(2, sums + 16 * kPartsWidth, kStride);
            FLB_TILE_STORE(3, sums + 16 * kPartsWidth + 16, kStride);
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t v = 0; v < width; v += 16) {
                    const __mmask16 mask = width - v >= 16 ? 0xffff : __mmask16((1u << (width - v)) - 1);
                    float* to = c + r * g.ldc + v;
                    __m512 x = _mm512_load_ps(sums + r * kPartsWidth + v);
                    if (g.accumulate) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, to));
                    _mm512_mask_storeu_ps(to, mask, x);
                }
        }
    }
}

FLB_REGISTER_KERNEL(amx_parts_pack, &amx_parts_pack_impl);
FLB_REGISTER_KERNEL(amx_parts_block, &amx_parts_block_impl);

}  // namespace FLB_ISA
}  // namespace flb

#endif
