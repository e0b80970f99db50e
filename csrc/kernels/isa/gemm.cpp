// The innermost loops of the matrix product: see gemm_kernels.h for the scheme.
#include "kernels/gemm_kernels.h"

#include <unistd.h>

#include "kernels/isa/gemm_tile.h"

namespace flb {
namespace FLB_ISA {

// The last vector of a tile's columns. With masks, it can be read in place wherever it ends; without, only from panels,
// which are padded.
#if defined(__AVX512F__)
template <class T>
constexpr bool kAnyEdge = sizeof(T) >= 4;
#else
template <class T>
constexpr bool kAnyEdge = false;
#endif
template <class T>
struct LastVector {
    int64_t n;
#if defined(__AVX512F__)
    uint16_t mask = uint16_t(0xffffu >> (16 - (n < 16 ? n : 16)));
#endif
    // left may be negative where edges are padded: there nothing is masked.
    FLB_INLINE explicit LastVector(int64_t left) : n(left < 0 ? 0 : left < kLanes<T> ? left : kLanes<T>) {}
    FLB_INLINE Vector<T> read(const T* p) const {
#if defined(__AVX512F__)
        if constexpr (sizeof(T) == 4) return (Vector<T>)_mm512_maskz_loadu_ps(mask, p);
        if constexpr (sizeof(T) == 8) return (Vector<T>)_mm512_maskz_loadu_pd(__mmask8(mask), p);
#endif
        return load(p);
    }
};

// A panel of B takes two thirds of the first cache level, and A's rows stream through the rest.
int depth_of_blocks() {
    int64_t bytes = 32 << 10;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    const int64_t reported = sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (reported >= 16 << 10 && reported <= 512 << 10) bytes = reported;
#endif
    const int64_t depth = bytes * 2 / 3 / (kNv * kVectorBytes) / 32 * 32;
    return int(depth < 128 ? 128 : depth > 384 ? 384 : depth);
}

// Bytes of B that are read again and again from the second cache level without loss.
constexpr int64_t kSmallB = 256 << 10;

template <class T>
GemmShape shape_of() {
    static const int depth = depth_of_blocks();
    return {kMr, kNr<T>, depth, 16 * kMr, int(4096 / kNr<T> * kNr<T>), kAnyEdge<T> ? 1 : kNr<T>};
}

GemmShape gemm_shape_impl(PanelType type) {
    switch (type) {
        case PanelType::F32: return shape_of<float>();
        case PanelType::F64: return shape_of<double>();
        case PanelType::I16: return shape_of<uint16_t>();
        case PanelType::I32: return shape_of<uint32_t>();
        case PanelType::I64: return shape_of<uint64_t>();
    }
    return {};
}

// What one tile multiplies: `rows` of A by some vectors of columns of B.
template <class T>
struct TileJob {
    int64_t kc;
    const T* a;
    int64_t a_stride;  // between rows; unused for panels
    const T* b;
    int64_t b_stride;  // between steps of k
    const T* ahead;    // what is read later, fetched into the second cache level a little at every other step
    int64_t ahead_step;
    T* c;
    int64_t ldc, cols;
    bool accumulate;
};

template <class T, int Rows, int Nv, bool kPanels>
FLB_INLINE void tile_step(Vector<T> (&sum)[Rows][Nv], const RowPointers<T, Rows, kPanels>& a, int k,
                          const T* b, const LastVector<T>& last) {
    constexpr int L = kLanes<T>;
    if constexpr (Nv <= kNv) {
        Vector<T> columns[Nv];
#pragma GCC unroll 8
        for (int j = 0; j < Nv; ++j) columns[j] = j < Nv - 1 ? load(b + j * L) : last.read(b + j * L);
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) {
            const Vector<T> x = broadcast(a.at(i, k));
#pragma GCC unroll 8
            for (int j = 0; j < Nv; ++j) add_product<T>(sum[i][j], x, columns[j]);
        }
    } else {
        Vector<T> x[Rows];
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i) x[i] = broadcast(a.at(i, k));
#pragma GCC unroll 8
        for (int j = 0; j < Nv; ++j) {
            const Vector<T> column = j < Nv - 1 ? load(b + j * L) : last.read(b + j * L);
#pragma GCC unroll 12
            for (int i = 0; i < Rows; ++i) add_product<T>(sum[i][j], x[i], column);
        }
    }
}

