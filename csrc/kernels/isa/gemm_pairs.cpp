// The product of bfloat16 by pairs: see Note [Panels of pairs]. Compiled for AVX-512 alone; called where the processor has
// AVX512_BF16 too.
#include "kernels/bfloat16_gemm.h"
#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/transpose.h"

#if defined(__AVX512BW__)
#include "kernels/isa/bfloat16_panels.h"

namespace flb {
namespace FLB_ISA {

static_assert(kPairsRows == kMr && kPairsColumns == kNr<float>);

struct Pair {
    uint16_t even, odd;
};

constexpr int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }

// From rows along k: blocks are turned in registers.
template <int64_t kWidth>
void turn_pairs(const uint16_t* source, int64_t stride, int64_t count, int64_t k, float* panel) {
    const int64_t pairs = (k + 1) / 2;
    for (int64_t i = 0; i < count; i += kWidth, panel += kWidth * pairs)
        for (int64_t half = 0; half < kWidth; half += 16) {
            const int64_t used = least(least(kWidth - half, 16), count - i - half);
            for (int64_t first = 0; first < pairs; first += 16) {
                Vector<float> rows[16];
                rows_along_k(source + (i + half) * stride + 2 * first, stride, used, k - 2 * first, rows);
                transpose(rows);
#pragma GCC unroll 16
                for (int s = 0; s < 16; ++s)
                    if (first + s < pairs)
                        store_first(panel + (first + s) * kWidth + half, rows[s], least(kWidth - half, 16));
            }
        }
}

// Two steps of k, side by side, of a panel's rows or columns; `lanes` of them exist.
template <int64_t kWidth>
FLB_INLINE void store_steps(const uint16_t* even, const uint16_t* odd, int64_t lanes, float* to) {
    const __mmask32 mask = lanes >= 32 ? ~__mmask32(0) : (__mmask32(1) << lanes) - 1;
    const __m512i x = _mm512_maskz_loadu_epi16(mask, even),
                  y = odd ? _mm512_maskz_loadu_epi16(mask, odd) : _mm512_setzero_si512();
    const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39,
                                           7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    store_first(to, (Vector<float>)_mm512_permutex2var_epi16(x, order, y), least(kWidth, 16));
    if constexpr (kWidth > 16) {
        const __m512i upper = _mm512_add_epi16(order, _mm512_set1_epi16(16));
        store(to + 16, (Vector<float>)_mm512_permutex2var_epi16(x, upper, y));
    }
}

// From neighbouring rows or columns. Panels are filled several at once: together they take whole cache lines of the source.
template <int64_t kWidth>
void pair_steps(const uint16_t* source, int64_t k_stride, int64_t count, int64_t k, float* panels) {
    constexpr int64_t kTogether = 96;
    const int64_t pairs = (k + 1) / 2;
    for (int64_t first = 0; first < count; first += kTogether) {
        const int64_t end = least(first + kTogether, count);
        for (int64_t p = 0; p < pairs; ++p) {
            const uint16_t *even = source + 2 * p * k_stride,
                           *odd = 2 * p + 1 < k ? even + k_stride : nullptr;
            for (int64_t i = first; i < end; i += kWidth)
                store_steps<kWidth>(even + i, odd ? odd + i : nullptr, least(kWidth, count - i),
                                    panels + i * pairs + p * kWidth);
        }
    }
}

template <int64_t kWidth>
void pack_pairs(const uint16_t* source, int64_t stride, int64_t k_stride, int64_t count, int64_t k,
                float* panels) {
    if (k_stride == 1) turn_pairs<kWidth>(source, stride, count, k, panels);
    else pair_steps<kWidth>(source, k_stride, count, k, panels);
}

void pairs_pack_impl(bool is_a, const void* source, int64_t stride, int64_t k_stride, int64_t count,
                     int64_t k, void* panels) {
    const auto pack = is_a ? pack_pairs<kPairsRows> : pack_pairs<kPairsColumns>;
    pack(static_cast<const uint16_t*>(source), stride, k_stride, count, k, static_cast<float*>(panels));
}

FLB_INLINE Vector<float> both(const Pair& p) {
    int bits;
    std::memcpy(&bits, &p, sizeof bits);
    return (Vector<float>)_mm512_set1_epi32(bits);
}
// sum += a.even * b.even + a.odd * b.odd
FLB_INLINE void add_products(Vector<float>& sum, Vector<float> a, Vector<float> b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

struct PairsTile {
    int64_t pairs;
    const Pair* a;
    int64_t a_stride;
    const float* b;
    const char* ahead;  // this tile's share of the panels of B to come
    int64_t ahead_step;
    float* sums;  // of the pieces of k before and after this one
    bool first, last;
    const BFloat16Block* block;
    uint16_t* c;
    __mmask32 columns;  // of c
};

// Both halves of 32 columns rounded to bfloat16.
FLB_INLINE __m512i narrow(Vector<float> left, Vector<float> right) {
    __m512i both;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(right), "v"(left));
    return both;
}
FLB_INLINE void finish_row(const PairsTile& t, int row, Vector<float> left, Vector<float> right) {
    const BFloat16Block& g = *t.block;
    uint16_t* c = t.c + row * g.ldc;
    left *= broadcast(g.alpha);
    right *= broadcast(g.alpha);
    if (g.beta != 0) {
        const __m512i before = _mm512_maskz_loadu_epi16(t.columns, c);
        const auto widened = [&](__m256i x) {
            return (Vector<float>)_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16);
        };
        left += broadcast(g.beta) * widened(_mm512_castsi512_si256(before));
        right += broadcast(g.beta) * widened(_mm512_extracti64x4_epi64(before, 1));
    }
    _mm512_mask_storeu_epi16(c, t.columns, narrow(left, right));
}

