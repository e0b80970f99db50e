// The transforms of Note [Winograd] in conv_winograd.cpp.
#include "kernels/conv_kernels.h"

#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

using V = Vector<float>;
constexpr int L = kLanes<float>;

FLB_INLINE V load_upto(const float* p, int64_t n) { return n >= L ? load(p) : load_first<float>(p, n); }

// ---- weights -----------------------------------------------------------------------------------------------------------

// The nine taps of a vector of windows, `step` apart, of which n exist.
template <class T>
FLB_INLINE void load_windows(const T* from, int64_t step, int64_t n, Vector<T> (&taps)[9]) {
    constexpr int kWindows = kLanes<T>;
    if constexpr (kTurnsInRegisters<T> && kWindows > 9) {
        Vector<T> rows[kWindows];
#pragma GCC unroll 16
        for (int i = 0; i < kWindows; ++i) rows[i] = i < n ? load_first<T>(from + i * step, 9) : Vector<T>{};
        transpose(rows);
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t) taps[t] = rows[t];
    } else {
        for (int t = 0; t < 9; ++t) {
            T lanes[kWindows] = {};
            for (int64_t i = 0; i < kWindows && i < n; ++i) lanes[i] = from[i * step + t];
            taps[t] = load(lanes);
        }
    }
}

// Three weights become four numbers.
FLB_INLINE void expand(V a, V b, V c, V (&to)[4]) {
    const V half = broadcast(0.5f), ends = a + c;
    to[0] = a;
    to[1] = (ends + b) * half;
    to[2] = (ends - b) * half;
    to[3] = c;
}

void winograd_weights_impl(const WinogradWeights& w) {
    for (int64_t s = 0; s < w.sources; ++s)
        for (int64_t first = 0; first < kNr<float>; first += L) {
            V taps[9] = {};
            if (w.targets > first)
                load_windows(w.weight + s * w.source_step + first * w.target_step, w.target_step,
                             w.targets - first, taps);
            V down[3][4], across[4];
#pragma GCC unroll 3
            for (int k = 0; k < 3; ++k) {
                if (w.turned) expand(taps[8 - k], taps[5 - k], taps[2 - k], down[k]);
                else expand(taps[k], taps[3 + k], taps[6 + k], down[k]);
            }
            float* to = w.to + s * kNr<float> + first;
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                expand(down[0][i], down[1][i], down[2][i], across);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) store(to + (4 * i + j) * w.to_step, across[j]);
            }
        }
}

// ---- tiles ---------------------------------------------------------------------------------------------------------------

FLB_INLINE void spread(V a, V b, V c, V d, V (&to)[4]) {
    to[0] = a - c;
    to[1] = b + c;
    to[2] = c - b;
    to[3] = b - d;
}

void winograd_input_impl(const WinogradRow& row, int64_t channels, float* to, int64_t to_row,
                         int64_t to_step) {
    for (int64_t t = 0; 2 * t < row.columns; ++t, to += to_row) {
        const float* tile = row.data + 2 * t * row.step;
        for (int64_t c = 0; c < channels; c += L) {
            V down[4][4], across[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) {
                const float* from = tile + k * row.step + c;
                const int64_t n = channels - c;
                spread(load_upto(from, n), load_upto(from + row.row, n), load_upto(from + 2 * row.row, n),
                       load_upto(from + 3 * row.row, n), down[k]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                spread(down[0][i], down[1][i], down[2][i], down[3][i], across);
#pragma GCC unroll 4
                for (int j = 0; j < 4; ++j) store(to + c + (4 * i + j) * to_step, across[j]);
            }
        }
    }
}

FLB_INLINE void gather_up(V a, V b, V c, V d, V& first, V& second) {
    first = a + b + c;
    second = b - c - d;
}

bool winograd_output_impl(const float* from, int64_t from_row, int64_t from_step, int64_t channels,
                          const float* bias, const WinogradRow& row) {
    V trace{};  // zero as long as all outputs are finite
    const V zero{};
    for (int64_t t = 0; 2 * t < row.columns; ++t, from += from_row) {
        float* tile = row.data + 2 * t * row.step;
        const bool two_columns = 2 * t + 1 < row.columns;
        for (int64_t c = 0; c < channels; c += L) {
            const int64_t n = channels - c;
            V down[4][2], out[2][2];
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) {
                const float* x = from + c + k * from_step;
                gather_up(load(x), load(x + 4 * from_step), load(x + 8 * from_step), load(x + 12 * from_step),
                          down[k][0], down[k][1]);
            }
            const V start = bias ? load_upto(bias + c, n) : zero;
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i) {
                gather_up(down[0][i], down[1][i], down[2][i], down[3][i], out[i][0], out[i][1]);
#pragma GCC unroll 2
                for (int j = 0; j < 2; ++j) out[i][j] += start;
            }
#pragma GCC unroll 2
            for (int i = 0; i < 2; ++i)
#pragma GCC unroll 2
                for (int j = 0; j < 2; ++j) {
                    if (i >= row.rows || (j && !two_columns)) continue;
                    float* to = tile + i * row.row + j * row.step + c;
                    if (n >= L) {
                        store(to, out[i][j]);
                        trace = multiply_add<float>(out[i][j], zero, trace);
                    } else {
                        // Lanes beyond the channels hold anything.
                        store_first(to, out[i][j], n);
                        trace = multiply_add<float>(load_first<float>(to, n), zero, trace);
                    }
                }
        }
    }
    float lanes[L];
    store(lanes, trace);
    float sum = 0;
    for (int i = 0; i < L; ++i) sum += lanes[i];
    return sum == 0;
}

FLB_REGISTER_KERNEL(winograd_weights, &winograd_weights_impl);
FLB_REGISTER_KERNEL(winograd_input, &winograd_input_impl);
FLB_REGISTER_KERNEL(winograd_output, &winograd_output_impl);

}  // namespace FLB_ISA
}  // namespace flb
