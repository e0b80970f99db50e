// The innermost loops of convolutions: see Note [Convolution as rows] in conv_kernels.h.
#include "kernels/conv_kernels.h"

#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

// Outputs of a row at once. Without the second step of k that products of matrices have in flight, two more fit the
// registers; rows of 7, 14, 28 ... outputs are whole tiles then.
constexpr int kTile = kMr == 12 ? 14 : kMr;
template <class T>
constexpr int kPanel = kNv * kLanes<T>;

int64_t conv_panel_impl(DType type) { return type == DType::Float64 ? kPanel<double> : kPanel<float>; }

// Runs [begin, end) of the windows; the first piece starts from the bias, the others have sums of their own, which are
// then added to the outputs: shorter sums lose fewer digits.
struct Piece {
    int64_t begin, end;
    bool first;
};

// Rows outputs times one panel of channels. `ahead`: weights of the next piece, fetched a little at every step.
template <class T, int Rows>
[[gnu::noinline]] void row_tile(const ConvRowsJob& job, const Piece& piece, const T* in, const T* weights,
                                const T* bias, T* out, int64_t cols, const T* ahead, int64_t ahead_step) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    const int64_t step = job.output_step;
    const int64_t last = cols < L ? 0 : cols - L < L ? cols - L : L;  // of the second vector
    V sum[Rows][kNv];
#pragma GCC unroll 14
    for (int i = 0; i < Rows; ++i) {
        __builtin_prefetch(out + i * step, 1);
        __builtin_prefetch(out + i * step + last, 1);
        sum[i][0] = piece.first ? load(bias) : V{};
        sum[i][1] = piece.first ? load(bias + L) : V{};
    }
    for (int64_t r = piece.begin; r < piece.end; ++r) {
        const ConvRun run = job.runs[r];
        const T* w = weights + run.weight * kPanel<T>;
        RowPointers<T, Rows, false> x(in + run.input, job.input_step);
        for (int64_t k = 0; k < run.length; ++k) {
            const V w0 = load(w), w1 = load(w + L);
            __builtin_prefetch(ahead, 0, 2);
            ahead += ahead_step;
#pragma GCC unroll 14
            for (int i = 0; i < Rows; ++i) {
                const V y = broadcast(x.at(i, 0));
                add_product<T>(sum[i][0], y, w0);
                add_product<T>(sum[i][1], y, w1);
            }
            x.advance(1);
            w += kPanel<T>;
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < Rows; ++i) {
        T* to = out + i * step;
        if (!piece.first) {
            sum[i][0] += cols < L ? load_first<T>(to, cols) : load(to);
            sum[i][1] += last == L ? load(to + L) : last ? load_first<T>(to + L, last) : V{};
        }
        if (cols >= L) store(to, sum[i][0]);
        else store_first(to, sum[i][0], cols);
        if (last == L) store(to + L, sum[i][1]);
        else if (last) store_first(to + L, sum[i][1], last);
    }
}

// A piece of the windows at a time: its weights stay in the first cache level while all outputs take them up.
template <class T>
void rows_of(const ConvRowsJob& job) {
    const int64_t tiles = (job.positions + kTile - 1) / kTile;
    const int64_t ahead_step = (kPanel<T> + job.row_count * tiles - 1) / (job.row_count * tiles);
    for (int64_t c = 0; c < job.channels; c += kPanel<T>) {
        const int64_t cols = job.channels - c < kPanel<T> ? job.channels - c : kPanel<T>;
        const T* weights = static_cast<const T*>(job.weights) + c * job.depth;
        const T* bias = static_cast<const T*>(job.bias) + c;
        Piece piece{0, 0, true};
        do {
            int64_t depth = 0;
            for (; piece.end < job.run_count; ++piece.end) {
                const int64_t length = job.runs[piece.end].length;
                if (depth && depth + length > job.piece_depth) break;
                depth += length;
            }
            const T* next = weights;
            if (piece.end < job.run_count) next += job.runs[piece.end].weight * kPanel<T>;
            for (int64_t r = 0; r < job.row_count; ++r) {
                const T* in = static_cast<const T*>(job.rows[r].input);
                T* out = static_cast<T*>(job.rows[r].output) + c;
                // Tiles of nearly equal length: a last one of a single output would run at a fraction of the rate.
                int64_t done = 0;
                for (int64_t t = 0; t < tiles; ++t) {
                    const int64_t n = (job.positions - done + tiles - t - 1) / (tiles - t);
                    const T* ahead = next + (r * tiles + t) * ahead_step * depth;
                    with_constant<kTile>(n, [&](auto rows) {
                        row_tile<T, decltype(rows)::value>(job, piece, in + done * job.input_step, weights,
                                                           bias, out + done * job.output_step, cols, ahead,
                                                           ahead_step);
                    });
                    done += n;
                }
            }
            piece.begin = piece.end;
            piece.first = false;
        } while (piece.end < job.run_count);
    }
}

void conv_rows_impl(DType type, const ConvRowsJob& job) {
    if (type == DType::Float64) rows_of<double>(job);
    else rows_of<float>(job);
}

// ---- between layouts ------------------------------------------------------------------------------------------------

