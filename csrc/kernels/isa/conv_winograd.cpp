// The transforms of Note [Winograd] in conv_winograd.cpp.
#include "kernels/conv_kernels.h"

#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/transpose.h"

namespace flb {
namespace FLB_ISA {

using V = Vector<float>;
constexpr int L = kLanes<float>;

FLB_INLINE V load_upto(const float* p, int64_t n) { return n >= L ? load(p) : load_first<float>(p, n); }

// ---- one dimension -----------------------------------------------------------------------------------------------------
// spread: what a tile reads into its numbers; expand: the weights; collect: sums into outputs; taps: sums into weights.
// kLeast: see WinogradScheme.

struct Ones {
    static constexpr int kReads = 4, kAdvance = 2, kNumbers = 4, kSums = 4, kOutputs = 2;
    static constexpr int kLeast[] = {1, 1, 1, 2};
    static FLB_INLINE void spread(const V (&x)[4], V (&to)[4]) {
        to[0] = x[0] - x[2];
        to[1] = x[1] + x[2];
        to[2] = x[2] - x[1];
        to[3] = x[1] - x[3];
    }
    static FLB_INLINE void expand(V a, V b, V c, V (&to)[4]) {
        const V half = broadcast(0.5f), ends = a + c;
        to[0] = a;
        to[1] = (ends + b) * half;
        to[2] = (ends - b) * half;
        to[3] = c;
    }
    static FLB_INLINE void collect(const V (&s)[4], V (&to)[2]) {
        to[0] = s[0] + s[1] + s[2];
        to[1] = s[1] - s[2] - s[3];
    }
    static FLB_INLINE void taps(const V (&s)[4], V (&to)[3]) {
        const V half = broadcast(0.5f), even = (s[1] + s[2]) * half;
        to[0] = s[0] + even;
        to[1] = (s[1] - s[2]) * half;
        to[2] = even - s[3];
    }
};

struct OnesGradients : Ones {
    static constexpr int kReads = 2;
    static FLB_INLINE void spread(const V (&g)[2], V (&to)[4]) {
        to[0] = g[0];
        to[1] = g[0] + g[1];
        to[2] = g[0] - g[1];
        to[3] = g[1];
    }
};

struct Twos {
    static constexpr int kReads = 5, kAdvance = 4, kNumbers = 5, kSums = 3, kOutputs = 2;
    static constexpr int kLeast[] = {1, 1, 2, 1, 2};
    static FLB_INLINE void spread(const V (&x)[5], V (&to)[5]) {
        to[0] = x[0] - x[2];
        to[1] = x[2];
        to[2] = x[4] - x[2];
        to[3] = x[1];
        to[4] = x[3];
    }
    static FLB_INLINE void expand(V a, V b, V c, V (&to)[5]) {
        to[0] = a;
        to[1] = a + c;
        to[2] = c;
        to[3] = b;
        to[4] = b;
    }
    static FLB_INLINE void collect(const V (&s)[3], V (&to)[2]) {
        to[0] = s[0] + s[1];
        to[1] = s[1] + s[2];
    }
};

struct TwosBackward : Twos {
    static constexpr int kReads = 3, kAdvance = 2, kSums = 5, kOutputs = 4;
    static constexpr int kLeast[] = {2, 2, 4, 1, 3};
    static FLB_INLINE void spread(const V (&g)[3], V (&to)[5]) {
        to[0] = g[0] - g[1];
        to[1] = g[1];
        to[2] = g[2] - g[1];
        to[3] = g[0];
        to[4] = g[1];
    }
    static FLB_INLINE void collect(const V (&s)[5], V (&to)[4]) {
        to[0] = s[3];
        to[1] = s[0] + s[1];
        to[2] = s[4];
        to[3] = s[1] + s[2];
    }
};

struct TwosGradients : Twos {
    static constexpr int kReads = 2, kAdvance = 2, kSums = 4;
    static FLB_INLINE void spread(const V (&g)[2], V (&to)[5]) {
        to[0] = g[0];
        to[1] = g[0] + g[1];
        to[2] = g[1];
        to[3] = g[0];
        to[4] = g[1];
    }
    static FLB_INLINE void taps(const V (&s)[4], V (&to)[3]) {
        to[0] = s[0] + s[1];
        to[1] = s[3];
        to[2] = s[1] + s[2];
    }
};

// ---- weights -----------------------------------------------------------------------------------------------------------

// What is read, and what is overwritten, so many sources later is fetched: these are too many places at once for the
// processor to see it.
constexpr int64_t kSourcesAhead = 8;

// The nine taps of a vector of windows, `step` apart, of which n exist; those `ahead` are fetched.
template <class T>
FLB_INLINE void load_windows(const T* from, int64_t step, int64_t tap_step, int64_t n, int64_t ahead,
                             Vector<T> (&taps)[9]) {
    if (step == 1) {
        for (int t = 0; t < 9; ++t) {
            __builtin_prefetch(from + t * tap_step + ahead);
            taps[t] = load_upto(from + t * tap_step, n);
        }
        return;
    }
    if constexpr (kTurnsInRegisters<T> && L > 9) {
        if (tap_step == 1) {
            Vector<T> rows[L];
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) {
                __builtin_prefetch(from + i * step + ahead);
                rows[i] = i < n ? load_first<T>(from + i * step, 9) : Vector<T>{};
            }
            transpose(rows);
#pragma GCC unroll 9
            for (int t = 0; t < 9; ++t) taps[t] = rows[t];
            return;
        }
    }
    for (int t = 0; t < 9; ++t) {
        float lanes[L] = {};
        for (int64_t i = 0; i < L && i < n; ++i) lanes[i] = from[i * step + t * tap_step];
        taps[t] = load(lanes);
    }
}

template <class S>
FLB_INLINE void expand_windows(const WinogradWeights& w, const V (&taps)[9], int64_t at) {
    V down[3][S::kNumbers], across[S::kNumbers];
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) {
        if (w.turned) S::expand(taps[8 - k], taps[5 - k], taps[2 - k], down[k]);
        else S::expand(taps[k], taps[3 + k], taps[6 + k], down[k]);
    }
#pragma GCC unroll 5
    for (int i = 0; i < S::kNumbers; ++i) {
        S::expand(down[0][i], down[1][i], down[2][i], across);
#pragma GCC unroll 5
        for (int j = 0; j < S::kNumbers; ++j) {
            float* to = w.to[S::kNumbers * i + j] + at;
            store(to, across[j]);
            __builtin_prefetch(to + kSourcesAhead * kNr<float>, 1);
        }
    }
}

