#include "kernels/recurrent.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/parallel.h"
#include "kernels/blas.h"
#include "kernels/packed_gemm.h"

namespace flb {

FLB_DEFINE_KERNEL(recurrent_gates);
FLB_DEFINE_KERNEL(recurrent_gates_backward);
FLB_DEFINE_KERNEL(recurrent_column_sums);

namespace {

// Fewer steps than this do not pay for packing the weights.
constexpr int64_t kPackedSteps = 3;

template <class V>
V* at(V* data, int64_t elements, DType dtype) {
    using Byte = std::conditional_t<std::is_const_v<V>, const char, char>;
    return reinterpret_cast<V*>(reinterpret_cast<Byte*>(data) + elements * itemsize(dtype));
}

// What forward and backward share: sizes, the order of the steps, and products by the recurrent weights.
class Steps {
  public:
    Steps(const RecurrentLayer& layer, bool backward)
        : l(layer),
          backward_(backward),
          type_(layer.dtype == DType::Float32 ? PanelType::F32 : PanelType::F64),
          shape_(gemm_shape(type_)),
          depth_(backward ? weight_gates(l.mode) * l.hidden : l.hidden),
          products_(backward ? 1 : weight_gates(l.mode)),
          blocks_(ceil_div(l.hidden, shape_.nr)),
          packs_(l.steps >= kPackedSteps) {}
    int64_t workspace_bytes() const {
        const int64_t copied = packs_ && !backward_ ? l.rows[0] * depth_ : 0;
        return bias_bytes() + weight_bytes() + copied * itemsize(l.dtype);
    }
    void prepare(void* workspace) {
        bias = static_cast<char*>(workspace);
        weights_ = bias + bias_bytes();
        rows_ = weights_ + weight_bytes();
        if (packs_) pack_weights();
    }

    // Step number i in the order in which the network runs.
    int64_t step(int64_t i) const { return l.reverse ? l.steps - 1 - i : i; }

    // Takes the rows of the left factor (count, depth), `stride` elements apart, to be multiplied next. Forward changes them
    // block by block: the others need a copy.
    void take(const void* left, int64_t stride, int64_t count) {
        left_ = left;
        stride_ = stride;
        count_ = count;
        if (!packs_ || backward_) return;
        std::memcpy(rows_, left, size_t(count * depth_ * itemsize(l.dtype)));
        left_ = rows_;
    }
    // Calls f(first unit, units) for blocks of units, in parallel where the step is worth it. Where weights are not
    // packed there is one block of all units.
    template <class F>
    void over_units(F&& f) const {
        if (!packs_) return f(int64_t(0), l.hidden);
        const int64_t width =
                          shape_.nr * (neighbours() ? std::clamp<int64_t>(blocks_ / num_threads(), 1, 4) : 1),
                      blocks = ceil_div(l.hidden, width);
        const double work = double(count_ + 1) * double(depth_) * double(products_ * width);
        const int64_t grain = std::clamp<int64_t>(int64_t(double(kParallelProduct) / 8 / work), 1, blocks);
        parallel_for(0, blocks, grain, [&](int64_t begin, int64_t end) {
            for (int64_t first = begin * width; first < std::min(end * width, l.hidden); first += width)
                f(first, std::min(width, l.hidden - first));
        });
    }
    // c[row, product * hidden + unit] (+)= left * weights of products [begin, end), for units [first, first + units).
    void multiply(int64_t begin, int64_t end, int64_t first, int64_t units, void* c, int64_t ldc,
                  bool accumulate) const {
        if (packs_ && few()) return multiply_few(begin, end, first, units, c, ldc, accumulate);
        for (int64_t p = begin; p < end; ++p)
            multiply_one(p, first, units, at(c, p * l.hidden, l.dtype), ldc, accumulate);
    }

    const RecurrentLayer& l;
    char* bias = nullptr;

