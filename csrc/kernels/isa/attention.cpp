// The parts of attention between its matrix products: see Note [Panels of scores] in kernels/attention.h.
#include "kernels/attention.h"

#include "kernels/isa/gemm_tile.h"
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_exp.h"
#include "kernels/isa/vmath_log.h"

namespace flb {
namespace FLB_ISA {

template <class T>
struct IndexOf;
template <>
struct IndexOf<float> {
    using Int = int32_t;
    typedef Int type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct IndexOf<double> {
    using Int = int64_t;
    typedef Int type __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Indices = typename IndexOf<T>::type;

// ---- transposing in registers ----------------------------------------------------------------------------------------

// Lanes that a step takes from two rows whose numbers differ in bit d, for the lower of them and for the upper.
template <class T>
struct Steps {
    static constexpr int kCount = kLanes<T> == 16 ? 4 : kLanes<T> == 8 ? 3 : kLanes<T> == 4 ? 2 : 1;
    typename IndexOf<T>::Int lower[kCount][kLanes<T>], upper[kCount][kLanes<T>];
    constexpr Steps() : lower(), upper() {
        for (int step = 0; step < kCount; ++step)
            for (int j = 0, d = 1 << step; j < kLanes<T>; ++j) {
                lower[step][j] = j & d ? kLanes<T> + j - d : j;
                upper[step][j] = j & d ? kLanes<T> + j : j + d;
            }
    }
};
template <class T>
constexpr Steps<T> kSteps{};

// v[i][j] becomes v[j][i]: every step swaps one bit of the row's number with the same bit of the lane's.
template <class T, int Step = 0>
FLB_INLINE void transpose(Vector<T> (&v)[kLanes<T>]) {
    constexpr int d = 1 << Step;
    Indices<T> lower, upper;
    std::memcpy(&lower, kSteps<T>.lower[Step], sizeof lower);
    std::memcpy(&upper, kSteps<T>.upper[Step], sizeof upper);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<T>; ++i) {
        if (i & d) continue;
        const Vector<T> a = v[i], b = v[i + d];
        v[i] = __builtin_shuffle(a, b, lower);
        v[i + d] = __builtin_shuffle(a, b, upper);
    }
    if constexpr (Step + 1 < Steps<T>::kCount) transpose<T, Step + 1>(v);
}

// The square at `source`, of which `rows` x `columns` exist, times `factor` and transposed, the rest zeros; the first
// Width lanes of its rows go to `out`.
template <class T, int Width>
FLB_INLINE void transposed_square(const T* source, int64_t stride, int rows, int columns, Vector<T> factor,
                                  T* out, int64_t out_stride) {
    constexpr int L = kLanes<T>;
    Vector<T> v[L];
    if (rows == Width && columns == L) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) v[i] = i < Width ? load(source + i * stride) * factor : Vector<T>{};
        transpose<T>(v);
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) std::memcpy(out + i * out_stride, &v[i], Width * sizeof(T));
        return;
    }
    for (int i = 0; i < L; ++i) {
        T row[L] = {};
        if (i < rows) std::memcpy(row, source + i * stride, size_t(columns) * sizeof(T));
        v[i] = load(row) * factor;
    }
    transpose<T>(v);
    for (int i = 0; i < columns; ++i) std::memcpy(out + i * out_stride, &v[i], Width * sizeof(T));
}

// The squares of a panel of Width rows from row `Part` on.
template <class T, int Width, int Part = 0>
FLB_INLINE void pack_squares(const T* source, int64_t stride, int rows, int columns, Vector<T> factor,
                             T* panel) {
    constexpr int kHere = Width - Part < kLanes<T> ? Width - Part : kLanes<T>;
    const int here = rows < kHere ? rows : kHere;
    transposed_square<T, kHere>(source, stride, here, columns, factor, panel + Part, Width);
    if constexpr (Part + kHere < Width)
        pack_squares<T, Width, Part + kHere>(source + here * stride, stride, rows - here, columns, factor,
                                             panel);
}

template <class T, int Width>
void pack_panels(const T* source, int64_t stride, int64_t count, int64_t kc, T scale, T* panels,
                 int64_t panel_stride) {
    constexpr int L = kLanes<T>;
    const Vector<T> factor = broadcast(scale);
    for (int64_t r = 0; r < count; r += Width, panels += panel_stride)
        for (int64_t k = 0; k < kc; k += L)
            pack_squares<T, Width>(source + r * stride + k, stride,
                                   count - r < Width ? int(count - r) : Width, kc - k < L ? int(kc - k) : L,
                                   factor, panels + k * Width);
}

