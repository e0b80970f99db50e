// Windows of a single channel over a plane: vectors of neighbouring outputs.
#include "kernels/conv_kernels.h"

#include "kernels/isa/vector.h"

namespace flb {
namespace FLB_ISA {

// A vector's lanes from `first` on in a row of `size` elements: those outside the row are zero, and not read.
template <class T>
class RowLanes {
  public:
    RowLanes() = default;
    FLB_INLINE RowLanes(int64_t first, int64_t size) {
        constexpr int64_t L = kLanes<T>;
        low_ = first >= 0 ? 0 : -first < L ? -first : L;
        const int64_t left = size - first;
        high_ = left >= L ? L : left > low_ ? left : low_;
#if defined(__AVX512F__)
        mask_ = uint16_t((1u << high_) - (1u << low_));
#endif
    }
    FLB_INLINE bool whole() const { return high_ - low_ == kLanes<T>; }
    FLB_INLINE Vector<T> read(const T* p) const {
#if defined(__AVX512F__)
        if constexpr (sizeof(T) == 4) return (Vector<T>)_mm512_maskz_loadu_ps(mask_, p);
        else return (Vector<T>)_mm512_maskz_loadu_pd(__mmask8(mask_), p);
#else
        if (whole()) return load(p);
        T lanes[kLanes<T>] = {};
        for (int64_t i = low_; i < high_; ++i) lanes[i] = p[i];
        return load(lanes);
#endif
    }
    FLB_INLINE void write(T* p, Vector<T> v) const {
        if (whole()) store(p, v);
        else store_first(p, v, high_);
    }

  private:
    int64_t low_, high_;
#if defined(__AVX512F__)
    uint16_t mask_;
#endif
};

// The first element, inside the plane or not, that tap 0 of output (row, column) reads.
template <class T>
FLB_INLINE const T* first_read(const ConvPlane& p, int64_t row, int64_t column) {
    return static_cast<const T*>(p.image) + ((row + p.top) * p.image_row + column + p.left);
}
FLB_INLINE bool has_row(const ConvPlane& p, int64_t row) { return row >= 0 && row < p.image_rows; }

// ---- outputs ---------------------------------------------------------------------------------------------------------

// Rows outputs below one another of a window of 3 x 3 whose rows are neighbours: a row that is read goes into three.
template <class T, int Rows>
void three_by_three(const ConvPlane& p, const Vector<T> (&w)[9], int64_t row, int64_t column, T bias) {
    using V = Vector<T>;
    const RowLanes<T> out_lanes(column, p.columns);
    RowLanes<T> lanes[3];
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) lanes[k] = RowLanes<T>(column + p.left + k * p.dilation[1], p.image_columns);
    const T* from = first_read<T>(p, row, column);
    V sum[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) sum[i] = broadcast(bias);
#pragma GCC unroll 10
    for (int i = 0; i < Rows + 2; ++i) {
        if (has_row(p, row + p.top + i)) {
#pragma GCC unroll 3
            for (int k = 0; k < 3; ++k) {
                const V x = lanes[k].read(from + k * p.dilation[1]);
#pragma GCC unroll 3
                for (int h = 0; h < 3; ++h)
                    if (i - h >= 0 && i - h < Rows) add_product<T>(sum[i - h], x, w[h * 3 + k]);
            }
        }
        from += p.image_row;
    }
    T* out = static_cast<T*>(p.out) + row * p.out_row + column;
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) out_lanes.write(out + i * p.out_row, sum[i]);
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

FLB_INLINE bool is_three_by_three(const ConvPlane& p) {
    return p.kernel[0] == 3 && p.kernel[1] == 3 && p.dilation[0] == 1;
}

template <class T>
void plane(const ConvPlane& p, const T* weights, int64_t weight_step, T bias) {
    constexpr int64_t L = kLanes<T>;
    const bool three = is_three_by_three(p);
    Vector<T> w[9] = {};
    for (int t = 0; three && t < 9; ++t) w[t] = broadcast(weights[t * weight_step]);
    const int64_t most = three ? 8 : 4, tiles = (p.rows + most - 1) / most;
    int64_t row = 0;
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t rows = (p.rows - row + tiles - t - 1) / (tiles - t);
        for (int64_t c = 0; c < p.columns; c += L) {
            if (three)
                with_constant<8>(rows,
                                 [&](auto n) { three_by_three<T, decltype(n)::value>(p, w, row, c, bias); });
            else
                with_constant<4>(rows, [&](auto n) {
                    any_window<T, decltype(n)::value>(p, weights, weight_step, row, c, bias);
                });
        }
        row += rows;
    }
}