  private:
    bool few() const { return count_ <= kFewRows; }
    // Whether blocks of units take the place of products, where there is but one.
    bool neighbours() const { return few() && products_ == 1; }

    void multiply_few(int64_t begin, int64_t end, int64_t first, int64_t units, void* c, int64_t ldc,
                      bool accumulate) const {
        const int64_t nr = shape_.nr;
        GemmFewRows g{};
        g.m = count_;
        g.k = depth_;
        g.panels = neighbours() ? ceil_div(units, nr) : end - begin;
        g.columns = neighbours() ? nr : units;
        g.last_columns = neighbours() ? units - (g.panels - 1) * nr : units;
        g.a = left_;
        g.a_stride = stride_;
        g.b = at(weights_, (first * products_ + begin * nr) * depth_, l.dtype);
        g.b_panel = nr * depth_;
        g.c = at(c, begin * l.hidden + first, l.dtype);
        g.ldc = ldc;
        g.c_panel = neighbours() ? nr : l.hidden;
        g.accumulate = accumulate;
        gemm_few_rows(type_, g);
    }
    void multiply_one(int64_t product, int64_t first, int64_t units, void* c, int64_t ldc,
                      bool accumulate) const {
        if (!packs_) {
            const MatrixIn right = backward_ ? MatrixIn{l.w_hh, l.hidden}
                                             : MatrixIn{at(l.w_hh, product * l.hidden * l.hidden, l.dtype),
                                                        l.hidden, Trans::Yes};
            gemm(l.dtype, count_, l.hidden, depth_, 1.0, {left_, stride_}, right, accumulate ? 1.0 : 0.0, c,
                 ldc);
            return;
        }
        const void* weights = at(weights_, (first * products_ + product * shape_.nr) * depth_, l.dtype);
        c = at(c, first, l.dtype);
        for (int64_t i = 0; i < count_; i += shape_.mc)
            for (int64_t k = 0; k < depth_; k += shape_.kc) {
                GemmBlock g{};
                g.m = std::min<int64_t>(shape_.mc, count_ - i);
                g.n = units;
                g.kc = std::min<int64_t>(shape_.kc, depth_ - k);
                g.a = at(left_, i * stride_ + k, l.dtype);
                g.a_stride = stride_;
                g.b = at(weights, k * shape_.nr, l.dtype);
                g.c = at(c, i * ldc, l.dtype);
                g.ldc = ldc;
                g.accumulate = accumulate || k > 0;
                gemm_blocks(type_, g);
            }
    }

    int64_t bias_bytes() const { return round_up(kept_gates(l.mode) * l.hidden * itemsize(l.dtype), 64); }
    int64_t weight_bytes() const {
        return packs_ ? round_up(blocks_ * shape_.nr * products_ * depth_ * itemsize(l.dtype), 64) : 0;
    }

    // Block by block and product by product: panels of nr columns of w_hh.T (forward) or w_hh (backward).
    void pack_weights() {
        const int64_t h = l.hidden, nr = shape_.nr;
        parallel_for(
            0, blocks_, std::max<int64_t>(1, 65536 / (products_ * nr * depth_ + 1)),
            [&](int64_t begin, int64_t end) {
                for (int64_t b = begin; b < end; ++b)
                    for (int64_t p = 0; p < products_; ++p)
                        for (int64_t k = 0; k < depth_; k += shape_.kc) {
                            const int64_t from = backward_ ? k * h + b * nr : (p * h + b * nr) * h + k;
                            gemm_pack(type_, l.dtype, false, at(l.w_hh, from, l.dtype), backward_ ? 1 : h,
                                      backward_ ? h : 1, std::min<int64_t>(nr, h - b * nr),
                                      std::min<int64_t>(shape_.kc, depth_ - k),
                                      at(weights_, ((b * products_ + p) * depth_ + k) * nr, l.dtype));
                        }
            });
    }