// The same of a vector of sources that are neighbours: taps[tap][source].
template <class T>
FLB_INLINE void turn_windows(const T* from, int64_t target_step, int64_t tap_step, int64_t n,
                             Vector<T> (&taps)[9][L]) {
    if constexpr (kTurnsInRegisters<T>)
        for (int t = 0; t < 9; ++t) {
#pragma GCC unroll 16
            for (int i = 0; i < L; ++i) {
                const T* row = from + i * target_step + t * tap_step;
                __builtin_prefetch(row + 2 * L);
                taps[t][i] = i < n ? load(row) : Vector<T>{};
            }
            transpose(taps[t]);
        }
}

template <class S>
void weights_of(const WinogradWeights& w) {
    constexpr int64_t kPanel = kNr<float>;
    constexpr int kVectors = int(kPanel / L);
    int64_t s = 0;
    if (kTurnsInRegisters<float> && w.source_step == 1) {
        for (; s + L <= w.sources; s += L) {
            V turned[kVectors][9][L], taps[9];
            for (int v = 0; v < kVectors; ++v)
                turn_windows<float>(w.weight + s + v * L * w.target_step, w.target_step, w.tap_step,
                                    w.targets - v * L, turned[v]);
            for (int i = 0; i < L; ++i)
                for (int v = 0; v < kVectors; ++v) {
                    for (int t = 0; t < 9; ++t) taps[t] = turned[v][t][i];
                    expand_windows<S>(w, taps, (s + i) * kPanel + v * L);
                }
        }
    }
    for (; s < w.sources; ++s)
        for (int v = 0; v < kVectors; ++v) {
            V taps[9] = {};
            if (w.targets > v * L)
                load_windows<float>(w.weight + s * w.source_step + v * L * w.target_step, w.target_step,
                                    w.tap_step, w.targets - v * L, kSourcesAhead * w.source_step, taps);
            expand_windows<S>(w, taps, s * kPanel + v * L);
        }
}

