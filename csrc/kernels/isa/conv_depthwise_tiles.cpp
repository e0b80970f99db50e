// Depthwise windows of 3 x 3 that move by single steps, with vectors of channels: see conv_depthwise.cpp.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// A tile of outputs, its sums and the window fill the registers; what is read of the image is read once a tile.
constexpr int kTileRows = 2, kTileColumns = kVectorBytes == 64 ? 7 : 4;

// Which of a tile's reads, counted from its first output's first tap, lie in the image.
struct TileReads {
    int64_t row_low, row_high, column_low, column_high;
};

// What a tile's code has to look out for: nothing; rows, and the first and the last column, outside the image; or
// anything, also vectors of which not all channels exist.
enum class Edge { None, Sides, Any };

// A vector of channels, of which n exist, of a tile of R x C outputs. For kWeights outputs are gradients that are read,
// and `weights` sums that are added to.
template <class T, int R, int C, bool kWeights, Edge kEdge>
FLB_INLINE void tile_of_channels(const DepthwiseTiles& s, const TileReads& reads, const T* in, T* out,
                                 T* weights, const T* bias, int64_t n) {
    using V = Vector<T>;
    constexpr bool kSome = kEdge == Edge::Any;
    const auto get = [n](const T* p) __attribute__((always_inline)) {
        return !kSome || n >= kLanes<T> ? load(p) : load_first<T>(p, n);
    };
    const auto put = [n](T* p, V v) __attribute__((always_inline)) {
        if (!kSome || n >= kLanes<T>) store(p, v);
        else store_first(p, v, n);
    };
    V y[R][C], w[9];
    const V start = !kWeights && bias ? get(bias) : V{};
#pragma GCC unroll 2
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 7
        for (int j = 0; j < C; ++j) y[i][j] = kWeights ? get(out + i * s.out_row + j * s.out_column) : start;
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) w[t] = get(weights + t * s.channels);
#pragma GCC unroll 4
    for (int i = 0; i < R + 2; ++i) {
        if (kEdge == Edge::None || (i >= reads.row_low && i < reads.row_high)) {
            const T* from = in + i * s.image_row;
#pragma GCC unroll 9
            for (int j = 0; j < C + 2; ++j) {
                const bool may_miss = kSome || (kEdge == Edge::Sides && (j == 0 || j == C + 1));
                if (!may_miss || (j >= reads.column_low && j < reads.column_high)) {
                    const V x = get(from);
#pragma GCC unroll 3
                    for (int h = 0; h < 3; ++h)
#pragma GCC unroll 3
                        for (int k = 0; k < 3; ++k) {
                            if (i < h || i - h >= R || j < k || j - k >= C) continue;
                            if constexpr (kWeights) add_product<T>(w[h * 3 + k], x, y[i - h][j - k]);
                            else add_product<T>(y[i - h][j - k], x, w[h * 3 + k]);
                        }
                }
                from += s.image_column;
            }
        }
    }
    if constexpr (kWeights) {
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t) put(weights + t * s.channels, w[t]);
    } else {
#pragma GCC unroll 2
        for (int i = 0; i < R; ++i)
#pragma GCC unroll 7
            for (int j = 0; j < C; ++j) put(out + i * s.out_row + j * s.out_column, y[i][j]);
    }
}

template <class T, int R, int C, bool kWeights>
void tile(const DepthwiseTiles& s, int64_t row, int64_t column, T* weights, const T* bias) {
    constexpr int64_t L = kLanes<T>;
    const int64_t top = row + s.top, left = column + s.left;
    const T* in = static_cast<const T*>(s.image) + top * s.image_row + left * s.image_column;
    T* out = static_cast<T*>(s.out) + row * s.out_row + column * s.out_column;
    const TileReads reads{-top, s.image_rows - top, -left, s.image_columns - left};
    int64_t c = 0;
    const auto vectors = [&](auto edge, int64_t end) __attribute__((always_inline)) {
        for (; c < end; c += L)
            tile_of_channels<T, R, C, kWeights, decltype(edge)::value>(
                s, reads, in + c, out + c, weights + c, bias ? bias + c : nullptr, s.channels - c);
    };
    if constexpr (R == kTileRows) {
        const int64_t whole = s.channels / L * L;
        if (top >= 0 && left >= 0 && reads.row_high >= R + 2 && reads.column_high >= C + 2)
            vectors(std::integral_constant<Edge, Edge::None>(), whole);
        else if (left >= -1 && reads.column_high >= C + 1)
            vectors(std::integral_constant<Edge, Edge::Sides>(), whole);
    }
    vectors(std::integral_constant<Edge, Edge::Any>(), s.channels);
}

// Strips of columns, from the top to the bottom: what two tiles of a strip share is still in the nearest cache.
template <class T, bool kWeights>
void tiles(const DepthwiseTiles& s, int64_t begin, int64_t end, T* weights, const T* bias) {
    const int64_t strips = (s.columns + kTileColumns - 1) / kTileColumns;
    for (int64_t t = 0; t < strips; ++t) {
        const int64_t column = t * s.columns / strips, count = (t + 1) * s.columns / strips - column;
        with_constant<kTileColumns>(count, [&](auto c) {
            constexpr int C = decltype(c)::value;
            int64_t row = begin;
            for (; row + kTileRows <= end; row += kTileRows)
                tile<T, kTileRows, C, kWeights>(s, row, column, weights, bias);
            for (; row < end; ++row) tile<T, 1, C, kWeights>(s, row, column, weights, bias);
        });
    }
}

void conv_depthwise_tiles_impl(DType type, const DepthwiseTiles& s, int64_t begin, int64_t end,
                               const void* weights, const void* bias) {
    const auto run = [&](auto zero) {
        using T = decltype(zero);
        // The weights are not written.
        tiles<T, false>(s, begin, end, static_cast<T*>(const_cast<void*>(weights)),
                        static_cast<const T*>(bias));
    };
    type == DType::Float64 ? run(double()) : run(float());
}

void conv_depthwise_tiles_weight_impl(DType type, const DepthwiseTiles& s, int64_t begin, int64_t end,
                                      void* sums) {
    if (type == DType::Float64) tiles<double, true>(s, begin, end, static_cast<double*>(sums), nullptr);
    else tiles<float, true>(s, begin, end, static_cast<float*>(sums), nullptr);
}

FLB_REGISTER_KERNEL(conv_depthwise_tiles, &conv_depthwise_tiles_impl);
FLB_REGISTER_KERNEL(conv_depthwise_tiles_weight, &conv_depthwise_tiles_weight_impl);

}  // namespace FLB_ISA
}  // namespace flb