    bool backward_;
    PanelType type_;
    GemmShape shape_;
    int64_t depth_, products_, blocks_;
    bool packs_;
    char *weights_ = nullptr, *rows_ = nullptr;
    const void* left_ = nullptr;
    int64_t stride_ = 0, count_ = 0;
};

// The biases of the kept gates: both summed, but for the new gate of a GRU, whose hidden part is multiplied.
template <class T>
void join_biases(const RecurrentLayer& l, const T* b_ih, const T* b_hh, T* bias) {
    const auto value = [](const T* b, int64_t i) { return b ? b[i] : T(0); };
    const bool gru = l.mode == RecurrentMode::Gru;
    const int64_t h = l.hidden, summed = (gru ? 2 : kept_gates(l.mode)) * h;
    for (int64_t i = 0; i < summed; ++i) bias[i] = value(b_ih, i) + value(b_hh, i);
    if (!gru) return;
    for (int64_t i = 0; i < h; ++i) {
        bias[2 * h + i] = value(b_hh, 2 * h + i);
        bias[3 * h + i] = value(b_ih, 2 * h + i);
    }
}

// First row of every step.
struct FirstRows {
    explicit FirstRows(const RecurrentLayer& l)
        : rows(l.rows), at(l.reverse ? l.total : 0), reverse(l.reverse) {}
    int64_t of(int64_t step) {  // steps must be asked for in the order they run
        if (reverse) return at -= rows[step];
        const int64_t first = at;
        at += rows[step];
        return first;
    }
    const int64_t* rows;
    int64_t at;
    bool reverse;
};

}  // namespace

int64_t recurrent_workspace(const RecurrentLayer& layer, bool backward) {
    return Steps(layer, backward).workspace_bytes();
}

void recurrent_forward(const RecurrentLayer& l, const void* b_ih, const void* b_hh, void* hidden_state,
                       void* cell_state, void* output, void* gates, void* cells, void* workspace) {
    const int64_t h = l.hidden, width = kept_gates(l.mode) * h;
    const bool gru = l.mode == RecurrentMode::Gru;
    void* projected = gates ? gates : output;
    // The input's part of all gates; the new gate of a GRU is the last column, its hidden part comes before.
    const int64_t together = gru ? 2 * h : width;
    gemm(l.dtype, l.total, together, l.features, 1.0, {l.input, l.features}, {l.w_ih, l.features, Trans::Yes},
         0.0, projected, width);
    if (gru)
        gemm(l.dtype, l.total, h, l.features, 1.0, {l.input, l.features},
             {at(l.w_ih, 2 * h * l.features, l.dtype), l.features, Trans::Yes}, 0.0,
             at(projected, 3 * h, l.dtype), width);
    Steps steps(l, false);
    steps.prepare(workspace);
    if (l.dtype == DType::Float32)
        join_biases(l, static_cast<const float*>(b_ih), static_cast<const float*>(b_hh),
                    reinterpret_cast<float*>(steps.bias));
    else
        join_biases(l, static_cast<const double*>(b_ih), static_cast<const double*>(b_hh),
                    reinterpret_cast<double*>(steps.bias));
    FirstRows first_rows(l);
    for (int64_t i = 0; i < l.steps; ++i) {
        const int64_t t = steps.step(i), count = l.rows[t], row = first_rows.of(t);
        void* g = at(projected, row * width, l.dtype);
        steps.take(hidden_state, h, count);
        steps.over_units([&](int64_t first, int64_t units) {
            steps.multiply(0, gru ? 2 : weight_gates(l.mode), first, units, g, width, true);
            if (gru) steps.multiply(2, 3, first, units, g, width, false);
            const auto part = [&](void* data, int64_t stride) {
                return data ? at(data, row * stride + first, l.dtype) : nullptr;
            };
            recurrent_gates(l.mode, l.dtype,
                            {count, units, h, part(gates, width), at(hidden_state, first, l.dtype),
                             cell_state ? at(cell_state, first, l.dtype) : nullptr, part(output, h),
                             part(cells, h), at(steps.bias, first, l.dtype)});
        });
    }
}

namespace {

// Backward goes by chunks of steps: the products over all their rows follow while the gates' gradient is near. With fewer
// rows, the gradients of the weights would be read and written too often, the more so where they are large.
constexpr int64_t kChunkBytes = 1 << 20, kLeastRows = 256, kLargeWeight = 2 << 20, kLeastRowsOfLarge = 1024;

// Steps `begin` down to `end` + 1, in the order in which the network runs them, and their rows.
struct Chunk {
    int64_t begin, end, first_row, rows;
};

// The state before every row's step: of the rows' step before, or the initial one where a row begins.
void previous_states(const RecurrentLayer& l, const Chunk& chunk, const void* initial, const void* states,
                     void* previous) {
    const int64_t h = l.hidden, size = itemsize(l.dtype);
    int64_t row = chunk.first_row + (l.reverse ? 0 : chunk.rows);
    for (int64_t i = chunk.begin; i > chunk.end; --i) {
        const int64_t t = l.reverse ? l.steps - 1 - i : i, count = l.rows[t];
        if (!l.reverse) row -= count;
        const int64_t before = i ? l.rows[l.reverse ? t + 1 : t - 1] : 0,
                      before_row = l.reverse ? row + count : row - before, kept = std::min(before, count);
        void* to = at(previous, (row - chunk.first_row) * h, l.dtype);
        if (kept) std::memcpy(to, at(states, before_row * h, l.dtype), size_t(kept * h * size));
        if (count > kept)
            std::memcpy(at(to, kept * h, l.dtype), at(initial, kept * h, l.dtype),
                        size_t((count - kept) * h * size));
        if (l.reverse) row += count;
    }
}

// What a chunk's rows add to the gradients, whose gates' gradient is d. The hidden part of a GRU's new gate is column 2, the
// input's part column 3.
void add_products(const RecurrentLayer& l, const RecurrentBackward& b, const Chunk& chunk, const void* d) {
    const int64_t h = l.hidden, width = kept_gates(l.mode) * h, n = chunk.rows;
    const bool gru = l.mode == RecurrentMode::Gru, first = chunk.begin == l.steps - 1;
    const int64_t hidden_part = weight_gates(l.mode) * h, together = gru ? 2 * h : width;
    const void* x = at(l.input, chunk.first_row * l.features, l.dtype);
    if (b.grad_input) {
        void* to = at(b.grad_input, chunk.first_row * l.features, l.dtype);
        gemm(l.dtype, n, l.features, together, 1.0, {d, width}, {l.w_ih, l.features}, 0.0, to, l.features);
        if (gru)
            gemm(l.dtype, n, l.features, h, 1.0, {at(d, 3 * h, l.dtype), width},
                 {at(l.w_ih, 2 * h * l.features, l.dtype), l.features}, 1.0, to, l.features);
    }
    // The gates' gradient from column `column` on, transposed, times a matrix; into rows of a weight from `row` on.
    const auto weight = [&](int64_t column, int64_t count, const void* right, int64_t features, int64_t row,
                            void* out) {
        gemm(l.dtype, count, features, n, 1.0, {at(d, column, l.dtype), width, Trans::Yes}, {right, features},
             first ? 0.0 : 1.0, at(out, row * features, l.dtype), features);
    };
    if (b.grad_w_ih) {
        weight(0, together, x, l.features, 0, b.grad_w_ih);
        if (gru) weight(3 * h, h, x, l.features, 2 * h, b.grad_w_ih);
    }
    if (b.grad_w_hh) {
        if (l.mode == RecurrentMode::Lstm) previous_states(l, chunk, b.hx, b.output, b.previous);
        weight(0, hidden_part, b.previous, h, 0, b.grad_w_hh);
    }
    const auto bias = [&](int64_t column, int64_t count, void* out) {
        recurrent_column_sums(l.dtype, n, count, width, at(d, column, l.dtype), out, !first);
    };
    if (b.grad_b_hh) bias(0, hidden_part, b.grad_b_hh);
    if (b.grad_b_ih) {
        bias(0, together, b.grad_b_ih);
        if (gru) bias(3 * h, h, at(b.grad_b_ih, 2 * h, l.dtype));
    }
}

}  // namespace

int64_t recurrent_chunk_rows(const RecurrentLayer& l) {
    const int64_t row_bytes = kept_gates(l.mode) * l.hidden * itemsize(l.dtype);
    const bool large = row_bytes * std::max(l.features, l.hidden) > kLargeWeight;
    const int64_t wanted = std::max(large ? kLeastRowsOfLarge : kLeastRows, kChunkBytes / row_bytes);
    return std::max(l.rows[0], std::min(l.total, wanted));
}

void recurrent_backward(const RecurrentLayer& l, const RecurrentBackward& b, void* workspace) {
    const int64_t h = l.hidden, width = kept_gates(l.mode) * h, most_rows = recurrent_chunk_rows(l);
    const bool gru = l.mode == RecurrentMode::Gru, lstm = l.mode == RecurrentMode::Lstm;
    Steps steps(l, true);
    steps.prepare(workspace);
    Chunk chunk{l.steps - 1, l.steps - 1, l.reverse ? 0 : l.total, 0};
    for (bool odd = false; chunk.end >= 0; odd = !odd) {
        chunk.begin = chunk.end;
        if (l.reverse) chunk.first_row += chunk.rows;
        for (chunk.rows = 0; chunk.end >= 0; --chunk.end) {
            const int64_t count = l.rows[steps.step(chunk.end)];
            if (chunk.rows + count > most_rows) break;
            chunk.rows += count;
        }
        if (!l.reverse) chunk.first_row -= chunk.rows;
        // Gates need the state before: the cell's of an LSTM, whose hidden state is needed only for the weights.
        previous_states(l, chunk, lstm ? b.cx : b.hx, lstm ? b.cells : b.output, b.previous);
        // The first step of a chunk needs the gates' gradient of the chunk before.
        void* grad_gates = at(b.grad_gates, odd ? most_rows * width : 0, l.dtype);
        int64_t own_row = l.reverse ? 0 : chunk.rows;
        for (int64_t i = chunk.begin; i > chunk.end; --i) {
            // With the step after goes its product with the weights: both work on the same block of units.
            const bool multiplies = i < l.steps - 1;
            const int64_t t = steps.step(i), count = l.rows[t];
            if (!l.reverse) own_row -= count;
            const int64_t row = chunk.first_row + own_row;
            void* d = at(grad_gates, own_row * width, l.dtype);
            steps.over_units([&](int64_t first, int64_t units) {
                if (multiplies) steps.multiply(0, 1, first, units, b.grad_hidden, h, gru);
                const auto part = [&](const void* data, int64_t stride) {
                    return data ? at(data, row * stride + first, l.dtype) : nullptr;
                };
                recurrent_gates_backward(
                    l.mode, l.dtype,
                    {count, units, h, part(b.grad_output, h), part(b.gates, width), part(b.cells, h),
                     part(b.output, h),
                     at(static_cast<const void*>(b.previous), own_row * h + first, l.dtype),
                     at(b.grad_hidden, first, l.dtype),
                     b.grad_cell ? at(b.grad_cell, first, l.dtype) : nullptr, at(d, first, l.dtype)});
            });
            steps.take(d, width, count);
            if (l.reverse) own_row += count;
        }
        add_products(l, b, chunk, grad_gates);
    }
    if (b.initial_wanted)
        steps.over_units(
            [&](int64_t first, int64_t units) { steps.multiply(0, 1, first, units, b.grad_hidden, h, gru); });
}

}  // namespace flb
