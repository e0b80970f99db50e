// Windows of a single channel over a plane: vectors of neighbouring outputs.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// A vector's lanes from `first` on in a row of `size` elements, up to `count`: the others are zero, and not read.
template <class T>
class RowLanes {
  public:
    RowLanes() = default;
    FLB_INLINE RowLanes(int64_t first, int64_t size, int64_t count = kLanes<T>) {
        constexpr int64_t L = kLanes<T>;
        if (count > L) count = L;
        low_ = first >= 0 ? 0 : -first < L ? -first : L;
        const int64_t left = size - first;
        high_ = left >= count ? count : left > low_ ? left : low_;
        if (high_ < low_) high_ = low_;
#if defined(__AVX512F__)
        mask_ = uint16_t((1u << high_) - (1u << low_));
#elif defined(__AVX2__)
        mask_ = lanes_between<T>(low_, high_);
#endif
    }
    FLB_INLINE bool empty() const { return high_ == low_; }
    FLB_INLINE bool whole() const { return high_ - low_ == kLanes<T>; }
    FLB_INLINE Vector<T> read(const T* p) const {
#if defined(__AVX512F__)
        if constexpr (sizeof(T) == 4) return (Vector<T>)_mm512_maskz_loadu_ps(mask_, p);
        else return (Vector<T>)_mm512_maskz_loadu_pd(__mmask8(mask_), p);
#elif defined(__AVX2__)
        return load_lanes(p, mask_);
#else
        if (whole()) return load(p);
        T lanes[kLanes<T>] = {};
        for (int64_t i = low_; i < high_; ++i) lanes[i] = p[i];
        return load(lanes);
#endif
    }
#if defined(__AVX512F__)
    FLB_INLINE Vector<T> only(Vector<T> v) const {
        if constexpr (sizeof(T) == 4) return (Vector<T>)_mm512_maskz_mov_ps(mask_, (__m512)v);
        else return (Vector<T>)_mm512_maskz_mov_pd(__mmask8(mask_), (__m512d)v);
    }
#endif
    FLB_INLINE void write(T* p, Vector<T> v) const {
#if defined(__AVX512F__)
        if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(p, mask_, (__m512)v);
        else _mm512_mask_storeu_pd(p, __mmask8(mask_), (__m512d)v);
#else
        if (whole()) store(p, v);
        else store_first(p, v, high_);
#endif
    }

  private:
    int64_t low_, high_;
#if defined(__AVX512F__)
    uint16_t mask_;
#elif defined(__AVX2__)
    __m256i mask_;
#endif
};

// The first element, inside the plane or not, that tap 0 of output (row, column) reads.
template <class T>
FLB_INLINE const T* first_read(const ConvPlane& p, int64_t row, int64_t column) {
    return static_cast<const T*>(p.image) + ((row + p.top) * p.image_row + column + p.left);
}
FLB_INLINE bool has_row(const ConvPlane& p, int64_t row) { return row >= 0 && row < p.image_rows; }

// ---- outputs ---------------------------------------------------------------------------------------------------------

FLB_INLINE bool is_three_by_three(const ConvPlane& p) {
    return p.kernel[0] == 3 && p.kernel[1] == 3 && p.dilation[0] == 1;
}

// N neighbouring vectors of a row of outputs, and what the taps of a window's row read for them. Only the first and the
// last may reach over an edge: columns_at_once sees to it.
template <class T, int N>
class ThreeTaps {
    using V = Vector<T>;
    static constexpr int64_t L = kLanes<T>, kLast = (N - 1) * L;

  public:
    FLB_INLINE ThreeTaps(const ConvPlane& p, int64_t column) : dilation_(p.dilation[1]) {
        const int64_t left = p.columns - column;
        out_ = RowLanes<T>(0, left - kLast);
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
            const int64_t at = column + p.left + k * dilation_;
            first_[k] = RowLanes<T>(at, p.image_columns, left);
            last_[k] = RowLanes<T>(at + kLast, p.image_columns, left - kLast);
        }
    }
    // Calls f(n, k, what tap k of vector n reads) in turn; kOutOnly: zeros where there is no output.
    template <bool kOutOnly, class F>
    FLB_INLINE void each(const T* row, F&& f) const {
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n)
#pragma GCC unroll 3
            for (int k = 0; k < 3; ++k) {
                const T* from = row + n * L + k * dilation_;
                f(n, k, n == 0 ? first_[k].read(from) : n == N - 1 ? last_[k].read(from) : load(from));
            }
    }
    FLB_INLINE V read_out(const T* row, int n) const {
        return n == N - 1 ? out_.read(row + n * L) : load(row + n * L);
    }
    FLB_INLINE void write_out(T* row, int n, V v) const {
        n == N - 1 ? out_.write(row + n * L, v) : store(row + n * L, v);
    }

  private:
    RowLanes<T> first_[3], last_[3], out_;
    int64_t dilation_;
};