template <class T>
void pack(bool is_a, const void* source, int64_t stride, int64_t count, int64_t kc, double scale,
          void* panels, int64_t panel_stride) {
    const T* from = static_cast<const T*>(source);
    T* to = static_cast<T*>(panels);
    if (is_a) pack_panels<T, kMr>(from, stride, count, kc, T(scale), to, panel_stride);
    else pack_panels<T, kNr<T>>(from, stride, count, kc, T(scale), to, panel_stride);
}

// Columns of `source`, kc rows of `count` neighbouring elements, as panels: nothing to transpose.
template <class T, int Width>
void pack_columns(const T* source, int64_t stride, int64_t count, int64_t kc, T scale, T* panels) {
    for (int64_t k = 0; k < kc; ++k, source += stride) {
        T* to = panels + k * Width;
        for (int64_t c = 0; c < count; c += Width, to += Width * kc) {
            T row[Width] = {};
            if (count - c >= Width) std::memcpy(row, source + c, sizeof row);
            else std::memcpy(row, source + c, size_t(count - c) * sizeof(T));
            for (int i = 0; i < Width; ++i) row[i] *= scale;
            std::memcpy(to, row, sizeof row);
        }
    }
}

template <class T>
void transpose_panel(const T* in, int64_t rows, int64_t columns, T* out, int64_t out_stride) {
    constexpr int L = kLanes<T>;
    const Vector<T> k = broadcast(T(1));
    for (int64_t r = 0; r < rows; r += L)
        for (int64_t c = 0; c < columns; c += L) {
            const int height = rows - r < L ? int(rows - r) : L,
                      width = columns - c < L ? int(columns - c) : L;
            T* to = out + c * out_stride + r;
            if (height == L) {
                transposed_square<T, L>(in + r * kNr<T> + c, kNr<T>, L, width, k, to, out_stride);
            } else {
                T square[L * L];
                transposed_square<T, L>(in + r * kNr<T> + c, kNr<T>, height, width, k, square, L);
                for (int i = 0; i < width; ++i)
                    std::memcpy(to + i * out_stride, square + i * L, size_t(height) * sizeof(T));
            }
        }
}

// ---- softmax ---------------------------------------------------------------------------------------------------------

// exp_below of nn_softmax.cpp, on whole vectors.
template <class T>
FLB_INLINE Vector<T> exp_below(Vector<T> x) {
    const Vector<T> low = broadcast(sizeof(T) == 4 ? T(-87) : T(-708)), magic = broadcast(kMagicPow2<T>);
    const Vector<T> c = x < low ? low : x;
    const Vector<T> shifted = multiply_add<T>(c, broadcast(T(0x1.71547652b82fep+0)), magic);
    const Vector<T> n = magic - shifted;
    const Vector<T> r =
        multiply_add<T>(n, broadcast(Fp<T>::kLn2Lo), multiply_add<T>(n, broadcast(Fp<T>::kLn2Hi), c));
    Vector<T> p = {};
    const auto horner = [&](const auto& table) __attribute__((always_inline)) {
        constexpr int count = int(sizeof(table) / sizeof(table[0]));
        p = broadcast(T(table[count - 1]));
#pragma GCC unroll 16
        for (int i = count - 2; i >= 0; --i) p = multiply_add<T>(p, r, broadcast(T(table[i])));
    };
    if constexpr (sizeof(T) == 4) horner(coefficients::kExpF);
    else horner(coefficients::kExpD);
    const Vector<T> e = multiply_add<T>(r * r, p, r) + broadcast(T(1));
    const Vector<T> power = (Vector<T>)((Indices<T>)shifted << Fp<T>::kMantissa);
    return x < low ? Vector<T>{} : e * power;
}

// The numbers of the lanes of a panel's vector.
template <class T>
FLB_INLINE Indices<T> lane_numbers(int part) {
    Indices<T> numbers;
    for (int j = 0; j < kLanes<T>; ++j) numbers[j] = part * kLanes<T> + j;
    return numbers;
}
template <class T>
FLB_INLINE Indices<T> same_number(int64_t n) {  // clipped to what lanes are compared with
    const int64_t clipped = n < -1 ? -1 : n > kNr<T> ? kNr<T> : n;
    return typename IndexOf<T>::Int(clipped) - Indices<T>{};
}

