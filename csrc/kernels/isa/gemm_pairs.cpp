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

// From neighbouring rows or columns. Panels are filled several at once: together they take whole cache lines of the source.
template <int64_t kWidth>
void pair_steps(const uint16_t* source, int64_t k_stride, int64_t count, int64_t k, float* panels) {
    constexpr int64_t kTogether = 96;
    const int64_t pairs = (k + 1) / 2;
    for (int64_t first = 0; first < count; first += kTogether)
        for (int64_t p = 0; p < pairs; ++p)
            for (int64_t i = first; i < least(first + kTogether, count); i += kWidth)
#pragma GCC unroll 2
                for (int64_t half = 0; half < kWidth; half += 16) {
                    const int64_t lanes = least(kWidth - half, 16), left = count - i - half;
                    const Vector<float> x = pair_of_steps(source + 2 * p * k_stride + i + half, k_stride,
                                                          left < 0 ? 0 : least(left, lanes), k - 2 * p);
                    store_first(panels + i * pairs + p * kWidth + half, x, lanes);
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
    float* sums;
    bool accumulate;
};

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
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
            float* to = t.sums + i * kStep + 16 * j;
            store(to, t.accumulate ? load(to) + sum[i][j] : sum[i][j]);
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
    t.a_stride = g.a_stride / 2;
    t.ahead_step = 2 * kPairsColumns * int64_t(sizeof(float)) / tiles;
    for (int64_t j = 0; j < g.columns; j += kPairsColumns, panel += pairs * kPairsColumns) {
        for (int64_t p = 0; p < pairs; p += kPiece) {
            t.pairs = pairs - p < kPiece ? pairs - p : kPiece;
            t.b = panel + p * kPairsColumns;
            t.accumulate = p > 0;
            const char* ahead = reinterpret_cast<const char*>(t.b + t.pairs * kPairsColumns);
            for (int64_t i = 0, tile = 0; i < g.rows; ++tile) {
                // In place, tiles are of nearly equal height: short ones would wait for their own sums.
                const int64_t left = tiles - tile, rows = !kPanels           ? (g.rows - i + left - 1) / left
                                                          : g.rows - i < kMr ? g.rows - i
                                                                             : kMr;
                t.a = static_cast<const Pair*>(g.a) + (kPanels ? i * pairs + p * kMr : i * t.a_stride + p);
                t.ahead = ahead + tile * (t.pairs / 2) * t.ahead_step;
                t.sums = sums + i * kPairsColumns;
                with_constant<kMr>(rows, [&](auto n) { pairs_tile<decltype(n)::value, kPanels>(t); });
                i += rows;
            }
        }
        finish_sums(sums, g.rows, g.columns - j < kPairsColumns ? g.columns - j : kPairsColumns, g.alpha,
                    g.beta, static_cast<uint16_t*>(g.c) + j, g.ldc);
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
