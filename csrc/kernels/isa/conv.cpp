// The innermost loops of convolutions: see Note [Convolution as rows] in conv_kernels.h.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTile = 12;  // outputs of a row at once
#elif defined(__AVX2__)
constexpr int kTile = 6;
#else
constexpr int kTile = 4;
#endif
constexpr int kNv = 2;
template <class T>
constexpr int kPanel = kNv * kLanes<T>;

int64_t conv_panel_impl(DType type) { return type == DType::Float64 ? kPanel<double> : kPanel<float>; }

template <class T, int Rows>
FLB_INLINE void store_tile(const Vector<T> (&sum)[Rows][kNv], T* out, int64_t step, int64_t cols) {
    constexpr int L = kLanes<T>;
    if (cols == kPanel<T>) {
#pragma GCC unroll 12
        for (int i = 0; i < Rows; ++i)
            for (int j = 0; j < kNv; ++j) store(out + i * step + j * L, sum[i][j]);
        return;
    }
    alignas(64) T edge[Rows][kPanel<T>];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < kNv; ++j) store(&edge[i][j * L], sum[i][j]);
    for (int i = 0; i < Rows; ++i)
        for (int64_t j = 0; j < cols; ++j) out[i * step + j] = edge[i][j];
}

// Rows outputs times one panel of channels.
template <class T, int Rows>
[[gnu::noinline]] void row_tile(const ConvRowsJob& job, const T* in, const T* weights, const T* bias, T* out,
                                int64_t cols) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    const int64_t step = job.input_step;
    V sum[Rows][kNv];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
        sum[i][0] = load(bias);
        sum[i][1] = load(bias + L);
    }
    for (int64_t r = 0; r < job.run_count; ++r) {
        const ConvRun run = job.runs[r];
        const T* w = weights + run.weight * kPanel<T>;
        // Three rows share a pointer: the addresses are pointer, pointer + step, pointer + 2 * step.
        const T* base[(Rows + 2) / 3];
#pragma GCC unroll 4
        for (int i = 0; i < (Rows + 2) / 3; ++i) base[i] = in + run.input + 3 * i * step;
        for (int64_t k = 0; k < run.length; ++k) {
            const V w0 = load(w), w1 = load(w + L);
#pragma GCC unroll 12
            for (int i = 0; i < Rows; ++i) {
                const V x = broadcast(base[i / 3][i % 3 * step + k]);
                sum[i][0] = multiply_add<T>(x, w0, sum[i][0]);
                sum[i][1] = multiply_add<T>(x, w1, sum[i][1]);
            }
            w += kPanel<T>;
        }
    }
    store_tile<T, Rows>(sum, out, job.output_step, cols);
}

template <class T>
void rows_of(const ConvRowsJob& job) {
    const int64_t tiles = (job.positions + kTile - 1) / kTile;
    for (int64_t c = 0; c < job.channels; c += kPanel<T>) {
        const int64_t cols = job.channels - c < kPanel<T> ? job.channels - c : kPanel<T>;
        const T* weights = static_cast<const T*>(job.weights) + c * job.depth;
        const T* bias = static_cast<const T*>(job.bias) + c;
        for (int64_t r = 0; r < job.row_count; ++r) {
            const T* in = static_cast<const T*>(job.rows[r].input);
            T* out = static_cast<T*>(job.rows[r].output) + c;
            // Tiles of nearly equal length: a last one of a single output would run at a fraction of the rate.
            int64_t done = 0;
            for (int64_t t = 0; t < tiles; ++t) {
                const int64_t n = (job.positions - done + tiles - t - 1) / (tiles - t);
                with_constant<kTile>(n, [&](auto rows) {
                    row_tile<T, decltype(rows)::value>(job, in + done * job.input_step, weights, bias,
                                                       out + done * job.output_step, cols);
                });
                done += n;
            }
        }
    }
}

void conv_rows_impl(DType type, const ConvRowsJob& job) {
    if (type == DType::Float64) rows_of<double>(job);
    else rows_of<float>(job);
}

// ---- every channel its own window ---------------------------------------------------------------------------------