void winograd_weights_impl(WinogradForm form, const WinogradWeights& w) {
    if (form == WinogradForm::Ones) weights_of<Ones>(w);
    else weights_of<Twos>(w);
}

// ---- tiles ---------------------------------------------------------------------------------------------------------------

template <class S, bool kWhole>
FLB_INLINE void inputs_of_tile(const WinogradInputs& w, int64_t t, int64_t c) {
    const int64_t n = w.channels - c;
    const float* tile = w.from + t * S::kAdvance * w.step + c;
    V down[S::kReads][S::kNumbers];
#pragma GCC unroll 5
    for (int k = 0; k < S::kReads; ++k) {
        V column[S::kReads];
#pragma GCC unroll 5
        for (int r = 0; r < S::kReads; ++r) {
            const float* from = tile + k * w.step + r * w.row;
            column[r] = kWhole ? load(from) : load_upto(from, n);
        }
        S::spread(column, down[k]);
    }
#pragma GCC unroll 5
    for (int i = 0; i < S::kNumbers; ++i) {
        if (!w.to[S::kNumbers * i].data) continue;
        V row[S::kReads], across[S::kNumbers];
#pragma GCC unroll 5
        for (int k = 0; k < S::kReads; ++k) row[k] = down[k][i];
        S::spread(row, across);
#pragma GCC unroll 5
        for (int j = 0; j < S::kNumbers; ++j) {
            if (!kWhole && t == w.tiles - 1 && w.last < S::kLeast[j]) continue;
            const WinogradTarget& to = w.to[S::kNumbers * i + j];
            if (kWhole || n >= L) store(to.data + t * to.row + c, across[j]);
            else store_first(to.data + t * to.row + c, across[j], n);
        }
    }
}

template <class S>
void inputs_of(const WinogradInputs& w) {
    for (int64_t t = 0; t < w.tiles; ++t) {
        int64_t c = 0;
        if (t < w.tiles - 1 || w.last == S::kOutputs)
            for (; c + L <= w.channels; c += L) inputs_of_tile<S, true>(w, t, c);
        for (; c < w.channels; c += L) inputs_of_tile<S, false>(w, t, c);
    }
}

void winograd_inputs_impl(WinogradForm form, const WinogradInputs& w) {
    switch (form) {
        case WinogradForm::Ones: return inputs_of<Ones>(w);
        case WinogradForm::Twos: return inputs_of<Twos>(w);
        case WinogradForm::TwosBackward: return inputs_of<TwosBackward>(w);
        case WinogradForm::OnesGradients: return inputs_of<OnesGradients>(w);
        case WinogradForm::TwosGradients: return inputs_of<TwosGradients>(w);
    }
}

FLB_INLINE float total(V x) {
    float lanes[L], sum = 0;
    store(lanes, x);
    for (int i = 0; i < L; ++i) sum += lanes[i];
    return sum;
}

template <class S>
bool outputs_of(const WinogradOutputs& w) {
    V trace{};  // zero as long as all outputs are finite
    const V zero{};
    for (int64_t t = 0; S::kOutputs * t < w.columns; ++t) {
        float* tile = w.to + S::kOutputs * t * w.step;
        const int64_t columns = w.columns - S::kOutputs * t;
        for (int64_t c = 0; c < w.channels; c += L) {
            const int64_t n = w.channels - c, at = t * w.from_row + c;
            V down[S::kSums][S::kOutputs];
#pragma GCC unroll 5
            for (int k = 0; k < S::kSums; ++k) {
                V sums[S::kSums];
#pragma GCC unroll 5
                for (int r = 0; r < S::kSums; ++r) sums[r] = load(w.from[S::kSums * r + k] + at);
                S::collect(sums, down[k]);
            }
            const V start = w.bias ? load_upto(w.bias + c, n) : zero;
#pragma GCC unroll 4
            for (int i = 0; i < S::kOutputs; ++i) {
                if (i >= w.rows) break;
                V sums[S::kSums], out[S::kOutputs];
#pragma GCC unroll 5
                for (int k = 0; k < S::kSums; ++k) sums[k] = down[k][i];
                S::collect(sums, out);
#pragma GCC unroll 4
                for (int j = 0; j < S::kOutputs; ++j) {
                    if (j >= columns) break;
                    out[j] += start;
                    float* to = tile + i * w.row + j * w.step + c;
                    if (n >= L) {
                        store(to, out[j]);
                        trace = multiply_add<float>(out[j], zero, trace);
                    } else {
                        // Lanes beyond the channels hold anything.
                        store_first(to, out[j], n);
                        trace = multiply_add<float>(load_first<float>(to, n), zero, trace);
                    }
                }
            }
        }
    }
    return total(trace) == 0;
}

