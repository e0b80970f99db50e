// The pointwise part of a step of a recurrent network, forward and backward, row by row.
//
// A row is a function of its own: for parameters the compiler believes that they do not overlap, and it vectorises.
#include "kernels/recurrent.h"

#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath.h"

namespace flb {
namespace FLB_ISA {

// 1 / (1 + e^-x) with one division less than vsigmoid: gates need no relative accuracy near 0.
template <class T>
FLB_INLINE T gate(T x) {
    constexpr T limit = sizeof(T) == 4 ? T(80) : T(700);
    return T(1) / (T(1) + exp_in_range(clamp(-x, -limit, limit)));
}

// Row r of a matrix; null where there is none.
template <class T>
FLB_INLINE T* row(void* data, int64_t r, int64_t width) {
    return data ? static_cast<T*>(data) + r * width : nullptr;
}
template <class T>
FLB_INLINE const T* row(const void* data, int64_t r, int64_t width) {
    return data ? static_cast<const T*>(data) + r * width : nullptr;
}

template <class T>
[[gnu::noinline]] void lstm_row(int64_t n, T* __restrict in, T* __restrict forget, T* __restrict fresh,
                                T* __restrict let, const T* __restrict b0, const T* __restrict b1,
                                const T* __restrict b2, const T* __restrict b3, T* __restrict cell,
                                T* __restrict kept, T* __restrict state, T* __restrict out) {
    for (int64_t j = 0; j < n; ++j) {
        const T i = gate(in[j] + b0[j]), f = gate(forget[j] + b1[j]), g = vtanh(fresh[j] + b2[j]),
                o = gate(let[j] + b3[j]);
        const T c = f * cell[j] + i * g, y = o * vtanh(c);
        in[j] = i;
        forget[j] = f;
        fresh[j] = g;
        let[j] = o;
        cell[j] = kept[j] = c;
        state[j] = out[j] = y;
    }
}

template <class T>
[[gnu::noinline]] void gru_row(int64_t n, T* __restrict reset, T* __restrict update, T* __restrict part,
                               T* __restrict fresh, const T* __restrict b0, const T* __restrict b1,
                               const T* __restrict b2, const T* __restrict b3, T* __restrict state,
                               T* __restrict out) {
    for (int64_t j = 0; j < n; ++j) {
        const T r = gate(reset[j] + b0[j]), z = gate(update[j] + b1[j]), p = part[j] + b2[j];
        const T m = vtanh(fresh[j] + b3[j] + r * p), y = m + z * (state[j] - m);
        reset[j] = r;
        update[j] = z;
        part[j] = p;
        fresh[j] = m;
        state[j] = out[j] = y;
    }
}

// The gate is the output itself.
template <class T, bool relu>
[[gnu::noinline]] void plain_row(int64_t n, const T* __restrict bias, T* __restrict state,
                                 T* __restrict out) {
    for (int64_t j = 0; j < n; ++j) {
        const T x = out[j] + bias[j];
        state[j] = out[j] = relu ? (x < T(0) ? T(0) : x) : vtanh(x);
    }
}

template <class T>
void gates_of(RecurrentMode mode, const RecurrentGates& a) {
    const int64_t n = a.units, h = a.hidden;
    const T* b = static_cast<const T*>(a.bias);
    for (int64_t r = 0; r < a.rows; ++r) {
        T *g = row<T>(a.gates, r, 4 * h), *state = row<T>(a.hidden_state, r, h),
          *out = row<T>(a.output, r, h);
        switch (mode) {
            case RecurrentMode::Lstm:
                lstm_row(n, g, g + h, g + 2 * h, g + 3 * h, b, b + h, b + 2 * h, b + 3 * h,
                         row<T>(a.cell_state, r, h), row<T>(a.cells, r, h), state, out);
                break;
            case RecurrentMode::Gru:
                gru_row(n, g, g + h, g + 2 * h, g + 3 * h, b, b + h, b + 2 * h, b + 3 * h, state, out);
                break;
            case RecurrentMode::Tanh: plain_row<T, false>(n, b, state, out); break;
            case RecurrentMode::Relu: plain_row<T, true>(n, b, state, out); break;
        }
    }
}

// go: the gradient of the output, or null; dh: that of the state.
template <class T, bool given>
[[gnu::noinline]] void lstm_row_backward(int64_t n, const T* __restrict in, const T* __restrict forget,
                                         const T* __restrict fresh, const T* __restrict let,
                                         const T* __restrict cell, const T* __restrict before,
                                         const T* __restrict go, const T* __restrict dh, T* __restrict dc,
                                         T* __restrict d0, T* __restrict d1, T* __restrict d2,
                                         T* __restrict d3) {
    for (int64_t j = 0; j < n; ++j) {
        const T i = in[j], f = forget[j], g = fresh[j], o = let[j], y = vtanh(cell[j]);
        const T from_hidden = given ? dh[j] + go[j] : dh[j];
        const T from_cell = dc[j] + from_hidden * o * (T(1) - y * y);
        d0[j] = from_cell * g * i * (T(1) - i);
        d1[j] = from_cell * before[j] * f * (T(1) - f);
        d2[j] = from_cell * i * (T(1) - g * g);
        d3[j] = from_hidden * y * o * (T(1) - o);
        dc[j] = from_cell * f;
    }
}

// Leaves in dh what reaches the state before past the gates.
template <class T, bool given>
[[gnu::noinline]] void gru_row_backward(int64_t n, const T* __restrict reset, const T* __restrict update,
                                        const T* __restrict part, const T* __restrict fresh,
                                        const T* __restrict before, const T* __restrict go, T* __restrict dh,
                                        T* __restrict d0, T* __restrict d1, T* __restrict d2,
                                        T* __restrict d3) {
    for (int64_t j = 0; j < n; ++j) {
        const T r = reset[j], z = update[j], m = fresh[j];
        const T from_hidden = given ? dh[j] + go[j] : dh[j];
        const T from_fresh = from_hidden * (T(1) - z) * (T(1) - m * m);
        d0[j] = from_fresh * part[j] * r * (T(1) - r);
        d1[j] = from_hidden * (before[j] - m) * z * (T(1) - z);
        d2[j] = from_fresh * r;
        d3[j] = from_fresh;
        dh[j] = from_hidden * z;
    }
}

template <class T, bool relu, bool given>
[[gnu::noinline]] void plain_row_backward(int64_t n, const T* __restrict out, const T* __restrict go,
                                          const T* __restrict dh, T* __restrict d) {
    for (int64_t j = 0; j < n; ++j) {
        const T from_hidden = given ? dh[j] + go[j] : dh[j], y = out[j];
        d[j] = relu ? (y > T(0) ? from_hidden : T(0)) : from_hidden * (T(1) - y * y);
    }
}

template <class T, bool given>
void gates_backward_of(RecurrentMode mode, const RecurrentGatesBackward& a) {
    const int64_t n = a.units, h = a.hidden;
    for (int64_t r = 0; r < a.rows; ++r) {
        const T *g = row<T>(a.gates, r, 4 * h), *before = row<T>(a.previous, r, h),
                *go = given ? row<T>(a.grad_output, r, h) : nullptr, *out = row<T>(a.output, r, h);
        T *d = row<T>(a.grad_gates, r, kept_gates(mode) * h), *dh = row<T>(a.grad_hidden, r, h);
        switch (mode) {
            case RecurrentMode::Lstm:
                lstm_row_backward<T, given>(n, g, g + h, g + 2 * h, g + 3 * h, row<T>(a.cells, r, h), before,
                                            go, dh, row<T>(a.grad_cell, r, h), d, d + h, d + 2 * h,
                                            d + 3 * h);
                break;
            case RecurrentMode::Gru:
                gru_row_backward<T, given>(n, g, g + h, g + 2 * h, g + 3 * h, before, go, dh, d, d + h,
                                           d + 2 * h, d + 3 * h);
                break;
            case RecurrentMode::Tanh: plain_row_backward<T, false, given>(n, out, go, dh, d); break;
            case RecurrentMode::Relu: plain_row_backward<T, true, given>(n, out, go, dh, d); break;
        }
    }
}

// Blocks of rows keep the error of long sums small, strips of columns keep the sums near.
template <class T>
void column_sums_of(int64_t rows, int64_t width, int64_t stride, const T* x, T* sums, bool add) {
    constexpr int64_t kRows = 64, kStrip = 256;
    T part[kStrip];
    for (int64_t first = 0; first < width; first += kStrip) {
        const int64_t n = width - first < kStrip ? width - first : kStrip;
        T* __restrict total = sums + first;
        for (int64_t j = 0; j < n; ++j) total[j] = add ? total[j] : T(0);
        for (int64_t begin = 0; begin < rows; begin += kRows) {
            const int64_t end = rows - begin < kRows ? rows : begin + kRows;
            for (int64_t j = 0; j < n; ++j) part[j] = 0;
            for (int64_t r = begin; r < end; ++r) {
                const T* __restrict from = x + r * stride + first;
                for (int64_t j = 0; j < n; ++j) part[j] += from[j];
            }
            for (int64_t j = 0; j < n; ++j) total[j] += part[j];
        }
    }
}

void gates_any(RecurrentMode mode, DType dtype, const RecurrentGates& a) {
    FLB_FLOAT_OR_DOUBLE(dtype, gates_of<T>(mode, a));
}
void gates_backward_any(RecurrentMode mode, DType dtype, const RecurrentGatesBackward& a) {
    if (a.grad_output) FLB_FLOAT_OR_DOUBLE(dtype, (gates_backward_of<T, true>(mode, a)));
    else FLB_FLOAT_OR_DOUBLE(dtype, (gates_backward_of<T, false>(mode, a)));
}
void column_sums_any(DType dtype, int64_t rows, int64_t width, int64_t stride, const void* x, void* sums,
                     bool add) {
    FLB_FLOAT_OR_DOUBLE(
        dtype, column_sums_of(rows, width, stride, static_cast<const T*>(x), static_cast<T*>(sums), add));
}

FLB_REGISTER_KERNEL(recurrent_gates, &gates_any);
FLB_REGISTER_KERNEL(recurrent_gates_backward, &gates_backward_any);
FLB_REGISTER_KERNEL(recurrent_column_sums, &column_sums_any);

}  // namespace FLB_ISA
}  // namespace flb