template <class T, int Rows>
FLB_INLINE void depthwise_tile(const ConvRowsJob& job, const T* in, const T* weights, const T* bias, T* out,
                               int64_t weight_step, int64_t cols) {
    using V = Vector<T>;
    V sum[Rows];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) sum[i] = load(bias);
    for (int64_t r = 0; r < job.run_count; ++r) {
        const V w = load(weights + job.runs[r].weight * weight_step);
        const T* x = in + job.runs[r].input;
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) sum[i] = multiply_add<T>(load(x + i * job.input_step), w, sum[i]);
    }
    if (cols >= kLanes<T>) {
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) store(out + i * job.output_step, sum[i]);
    } else {
        for (int i = 0; i < Rows; ++i) {
            alignas(64) T edge[kLanes<T>];
            store(edge, sum[i]);
            for (int64_t j = 0; j < cols; ++j) out[i * job.output_step + j] = edge[j];
        }
    }
}

template <class T>
void depthwise_of(const ConvRowsJob& job) {
    const int64_t weight_step = (job.channels + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
    for (int64_t r = 0; r < job.row_count; ++r)
        for (int64_t c = 0; c < job.channels; c += kLanes<T>) {
            const T* in = static_cast<const T*>(job.rows[r].input) + c;
            const T* weights = static_cast<const T*>(job.weights) + c;
            const T* bias = static_cast<const T*>(job.bias) + c;
            T* out = static_cast<T*>(job.rows[r].output) + c;
            int64_t p = 0;
            for (; p + 4 <= job.positions; p += 4)
                depthwise_tile<T, 4>(job, in + p * job.input_step, weights, bias, out + p * job.output_step,
                                     weight_step, job.channels - c);
            for (; p < job.positions; ++p)
                depthwise_tile<T, 1>(job, in + p * job.input_step, weights, bias, out + p * job.output_step,
                                     weight_step, job.channels - c);
        }
}

void conv_depthwise_rows_impl(DType type, const ConvRowsJob& job) {
    if (type == DType::Float64) depthwise_of<double>(job);
    else depthwise_of<float>(job);
}

// ---- gradient of the weights ----------------------------------------------------------------------------------------

// Rows channels of the gradient times one panel of a run.
template <class T, int Rows>
[[gnu::noinline]] void weight_tile(const ConvWeightJob& job, int64_t channel, int64_t column, int64_t cols) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>;
    V sum[Rows][kNv] = {};
    for (int64_t r = 0; r < job.row_count; ++r) {
        const T* x = static_cast<const T*>(job.rows[r].input) + job.run.input + column;
        const T* g = static_cast<const T*>(job.rows[r].output) + channel;
        for (int64_t p = 0; p < job.positions; ++p) {
            const V x0 = load(x), x1 = load(x + L);
#pragma GCC unroll 12
            for (int i = 0; i < Rows; ++i) {
                const V y = broadcast(g[i]);
                sum[i][0] = multiply_add<T>(y, x0, sum[i][0]);
                sum[i][1] = multiply_add<T>(y, x1, sum[i][1]);
            }
            x += job.input_step;
            g += job.grad_step;
        }
    }
    alignas(64) T edge[Rows][kPanel<T>];
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
        for (int j = 0; j < kNv; ++j) store(&edge[i][j * L], sum[i][j]);
    T* out = static_cast<T*>(job.grad_weight) + channel * job.ld + job.run.weight + column;
    for (int i = 0; i < Rows; ++i)
        for (int64_t j = 0; j < cols; ++j) out[i * job.ld + j] += edge[i][j];
}

template <class T>
void weight_of(const ConvWeightJob& job) {
    const int64_t tiles = (job.channels + kTile - 1) / kTile;
    for (int64_t column = 0; column < job.run.length; column += kPanel<T>) {
        const int64_t left = job.run.length - column, cols = left < kPanel<T> ? left : kPanel<T>;
        int64_t done = 0;
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t n = (job.channels - done + tiles - t - 1) / (tiles - t);
            with_constant<kTile>(
                n, [&](auto rows) { weight_tile<T, decltype(rows)::value>(job, done, column, cols); });
            done += n;
        }
    }
}

void conv_weight_rows_impl(DType type, const ConvWeightJob& job) {
    if (type == DType::Float64) weight_of<double>(job);
    else weight_of<float>(job);
}