#if defined(__AVX512F__)
// The same for taps that are neighbours: a row is read once and shifted, because most reads of such vectors fall on two
// cache lines and take twice as long.
template <class T, int N>
class ShiftedTaps {
    using V = Vector<T>;
    static constexpr int64_t L = kLanes<T>, kLast = (N - 1) * L;

  public:
    FLB_INLINE ShiftedTaps(const ConvPlane& p, int64_t column) {
        const int64_t at = column + p.left, left = p.columns - column;
        out_ = RowLanes<T>(0, left - kLast);
        first_ = RowLanes<T>(at, p.image_columns, left + 2);
        last_ = RowLanes<T>(at + kLast, p.image_columns, left + 2 - kLast);
        next_ = RowLanes<T>(at + N * L, p.image_columns, left + 2 - N * L < 2 ? left + 2 - N * L : 2);
        has_next_ = !next_.empty();
    }
    template <bool kOutOnly, class F>
    FLB_INLINE void each(const T* row, F&& f) const {
        const auto some = [&](int n, V v) __attribute__((always_inline)) {
            return kOutOnly && n == N - 1 ? out_.only(v) : v;
        };
        V x = first_.read(row);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
            V next{};
            if (n < N - 2) next = load(row + (n + 1) * L);
            else if (n == N - 2) next = last_.read(row + (n + 1) * L);
            else if (has_next_) next = next_.read(row + (n + 1) * L);
            f(n, 0, some(n, x));
            f(n, 1, some(n, shift<1>(x, next)));
            f(n, 2, some(n, shift<2>(x, next)));
            x = next;
        }
    }
    FLB_INLINE V read_out(const T* row, int n) const {
        return n == N - 1 ? out_.read(row + n * L) : load(row + n * L);
    }
    FLB_INLINE void write_out(T* row, int n, V v) const {
        n == N - 1 ? out_.write(row + n * L, v) : store(row + n * L, v);
    }

  private:
    template <int Lanes>
    static FLB_INLINE V shift(V x, V next) {
        if constexpr (sizeof(T) == 4) return (V)_mm512_alignr_epi32((__m512i)next, (__m512i)x, Lanes);
        else return (V)_mm512_alignr_epi64((__m512i)next, (__m512i)x, Lanes);
    }
    RowLanes<T> first_, last_, next_, out_;
    bool has_next_;
};
#endif

constexpr int kMostVectors = kVectorBytes == 64 ? 4 : 2;  // as many as the registers hold sums of

// How many vectors of outputs from this column on are one strip's.
template <class T>
FLB_INLINE int64_t columns_at_once(const ConvPlane& p, int64_t column) {
    constexpr int64_t L = kLanes<T>;
    const int64_t left = (p.columns - column + L - 1) / L, strips = (left + kMostVectors - 1) / kMostVectors;
    int64_t n = (left + strips - 1) / strips;
    // The vectors between the first and the last are read whole.
    const int64_t first = column + p.left + L, end = column + p.left + (n - 1) * L + 2 * p.dilation[1];
    if (n > 2 && (first < 0 || end > p.image_columns)) n = 1;
    return n;
}

template <class Taps>
struct TapsOf {
    using type = Taps;
};
// Calls f(N, TapsOf, column) for each strip of N vectors of columns.
template <class T, class F>
FLB_INLINE void each_strip(const ConvPlane& p, F&& f) {
    for (int64_t column = 0; column < p.columns;) {
        const int64_t vectors = columns_at_once<T>(p, column);
        with_constant<kMostVectors>(vectors, [&](auto n) {
#if defined(__AVX512F__)
            if (p.dilation[1] == 1) return f(n, TapsOf<ShiftedTaps<T, decltype(n)::value>>(), column);
#endif
            f(n, TapsOf<ThreeTaps<T, decltype(n)::value>>(), column);
        });
        column += vectors * kLanes<T>;
    }
}
// Planes of one strip are gone through together; others one by one, so that they stay in the cache.
template <class T>
FLB_INLINE int64_t planes_at_once(const ConvPlanes& all) {
    return columns_at_once<T>(all.plane, 0) * kLanes<T> >= all.plane.columns ? all.count : 1;
}