// Adds the mask, and -inf where a query may not look, to transposed scores: a row is a key.
template <class T>
void mask_transposed(const ScorePanel& p) {
    constexpr int L = kLanes<T>, W = kNr<T>;
    T* s = static_cast<T*>(p.scores);
    const T* mask = static_cast<const T*>(p.mask);
    const Vector<T> one = broadcast(T(1));
    for (int64_t r = 0; mask && r < p.rows; r += L) {
        const int rows = p.rows - r < L ? int(p.rows - r) : L;
        for (int part = 0; part < kNv; ++part) {
            const int64_t left = p.columns - part * L;
            const int columns = left < 0 ? 0 : left < L ? int(left) : L;
            T added[L * L];
            if (p.mask_row == 1 && p.mask_column != 0) {
                transposed_square<T, L>(mask + (columns ? part * L : 0) * p.mask_column + r, p.mask_column,
                                        columns, rows, one, added, L);
            } else {
                for (int i = 0; i < rows; ++i)
                    for (int j = 0; j < L; ++j)
                        added[i * L + j] =
                            j < columns ? mask[(part * L + j) * p.mask_column + (r + i) * p.mask_row] : T(0);
            }
            for (int i = 0; i < rows; ++i) {
                T* at = s + (r + i) * W + part * L;
                store(at, load(at) + load(added + i * L));
            }
        }
    }
    const Vector<T> never = broadcast(-Fp<T>::kInf);
    for (int64_t r = p.diagonal < 0 ? 0 : p.diagonal + 1; r < p.rows; ++r)
        for (int part = 0; part < kNv; ++part) {
            T* at = s + r * W + part * L;
            store(at, lane_numbers<T>(part) < same_number<T>(r - p.diagonal) ? never : load(at));
        }
}

template <class T>
void weights(const ScorePanel& p, T* top, T* sum, T* values, int64_t value_rows) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>, W = kNr<T>;
    mask_transposed<T>(p);
    T* __restrict s = static_cast<T*>(p.scores);
    V m[kNv], total[kNv], factor[kNv];
    for (int i = 0; i < kNv; ++i) m[i] = load(top + i * L);
    for (int64_t r = 0; r < p.rows; ++r)
        for (int i = 0; i < kNv; ++i) {
            const V x = load(s + r * W + i * L);
            m[i] = x > m[i] ? x : m[i];
        }
    // A NaN is no maximum: it comes out of exp, of the whole column.
    V shift[kNv];
    for (int i = 0; i < kNv; ++i) {
        const V low = broadcast(-Fp<T>::kInf);
        shift[i] = m[i] == low ? V{} : m[i];
        const V old = load(top + i * L);
        factor[i] = old == low ? V{} : exp_below<T>(old - shift[i]);
        total[i] = load(sum + i * L) * factor[i];
        store(top + i * L, m[i]);
    }
    for (int64_t r = 0; r < p.rows; ++r)
        for (int i = 0; i < kNv; ++i) {
            const V e = exp_below<T>(load(s + r * W + i * L) - shift[i]);
            total[i] += e;
            store(s + r * W + i * L, e);
        }
    for (int i = 0; i < kNv; ++i) store(sum + i * L, total[i]);
    for (int64_t r = 0; r < value_rows; ++r)
        for (int i = 0; i < kNv; ++i) store(values + r * W + i * L, load(values + r * W + i * L) * factor[i]);
}

template <class T>
void output(const T* values, const T* top, const T* sum, int64_t value_size, int64_t columns, T* out,
            int64_t row_stride, T* log_sums) {
    constexpr int W = kNr<T>;
    transpose_panel<T>(values, value_size, columns, out, row_stride);
    for (int64_t c = 0; c < columns; ++c) {
        T* __restrict row = out + c * row_stride;
        const T factor = sum[c] == T(0) ? T(0) : T(1) / sum[c];
        for (int64_t e = 0; e < value_size; ++e) row[e] *= factor;
    }
    T logs[W];
    for (int c = 0; c < W; ++c) logs[c] = sum[c] == T(0) ? Fp<T>::kInf : top[c] + vlog(sum[c]);
    for (int64_t c = 0; c < columns; ++c) log_sums[c] = logs[c];
}