template <class T, int Taps>
FLB_INLINE void depthwise_weight_tile(const ConvRowsJob& job, const ConvRun* runs, int64_t c, T* grad_weight,
                                      int64_t weight_step) {
    using V = Vector<T>;
    V sum[Taps] = {};
    for (int64_t r = 0; r < job.row_count; ++r) {
        const T* x = static_cast<const T*>(job.rows[r].input) + c;
        const T* g = static_cast<const T*>(job.rows[r].output) + c;
        for (int64_t p = 0; p < job.positions; ++p) {
            const V y = load(g + p * job.output_step);
#pragma GCC unroll 8
            for (int t = 0; t < Taps; ++t)
                sum[t] = multiply_add<T>(load(x + p * job.input_step + runs[t].input), y, sum[t]);
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < Taps; ++t) {
        T* out = grad_weight + runs[t].weight * weight_step + c;
        store(out, load(out) + sum[t]);
    }
}

template <class T>
void depthwise_weight_of(const ConvRowsJob& job, T* grad_weight) {
    const int64_t weight_step = (job.channels + kPanel<T> - 1) / kPanel<T> * kPanel<T>;
    for (int64_t c = 0; c < job.channels; c += kLanes<T>)
        for (int64_t t = 0; t < job.run_count; t += 8)
            with_constant<8>(job.run_count - t < 8 ? job.run_count - t : 8, [&](auto taps) {
                depthwise_weight_tile<T, decltype(taps)::value>(job, job.runs + t, c, grad_weight,
                                                                weight_step);
            });
}

void conv_depthwise_weight_impl(DType type, const ConvRowsJob& job, void* grad_weight) {
    if (type == DType::Float64) depthwise_weight_of(job, static_cast<double*>(grad_weight));
    else depthwise_weight_of(job, static_cast<float*>(grad_weight));
}

// ---- between layouts ------------------------------------------------------------------------------------------------

template <class T>
void transpose_copy(int64_t ni, int64_t nj, const T* from, int64_t from_i, int64_t from_j, T* to,
                    int64_t to_i, int64_t to_j) {
    constexpr int64_t kBlock = 16;
    for (int64_t i0 = 0; i0 < ni; i0 += kBlock)
        for (int64_t j0 = 0; j0 < nj; j0 += kBlock) {
            const int64_t in = ni - i0 < kBlock ? ni - i0 : kBlock, jn = nj - j0 < kBlock ? nj - j0 : kBlock;
            const T* f = from + i0 * from_i + j0 * from_j;
            T* t = to + i0 * to_i + j0 * to_j;
            if (in == kBlock && to_i == 1) {
                for (int64_t j = 0; j < jn; ++j)
                    for (int64_t i = 0; i < kBlock; ++i) t[i + j * to_j] = f[i * from_i + j * from_j];
            } else {
                for (int64_t j = 0; j < jn; ++j)
                    for (int64_t i = 0; i < in; ++i) t[i * to_i + j * to_j] = f[i * from_i + j * from_j];
            }
        }
}

void conv_transpose_copy_impl(int itemsize, int64_t ni, int64_t nj, const void* from, int64_t from_i,
                              int64_t from_j, void* to, int64_t to_i, int64_t to_j) {
    if (itemsize == 8)
        transpose_copy(ni, nj, static_cast<const uint64_t*>(from), from_i, from_j, static_cast<uint64_t*>(to),
                       to_i, to_j);
    else
        transpose_copy(ni, nj, static_cast<const uint32_t*>(from), from_i, from_j, static_cast<uint32_t*>(to),
                       to_i, to_j);
}

FLB_REGISTER_KERNEL(conv_panel, &conv_panel_impl);
FLB_REGISTER_KERNEL(conv_rows, &conv_rows_impl);
FLB_REGISTER_KERNEL(conv_depthwise_rows, &conv_depthwise_rows_impl);
FLB_REGISTER_KERNEL(conv_weight_rows, &conv_weight_rows_impl);
FLB_REGISTER_KERNEL(conv_depthwise_weight, &conv_depthwise_weight_impl);
FLB_REGISTER_KERNEL(conv_transpose_copy, &conv_transpose_copy_impl);

}  // namespace FLB_ISA
}  // namespace flb