bool winograd_outputs_of_impl(WinogradForm form, const WinogradOutputs& w) {
    switch (form) {
        case WinogradForm::Ones: return outputs_of<Ones>(w);
        case WinogradForm::Twos: return outputs_of<Twos>(w);
        default: return outputs_of<TwosBackward>(w);
    }
}

// ---- the gradient of the weights -----------------------------------------------------------------------------------------

// Nine vectors as rows of nine.
template <class T>
FLB_INLINE void store_windows(const Vector<T> (&taps)[9], int64_t n, T* to) {
    if constexpr (kTurnsInRegisters<T> && L > 9) {
        Vector<T> rows[L];
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) rows[i] = i < 9 ? taps[i] : Vector<T>{};
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) {
            if (i >= n) continue;
            store_first(to + 9 * i, rows[i], 9);
        }
    } else {
        for (int t = 0; t < 9; ++t) {
            float lanes[L];
            store(lanes, taps[t]);
            for (int64_t i = 0; i < L && i < n; ++i) to[9 * i + t] = lanes[i];
        }
    }
}

template <class S>
bool taps_of(const float* sums, int64_t sum_step, int64_t sum_row, int64_t targets, int64_t sources,
             float* to) {
    bool finite = true;
    for (int64_t o = 0; o < targets; ++o, sums += sum_row)
        for (int64_t c = 0; c < sources; c += L) {
            const int64_t n = sources - c;
            V down[4][3], all[9];
#pragma GCC unroll 4
            for (int k = 0; k < 4; ++k) {
                V column[4];
#pragma GCC unroll 4
                for (int r = 0; r < 4; ++r) column[r] = load_upto(sums + (4 * r + k) * sum_step + c, n);
                S::taps(column, down[k]);
            }
            V trace{};
#pragma GCC unroll 3
            for (int i = 0; i < 3; ++i) {
                V row[4], taps[3];
#pragma GCC unroll 4
                for (int k = 0; k < 4; ++k) row[k] = down[k][i];
                S::taps(row, taps);
#pragma GCC unroll 3
                for (int j = 0; j < 3; ++j) {
                    all[3 * i + j] = taps[j];
                    trace = multiply_add<float>(taps[j], V{}, trace);
                }
            }
            store_windows<float>(all, n, to + (o * sources + c) * 9);
            finite &= total(trace) == 0;
        }
    return finite;
}

bool winograd_taps_impl(WinogradForm form, const float* sums, int64_t sum_step, int64_t sum_row,
                        int64_t targets, int64_t sources, float* to) {
    if (form == WinogradForm::OnesGradients)
        return taps_of<OnesGradients>(sums, sum_step, sum_row, targets, sources, to);
    return taps_of<TwosGradients>(sums, sum_step, sum_row, targets, sources, to);
}

FLB_REGISTER_KERNEL(winograd_weights, &winograd_weights_impl);
FLB_REGISTER_KERNEL(winograd_inputs, &winograd_inputs_impl);
FLB_REGISTER_KERNEL(winograd_outputs_of, &winograd_outputs_of_impl);
FLB_REGISTER_KERNEL(winograd_taps, &winograd_taps_impl);

}  // namespace FLB_ISA
}  // namespace flb