// A strip of columns of all rows of planes [begin, end): three rows of sums wait for each row that is read, which is
// read once.
template <class T, int N, class Taps>
void three_by_three(const ConvPlanes& all, int64_t begin, int64_t end, int64_t column, const T* weights,
                    const T* bias) {
    using V = Vector<T>;
    const ConvPlane& p = all.plane;
    const Taps taps(p, column);
    const int64_t image_row = p.image_row, out_row = p.out_row, rows = p.rows, image_rows = p.image_rows,
                  top = p.top, weight_step = all.weight_step;
    for (int64_t i = begin; i < end; ++i) {
        const T* from = first_read<T>(p, 0, column) + i * all.image_distance;
        T* out = static_cast<T*>(p.out) + i * all.out_distance + column - 2 * out_row;
        V w[9], sum[3][N];
        const V start = broadcast(bias ? bias[i] : T(0));
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t) w[t] = broadcast(weights[i * all.weight_distance + t * weight_step]);
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) sum[0][n] = sum[1][n] = sum[2][n] = start;
        for (int64_t r = -2; r < rows; ++r) {
            if (uint64_t(r + 2 + top) < uint64_t(image_rows)) {
                taps.template each<false>(from, [&](int n, int k, V x) {
#pragma GCC unroll 3
                    for (int h = 0; h < 3; ++h) add_product<T>(sum[h][n], x, w[(2 - h) * 3 + k]);
                });
            }
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) {
                if (r >= 0) taps.write_out(out, n, sum[0][n]);
                sum[0][n] = sum[1][n];
                sum[1][n] = sum[2][n];
                sum[2][n] = start;
            }
            from += image_row;
            out += out_row;
        }
    }
}

// Rows outputs below one another; their sums are independent.
template <class T, int Rows>
void any_window(const ConvPlane& p, const T* weights, int64_t weight_step, int64_t row, int64_t column,
                T bias) {
    using V = Vector<T>;
    V sum[Rows];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) sum[i] = broadcast(bias);
    for (int64_t h = 0; h < p.kernel[0]; ++h)
        for (int64_t k = 0; k < p.kernel[1]; ++k) {
            const V w = broadcast(weights[(h * p.kernel[1] + k) * weight_step]);
            const RowLanes<T> lanes(column + p.left + k * p.dilation[1], p.image_columns);
            const int64_t first = row + h * p.dilation[0];
            const T* from = first_read<T>(p, first, column + k * p.dilation[1]);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; ++i)
                if (has_row(p, first + p.top + i))
                    sum[i] = multiply_add<T>(lanes.read(from + i * p.image_row), w, sum[i]);
        }
    const RowLanes<T> out_lanes(column, p.columns);
    T* out = static_cast<T*>(p.out) + row * p.out_row + column;
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i) out_lanes.write(out + i * p.out_row, sum[i]);
}

template <class T>
void planes(const ConvPlanes& all, const T* weights, const T* bias) {
    constexpr int64_t L = kLanes<T>, kMost = 4;
    if (is_three_by_three(all.plane)) {
        const int64_t group = planes_at_once<T>(all);
        for (int64_t i = 0; i < all.count; i += group)
            each_strip<T>(all.plane, [&](auto n, auto taps, int64_t column) {
                three_by_three<T, decltype(n)::value, typename decltype(taps)::type>(all, i, i + group,
                                                                                     column, weights, bias);
            });
        return;
    }
    ConvPlane p = all.plane;
    for (int64_t i = 0; i < all.count; ++i) {
        const int64_t tiles = (p.rows + kMost - 1) / kMost;
        int64_t row = 0;
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t rows = (p.rows - row + tiles - t - 1) / (tiles - t);
            for (int64_t c = 0; c < p.columns; c += L)
                with_constant<kMost>(rows, [&](auto n) {
                    any_window<T, decltype(n)::value>(p, weights + i * all.weight_distance, all.weight_step,
                                                      row, c, bias ? bias[i] : T(0));
                });
            row += rows;
        }
        p.image = static_cast<const T*>(p.image) + all.image_distance;
        p.out = static_cast<T*>(p.out) + all.out_distance;
    }
}

void conv_planes_impl(DType type, const ConvPlanes& all, const void* weights, const void* bias) {
    if (type == DType::Float64)
        planes(all, static_cast<const double*>(weights), static_cast<const double*>(bias));
    else planes(all, static_cast<const float*>(weights), static_cast<const float*>(bias));
}

// ---- the gradient of the weights ---------------------------------------------------------------------------------------