template <class T>
void slopes(const ScorePanel& p, const T* log_sums, const T* delta, T* products) {
    using V = Vector<T>;
    constexpr int L = kLanes<T>, W = kNr<T>;
    T* __restrict s = static_cast<T*>(p.scores);
    const T* mask = static_cast<const T*>(p.mask);
    for (int64_t r = 0; r < p.rows; ++r) {
        T* __restrict weight = s + r * W;
        T* __restrict slope = products + r * W;
        if (mask && p.mask_column == 1 && p.columns == W)
            for (int c = 0; c < W; ++c) weight[c] += mask[r * p.mask_row + c];
        else if (mask)
            for (int64_t c = 0; c < p.columns; ++c) weight[c] += mask[r * p.mask_row + c * p.mask_column];
        const V shift = broadcast(log_sums[r]), offset = broadcast(delta[r]);
        const int64_t seen =
            p.diagonal < W && r + p.diagonal + 1 < p.columns ? r + p.diagonal + 1 : p.columns;
        for (int i = 0; i < kNv; ++i) {
            V e = exp_below<T>(load(weight + i * L) - shift), d = e * (load(slope + i * L) - offset);
            if (seen < W) {
                const auto counts = lane_numbers<T>(i) < same_number<T>(seen);
                e = counts ? e : V{};
                d = counts ? d : V{};
            }
            store(weight + i * L, e);
            store(slope + i * L, d);
        }
    }
}

template <class T>
void dots(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t rows, int64_t n, T* out) {
    for (int64_t r = 0; r < rows; ++r)
        out[r] =
            T(sum_mapped<T>(n, [](auto x, auto y) { return x * y; }, a + r * a_stride, b + r * b_stride));
}

// ---- by dtype --------------------------------------------------------------------------------------------------------

void weights_any(DType dtype, const ScorePanel& p, void* top, void* sum, void* values, int64_t value_rows) {
    FLB_FLOAT_OR_DOUBLE(dtype, weights<T>(p, static_cast<T*>(top), static_cast<T*>(sum),
                                          static_cast<T*>(values), value_rows));
}
void output_any(DType dtype, const void* values, const void* top, const void* sum, int64_t value_size,
                int64_t columns, void* out, int64_t row_stride, void* log_sums) {
    FLB_FLOAT_OR_DOUBLE(dtype, output<T>(static_cast<const T*>(values), static_cast<const T*>(top),
                                         static_cast<const T*>(sum), value_size, columns,
                                         static_cast<T*>(out), row_stride, static_cast<T*>(log_sums)));
}
void slopes_any(DType dtype, const ScorePanel& p, const void* log_sums, const void* delta, void* products) {
    FLB_FLOAT_OR_DOUBLE(dtype, slopes<T>(p, static_cast<const T*>(log_sums), static_cast<const T*>(delta),
                                         static_cast<T*>(products)));
}
void transpose_any(DType dtype, const void* in, int64_t rows, int64_t columns, void* out,
                   int64_t out_stride) {
    FLB_FLOAT_OR_DOUBLE(dtype, transpose_panel<T>(static_cast<const T*>(in), rows, columns,
                                                  static_cast<T*>(out), out_stride));
}
void pack_any(DType dtype, bool is_a, const void* source, int64_t stride, int64_t count, int64_t kc,
              double scale, void* panels, int64_t panel_stride) {
    FLB_FLOAT_OR_DOUBLE(dtype, pack<T>(is_a, source, stride, count, kc, scale, panels, panel_stride));
}
template <class T>
void pack_columns_of(bool is_a, const void* source, int64_t stride, int64_t count, int64_t kc, double scale,
                     void* panels) {
    const T* from = static_cast<const T*>(source);
    if (is_a) pack_columns<T, kMr>(from, stride, count, kc, T(scale), static_cast<T*>(panels));
    else pack_columns<T, kNr<T>>(from, stride, count, kc, T(scale), static_cast<T*>(panels));
}
void pack_columns_any(DType dtype, bool is_a, const void* source, int64_t stride, int64_t count, int64_t kc,
                      double scale, void* panels) {
    FLB_FLOAT_OR_DOUBLE(dtype, pack_columns_of<T>(is_a, source, stride, count, kc, scale, panels));
}
void dots_any(DType dtype, const void* a, int64_t a_stride, const void* b, int64_t b_stride, int64_t rows,
              int64_t n, void* out) {
    FLB_FLOAT_OR_DOUBLE(dtype, dots<T>(static_cast<const T*>(a), a_stride, static_cast<const T*>(b), b_stride,
                                       rows, n, static_cast<T*>(out)));
}

FLB_REGISTER_KERNEL(attention_weights, &weights_any);
FLB_REGISTER_KERNEL(attention_output, &output_any);
FLB_REGISTER_KERNEL(attention_slopes, &slopes_any);
FLB_REGISTER_KERNEL(attention_transpose, &transpose_any);
FLB_REGISTER_KERNEL(attention_pack, &pack_any);
FLB_REGISTER_KERNEL(attention_pack_columns, &pack_columns_any);
FLB_REGISTER_KERNEL(attention_dots, &dots_any);

}  // namespace FLB_ISA
}  // namespace flb