// kFirst: the first tile that reads these columns in place, and fetches the rows of B to come.
template <class T, int Rows, int Nv, bool kPanels, bool kFirst>
[[gnu::noinline]] void tile(const TileJob<T>& job) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    T* const c = job.c;
    const int64_t ldc = job.ldc, cols = job.cols, b_stride = job.b_stride;
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < Nv * kVectorBytes; j += 64)
            __builtin_prefetch(reinterpret_cast<char*>(c + i * ldc) + j, 1);
    V sum[Rows][Nv] = {};
    RowPointers<T, Rows, kPanels> a(job.a, job.a_stride);
    const T* b = job.b;
    const T* ahead = job.ahead;
    const LastVector<T> last(cols - (Nv - 1) * L);
    const auto fetch_rows = [&] {
        if constexpr (kFirst) {
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(reinterpret_cast<const char*>(ahead) + 64, 0, 2);
            ahead += b_stride;
        }
    };
    int64_t k = job.kc;
    for (; k >= 2; k -= 2) {
        tile_step<T, Rows, Nv, kPanels>(sum, a, 0, b, last);
        fetch_rows();
        tile_step<T, Rows, Nv, kPanels>(sum, a, 1, b + b_stride, last);
        fetch_rows();
        if constexpr (!kFirst) {
            __builtin_prefetch(ahead, 0, 2);
            ahead += job.ahead_step;
        }
        a.advance(2);
        b += 2 * b_stride;
    }
    if (k) tile_step<T, Rows, Nv, kPanels>(sum, a, 0, b, last);
    if (cols >= Nv * L) {
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < Nv; ++j) {
                T* to = c + i * ldc + j * L;
                store(to, job.accumulate ? sum[i][j] + load(to) : sum[i][j]);
            }
        return;
    }
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Nv; ++j) {
            T* to = c + i * ldc + j * L;
            const int64_t n = cols - j * L < L ? cols - j * L : L;
            if (n > 0) store_first(to, job.accumulate ? sum[i][j] + load_first<T>(to, n) : sum[i][j], n);
        }
}

// Columns [j, j + Nv vectors) of rows [begin, end) of the block.
template <class T, int Nv, bool kPanels>
void columns_of(const GemmBlock& g, int64_t j, int64_t begin, int64_t end) {
    constexpr int kMost = Nv <= kNv ? kMr : kMr * kNv / Nv;
    constexpr int64_t kStepsAhead = 16;
    const int64_t tiles = (g.m + kMr - 1) / kMr;
    TileJob<T> job;
    job.kc = g.kc;
    job.a_stride = g.a_stride;
    job.b_stride = g.b_stride ? g.b_stride : kNr<T>;
    job.b = static_cast<const T*>(g.b) + (g.b_stride ? j : j * g.kc);
    job.ldc = g.ldc;
    job.cols = g.n - j;
    job.accumulate = g.accumulate;
    job.ahead_step = 2 * kNr<T> / tiles;
    for (int64_t i = begin; i < end;) {
        // Rows in place go into tiles of nearly equal height: one of a single row would wait for its own sums.
        const int64_t left = (end - i + kMr - 1) / kMr, rows = !kPanels        ? (end - i + left - 1) / left
                                                               : end - i < kMr ? end - i
                                                                               : kMr;
        job.a = static_cast<const T*>(g.a) + i * (kPanels ? g.kc : g.a_stride);
        const bool first = g.b_stride && i == begin;
        // Else this tile's share of the next panel.
        job.ahead =
            job.b + (first ? kStepsAhead * g.b_stride : kNr<T> * g.kc + i / kMr * (kNr<T> * g.kc / tiles));
        job.c = static_cast<T*>(g.c) + i * g.ldc + j;
        with_constant<kMost>(rows, [&](auto n) {
            if (first) tile<T, decltype(n)::value, Nv, kPanels, true>(job);
            else tile<T, decltype(n)::value, Nv, kPanels, false>(job);
        });
        i += rows;
    }
}

template <class T, bool kPanels>
void block(const GemmBlock& g) {
    constexpr int L = kLanes<T>;
    int64_t j = 0;
    if (g.b_stride) {
        // In place, few rows take wide tiles: long stretches of every row of B.
        if (8 * g.m <= kMr * kNv)
            for (; j + 8 * L <= g.n; j += 8 * L) columns_of<T, 8, kPanels>(g, j, 0, g.m);
        if (4 * g.m <= kMr * kNv)
            for (; j + 4 * L <= g.n; j += 4 * L) columns_of<T, 4, kPanels>(g, j, 0, g.m);
    }
    // Columns outermost, a panel of B stays in the first cache level. Where all of B is small, rows are: C is written
    // along its rows.
    const bool by_rows = !g.b_stride && g.kc * g.n * int64_t(sizeof(T)) <= kSmallB;
    const int64_t rows = by_rows ? kMr : g.m, start = j;
    for (int64_t i = 0; i < g.m; i += rows) {
        const int64_t end = g.m - i < rows ? g.m : i + rows;
        for (j = start; j < g.n; j += kNr<T>) {
            if (g.n - j <= L) columns_of<T, 1, kPanels>(g, j, i, end);
            else columns_of<T, kNv, kPanels>(g, j, i, end);
        }
    }
}

template <class T>
void block_of_panels(const GemmBlock& g) {
    for (int64_t j = 0; j < g.n; j += kNr<T>) columns_of<T, kNv, true>(g, j, 0, g.m);
}

void gemm_blocks_impl(PanelType type, const GemmBlock& g) {
    switch (type) {
        case PanelType::F32: return g.a_stride ? block<float, false>(g) : block<float, true>(g);
        case PanelType::F64: return g.a_stride ? block<double, false>(g) : block<double, true>(g);
        case PanelType::I16: return block_of_panels<uint16_t>(g);
        case PanelType::I32: return block_of_panels<uint32_t>(g);
        case PanelType::I64: return block_of_panels<uint64_t>(g);
    }
}

FLB_REGISTER_KERNEL(gemm_shape, &gemm_shape_impl);
FLB_REGISTER_KERNEL(gemm_blocks, &gemm_blocks_impl);

}  // namespace FLB_ISA
}  // namespace flb