// A strip of columns of all rows, for a window of 3 x 3 whose rows are neighbours: three rows of gradients wait for
// each row that is read.
template <class T, int N, class Taps>
void strip_of_three(const ConvPlane& p, int64_t column, int64_t batch, int64_t image_batch, int64_t out_batch,
                    T* weights) {
    using V = Vector<T>;
    const Taps taps(p, column);
    const int64_t top = p.top, rows = p.rows, image_row = p.image_row, out_row = p.out_row;
    const int64_t begin = top > 0 ? top : 0,
                  end = rows + 2 + top < p.image_rows ? rows + 2 + top : p.image_rows;
    V sum[9] = {};
    for (int64_t i = 0; i < batch; ++i) {
        const T* grad = static_cast<const T*>(p.out) + column + i * out_batch;
        const T* from =
            static_cast<const T*>(p.image) + begin * image_row + column + p.left + i * image_batch;
        V g[3][N] = {};
        const auto has_gradient = [&](int64_t row) { return uint64_t(row) < uint64_t(rows); };
        const auto read_gradient = [&](int64_t row, V(&to)[N]) {
            if (!has_gradient(row)) return;
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) to[n] = taps.read_out(grad + row * out_row, n);
        };
        read_gradient(begin - top - 1, g[1]);
        read_gradient(begin - top - 2, g[2]);
        for (int64_t row = begin - top; row < end - top; ++row) {
            read_gradient(row, g[0]);
            if (row >= 2 && row < rows) {
                taps.template each<true>(from, [&](int n, int k, V x) {
#pragma GCC unroll 3
                    for (int h = 0; h < 3; ++h) add_product<T>(sum[h * 3 + k], x, g[h][n]);
                });
            } else {
                // No products with rows that are not there: a zero times an infinity would not be zero.
#pragma GCC unroll 3
                for (int h = 0; h < 3; ++h) {
                    if (has_gradient(row - h))
                        taps.template each<true>(
                            from, [&](int n, int k, V x) { add_product<T>(sum[h * 3 + k], x, g[h][n]); });
                }
            }
#pragma GCC unroll 4
            for (int n = 0; n < N; ++n) {
                g[2][n] = g[1][n];
                g[1][n] = g[0][n];
            }
            from += image_row;
        }
    }
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) weights[t] += lane_sum<T>(sum[t]);
}

// Taps [first, first + Taps), at these offsets.
template <class T, int Taps>
void plane_weight_taps(const ConvPlane& p, int64_t first, Vector<T> (&sum)[9]) {
    using V = Vector<T>;
    constexpr int64_t L = kLanes<T>;
    for (int64_t c = 0; c < p.columns; c += L) {
        const RowLanes<T> out_lanes(c, p.columns);
        for (int64_t r = 0; r < p.rows; ++r) {
            const V y = out_lanes.read(static_cast<const T*>(p.out) + r * p.out_row + c);
#pragma GCC unroll 9
            for (int t = 0; t < Taps; ++t) {
                const int64_t h = (first + t) / p.kernel[1] * p.dilation[0],
                              k = (first + t) % p.kernel[1] * p.dilation[1];
                if (!has_row(p, r + p.top + h)) continue;
                const RowLanes<T> lanes(c + p.left + k, p.image_columns);
                sum[t] = multiply_add<T>(lanes.read(first_read<T>(p, r + h, c + k)), y, sum[t]);
            }
        }
    }
}

template <class T>
void planes_weight(const ConvPlanes& all, int64_t batch, int64_t image_batch, int64_t out_batch, T* weights) {
    ConvPlane p = all.plane;
    const int64_t taps = p.kernel[0] * p.kernel[1];
    for (int64_t i = 0; i < all.count; ++i, weights += taps) {
        for (int64_t t = 0; t < taps; ++t) weights[t] = T(0);
        if (is_three_by_three(p))
            each_strip<T>(p, [&](auto n, auto three, int64_t column) {
                strip_of_three<T, decltype(n)::value, typename decltype(three)::type>(
                    p, column, batch, image_batch, out_batch, weights);
            });
        else
            for (int64_t t = 0; t < taps; t += 9) {
                Vector<T> sum[9] = {};
                const int64_t some = taps - t < 9 ? taps - t : 9;
                ConvPlane at = p;
                for (int64_t n = 0; n < batch; ++n) {
                    with_constant<9>(some,
                                     [&](auto k) { plane_weight_taps<T, decltype(k)::value>(at, t, sum); });
                    at.image = static_cast<const T*>(at.image) + image_batch;
                    at.out = static_cast<T*>(at.out) + out_batch;
                }
                for (int k = 0; k < some; ++k) weights[t + k] = lane_sum<T>(sum[k]);
            }
        p.image = static_cast<const T*>(p.image) + all.image_distance;
        p.out = static_cast<T*>(p.out) + all.out_distance;
    }
}

void conv_planes_weight_impl(DType type, const ConvPlanes& all, int64_t batch, int64_t image_batch,
                             int64_t out_batch, void* weights) {
    if (type == DType::Float64)
        planes_weight(all, batch, image_batch, out_batch, static_cast<double*>(weights));
    else planes_weight(all, batch, image_batch, out_batch, static_cast<float*>(weights));
}

FLB_REGISTER_KERNEL(conv_planes, &conv_planes_impl);
FLB_REGISTER_KERNEL(conv_planes_weight, &conv_planes_weight_impl);

}  // namespace FLB_ISA
}  // namespace flb