void conv_plane_impl(DType type, const ConvPlane& p, const void* weights, int64_t weight_step, double bias) {
    if (type == DType::Float64) plane<double>(p, static_cast<const double*>(weights), weight_step, bias);
    else plane<float>(p, static_cast<const float*>(weights), weight_step, float(bias));
}

// ---- the gradient of the weights ---------------------------------------------------------------------------------------

// A strip of columns of all rows, for a window of 3 x 3 whose rows are neighbours: three rows of gradients wait for
// each row that is read.
template <class T>
FLB_INLINE void strip_of_three(const ConvPlane& p, int64_t column, Vector<T> (&sum)[9]) {
    using V = Vector<T>;
    const RowLanes<T> out_lanes(column, p.columns);
    RowLanes<T> lanes[3];
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) lanes[k] = RowLanes<T>(column + p.left + k * p.dilation[1], p.image_columns);
    const int64_t first = p.top > 0 ? p.top : 0;
    const int64_t end = p.rows + 2 + p.top < p.image_rows ? p.rows + 2 + p.top : p.image_rows;
    const T* grad = static_cast<const T*>(p.out) + column;
    const auto gradient = [&](int64_t row) {
        return row >= 0 && row < p.rows ? out_lanes.read(grad + row * p.out_row) : V{};
    };
    V g1 = gradient(first - p.top - 1), g2 = gradient(first - p.top - 2);
    for (int64_t row = first; row < end; ++row) {
        const V g0 = gradient(row - p.top);
        const T* from = static_cast<const T*>(p.image) + row * p.image_row + column + p.left;
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) {
            const V x = lanes[k].read(from + k * p.dilation[1]);
            add_product<T>(sum[k], x, g0);
            add_product<T>(sum[3 + k], x, g1);
            add_product<T>(sum[6 + k], x, g2);
        }
        g2 = g1;
        g1 = g0;
    }
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
void plane_weight(ConvPlane p, int64_t count, int64_t image_distance, int64_t out_distance, T* weights) {
    const int64_t taps = p.kernel[0] * p.kernel[1];
    const ConvPlane start = p;
    for (int64_t t = 0; t < taps; t += 9) {
        Vector<T> sum[9] = {};
        p = start;
        for (int64_t n = 0; n < count; ++n) {
            if (is_three_by_three(p)) {
                for (int64_t c = 0; c < p.columns; c += kLanes<T>) strip_of_three<T>(p, c, sum);
            } else {
                with_constant<9>(taps - t < 9 ? taps - t : 9,
                                 [&](auto k) { plane_weight_taps<T, decltype(k)::value>(p, t, sum); });
            }
            p.image = static_cast<const T*>(p.image) + image_distance;
            p.out = static_cast<T*>(p.out) + out_distance;
        }
        for (int i = 0; i < 9 && t + i < taps; ++i) weights[t + i] = lane_sum<T>(sum[i]);
    }
}

void conv_plane_weight_impl(DType type, const ConvPlane& p, int64_t count, int64_t image_distance,
                            int64_t out_distance, void* weights) {
    if (type == DType::Float64)
        plane_weight(p, count, image_distance, out_distance, static_cast<double*>(weights));
    else plane_weight(p, count, image_distance, out_distance, static_cast<float*>(weights));
}

FLB_REGISTER_KERNEL(conv_plane, &conv_plane_impl);
FLB_REGISTER_KERNEL(conv_plane_weight, &conv_plane_weight_impl);

}  // namespace FLB_ISA
}  // namespace flb