template <int Rows, bool kPanels>
FLB_INLINE void pairs_step(Vector<float> (&sum)[Rows][2], const RowPointers<Pair, Rows, kPanels>& a, int k,
                           const float* b) {
    const Vector<float> left = load(b), right = load(b + 16);
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
        const Vector<float> x = both(a.at(i, k));
        add_products(sum[i][0], x, left);
        add_products(sum[i][1], x, right);
    }
}

template <int Rows, bool kPanels>
[[gnu::noinline]] void pairs_tile(const PairsTile& t) {
    constexpr int kStep = int(kPairsColumns);
    Vector<float> sum[Rows][2] = {};
    RowPointers<Pair, Rows, kPanels> a(t.a, t.a_stride);
    const float* b = t.b;
    const char* ahead = t.ahead;
    int64_t k = t.pairs;
    for (; k >= 2; k -= 2) {
        pairs_step(sum, a, 0, b);
        pairs_step(sum, a, 1, b + kStep);
        __builtin_prefetch(ahead, 0, 2);
        ahead += t.ahead_step;
        a.advance(2);
        b += 2 * kStep;
    }
    if (k) pairs_step(sum, a, 0, b);
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
        float* to = t.sums + i * kStep;
        if (!t.first) {
            sum[i][0] += load(to);
            sum[i][1] += load(to + 16);
        }
        if (t.last) {
            finish_row(t, i, sum[i][0], sum[i][1]);
        } else {
            store(to, sum[i][0]);
            store(to + 16, sum[i][1]);
        }
    }
}

template <bool kPanels>
void pairs_block_of(const BFloat16Block& g) {
    // A piece of B's panel takes two thirds of the first cache level.
    constexpr int64_t kPiece = 256;
    alignas(64) float sums[kPairsMostRows * kPairsColumns];
    const int64_t pairs = (g.k + 1) / 2, tiles = (g.rows + kMr - 1) / kMr;
    const float* panel = reinterpret_cast<const float*>(g.b);
    PairsTile t;
    t.block = &g;
    t.a_stride = g.a_stride / 2;
    t.ahead_step = 2 * kPairsColumns * int64_t(sizeof(float)) / tiles;
    for (int64_t j = 0; j < g.columns; j += kPairsColumns, panel += pairs * kPairsColumns) {
        uint16_t* c = static_cast<uint16_t*>(g.c) + j;
        for (int64_t i = 0; i < g.rows; ++i) __builtin_prefetch(c + i * g.ldc, 1);
        t.columns = g.columns - j >= 32 ? ~__mmask32(0) : (__mmask32(1) << (g.columns - j)) - 1;
        for (int64_t p = 0; p < pairs; p += kPiece) {
            t.pairs = pairs - p < kPiece ? pairs - p : kPiece;
            t.b = panel + p * kPairsColumns;
            t.first = p == 0;
            t.last = p + kPiece >= pairs;
            const char* ahead = reinterpret_cast<const char*>(t.b + t.pairs * kPairsColumns);
            for (int64_t i = 0, tile = 0; i < g.rows; ++tile) {
                // In place, tiles are of nearly equal height: short ones would wait for their own sums.
                const int64_t left = tiles - tile, rows = !kPanels           ? (g.rows - i + left - 1) / left
                                                          : g.rows - i < kMr ? g.rows - i
                                                                             : kMr;
                t.a = static_cast<const Pair*>(g.a) + (kPanels ? i * pairs + p * kMr : i * t.a_stride + p);
                t.ahead = ahead + tile * (t.pairs / 2) * t.ahead_step;
                t.sums = sums + i * kPairsColumns;
                t.c = c + i * g.ldc;
                with_constant<kMr>(rows, [&](auto n) { pairs_tile<decltype(n)::value, kPanels>(t); });
                i += rows;
            }
        }
    }
}

void pairs_block_impl(const BFloat16Block& g) {
    return g.a_stride ? pairs_block_of<false>(g) : pairs_block_of<true>(g);
}

FLB_REGISTER_KERNEL(pairs_pack, &pairs_pack_impl);
FLB_REGISTER_KERNEL(pairs_block, &pairs_block_impl);

}  // namespace FLB_ISA
}  // namespace flb

#endif