// n elements, of neighbours or of every other one; zeros follow.
template <class T, int Step>
FLB_INLINE Vector<T> load_steps(const T* p, int64_t n) {
    constexpr int L = kLanes<T>;
    const auto upto = [](const T* from, int64_t count) {
        return count >= L ? load(from) : count > 0 ? load_first<T>(from, count) : Vector<T>{};
    };
    if constexpr (Step == 1) {
        return upto(p, n);
    } else {
        const Vector<T> a = upto(p, 2 * n - 1), b = upto(p + L, 2 * n - 1 - L);
        typedef std::conditional_t<sizeof(T) == 8, int64_t, int32_t> I;
        static constexpr I kEven[16] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
        typedef I Lanes __attribute__((vector_size(kVectorBytes)));
        Lanes even;
        std::memcpy(&even, kEven, sizeof even);
        return __builtin_shuffle(a, b, even);
    }
}

// Blocks of ni rows of nj neighbours, or of every other one, become nj rows of ni neighbours.
template <class T, int Step>
void turn_block(int64_t ni, int64_t nj, const T* from, int64_t from_i, T* to, int64_t to_j) {
    constexpr int L = kLanes<T>;
    for (int64_t i0 = 0; i0 < ni; i0 += L)
        for (int64_t j0 = 0; j0 < nj; j0 += L) {
            const int64_t in = ni - i0 < L ? ni - i0 : L, jn = nj - j0 < L ? nj - j0 : L;
            Vector<T> rows[L];
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) {
                const T* row = from + (i0 + i) * from_i + j0 * Step;
                __builtin_prefetch(reinterpret_cast<const char*>(row) + 384);
                rows[i] = i >= in ? Vector<T>{} : load_steps<T, Step>(row, jn);
            }
            transpose(rows);
#pragma GCC unroll 16
            for (int j = 0; j < L; ++j) {
                T* column = to + (j0 + j) * to_j + i0;
                if (j >= jn) continue;
                if (in == L) store(column, rows[j]);
                else store_first(column, rows[j], in);
            }
        }
}

template <class T>
void transpose_copy(int64_t ni, int64_t nj, const T* from, int64_t from_i, int64_t from_j, T* to,
                    int64_t to_i, int64_t to_j) {
    constexpr int64_t kBlock = 16;
    const auto block = [&](int64_t i0, int64_t j0) {
        const int64_t in = ni - i0 < kBlock ? ni - i0 : kBlock, jn = nj - j0 < kBlock ? nj - j0 : kBlock;
        const T* f = from + i0 * from_i + j0 * from_j;
        T* t = to + i0 * to_i + j0 * to_j;
        if constexpr (kTurnsInRegisters<T>) {
            if (from_j == 1 && to_i == 1) return turn_block<T, 1>(in, jn, f, from_i, t, to_j);
            if (from_i == 1 && to_j == 1) return turn_block<T, 1>(jn, in, f, from_j, t, to_i);
            if (from_j == 2 && to_i == 1) return turn_block<T, 2>(in, jn, f, from_i, t, to_j);
        }
        for (int64_t j = 0; j < jn; ++j)
            for (int64_t i = 0; i < in; ++i) t[i * to_i + j * to_j] = f[i * from_i + j * from_j];
    };
    // Along the neighbours of the side whose steps across are longer: it comes from further away.
    const bool along_i = (from_i < to_i ? to_i : from_i) < (from_j < to_j ? to_j : from_j);
    for (int64_t x = 0; x < (along_i ? nj : ni); x += kBlock)
        for (int64_t y = 0; y < (along_i ? ni : nj); y += kBlock) along_i ? block(y, x) : block(x, y);
}

template <class T>
void copy_runs(int64_t count, int64_t length, const T* from, int64_t from_step, T* to, int64_t to_step) {
    constexpr int L = kLanes<T>;
    for (int64_t i = 0; i < count; ++i, from += from_step, to += to_step) {
        int64_t j = 0;
        for (; j + L <= length; j += L) store(to + j, load(from + j));
        if (j < length) store_first(to + j, load_first<T>(from + j, length - j), length - j);
    }
}

// As floats, which only carry the bits.
void conv_copy_runs_impl(int itemsize, int64_t count, int64_t length, const void* from, int64_t from_step,
                         void* to, int64_t to_step) {
    if (itemsize == 8)
        copy_runs(count, length, static_cast<const double*>(from), from_step, static_cast<double*>(to),
                  to_step);
    else
        copy_runs(count, length, static_cast<const float*>(from), from_step, static_cast<float*>(to),
                  to_step);
}

void conv_transpose_copy_impl(int itemsize, int64_t ni, int64_t nj, const void* from, int64_t from_i,
                              int64_t from_j, void* to, int64_t to_i, int64_t to_j) {
    if (itemsize == 8)
        transpose_copy(ni, nj, static_cast<const double*>(from), from_i, from_j, static_cast<double*>(to),
                       to_i, to_j);
    else
        transpose_copy(ni, nj, static_cast<const float*>(from), from_i, from_j, static_cast<float*>(to), to_i,
                       to_j);
}

FLB_REGISTER_KERNEL(conv_panel, &conv_panel_impl);
FLB_REGISTER_KERNEL(conv_rows, &conv_rows_impl);
FLB_REGISTER_KERNEL(conv_copy_runs, &conv_copy_runs_impl);
FLB_REGISTER_KERNEL(conv_transpose_copy, &conv_transpose_copy_impl);

}  // namespace FLB_ISA
}  // namespace flb
