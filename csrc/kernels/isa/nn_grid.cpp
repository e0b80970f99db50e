// Sampling at the places of a grid. For a tile of pixels it is first found out which elements of a plane count, with what
// weight (the same for all channels); then every channel is one sum of gathered elements.
#include "kernels/grid_kernels.h"
#include "kernels/isa/gather.h"
#include "kernels/isa/nn_sums.h"

namespace flb {
namespace FLB_ISA {

constexpr int kTile = int(GridShape::kTile);

// Along one dimension: K elements per pixel (-1: outside), their weights, and the weights' slopes in the grid's value.
template <class T, int K>
struct Along {
    int32_t at[K][kTile];
    T weight[K][kTile], slope[K][kTile];
};
// All dimensions together.
template <class T, int D, int K>
struct Taps {
    static constexpr int kCount = D == 2 ? K * K : K * K * K;
    Along<T, K> axis[D];
    int32_t at[kCount][kTile];
    T weight[kCount][kTile], slope[2][kCount][kTile];  // slopes: of planes only
};

// Mirrors a place at the borders until it lies between them; `sign` turns where the direction does.
template <class T>
FLB_INLINE T reflected(T x, T size, bool align_corners, T& sign) {
    const T low = align_corners ? T(0) : T(-0.5), span = align_corners ? size - 1 : size;
    const T from = x - low, distance = __builtin_fabs(from), times = span > 0 ? distance / span : T(0);
    const T whole = __builtin_floor(times), extra = distance - whole * span;
    const bool odd = whole - 2 * __builtin_floor(whole / 2) != 0;
    sign = span > 0 ? ((from < 0) != odd ? T(-1) : T(1)) : T(0);
    return span > 0 ? (odd ? span - extra : extra) + low : T(0);
}
template <class T, int D>
FLB_INLINE T clipped(T x,
                     T size) {  // NaN gives the first place in planes and the last in volumes, as in PyTorch
    if (D == 3) {
        const T below = x < size - 1 ? x : size - 1;
        return below > 0 ? below : T(0);
    }
    const T above = x > 0 ? x : T(0);
    return above < size - 1 ? above : size - 1;
}
template <class T>
FLB_INLINE int32_t index_inside(T x, T size) {  // of a whole number
    const bool inside = (x >= 0) & (x < size);
    const T safe = inside ? x : T(0);
    return inside ? int32_t(safe) : -1;
}

template <class T, int D, GridShape::Mode mode, int K>
FLB_INLINE void taps_along(const GridShape& s, int d, const T* __restrict grid, int count, Along<T, K>& a) {
    const T size = T(s.size[d]), scale = (s.align_corners ? size - 1 : size) / 2;
    const bool align = s.align_corners;
    T place[kTile] = {}, slope[kTile] = {};
    for (int p = 0; p < count; ++p) {
        place[p] = (grid[p * s.dims] + 1) * scale - (align ? T(0) : T(0.5));
        slope[p] = scale;
    }
    if constexpr (mode != GridShape::Bicubic) {
        if (s.padding == GridShape::Reflection)
            for (int p = 0; p < kTile; ++p) {
                T sign;
                place[p] = reflected(place[p], size, align, sign);
                slope[p] *= sign;
            }
        if (s.padding != GridShape::Zeros)
            for (int p = 0; p < kTile; ++p) {
                slope[p] = (place[p] > 0) & (place[p] < size - 1) ? slope[p] : T(0);
                place[p] = clipped<T, D>(place[p], size);
            }
    }
    if constexpr (mode == GridShape::Nearest) {
        for (int p = 0; p < kTile; ++p) {
            a.at[0][p] = index_inside(T(__builtin_rint(place[p])), size);
            a.weight[0][p] = 1;
            a.slope[0][p] = 0;
        }
    } else if constexpr (mode == GridShape::Bilinear) {
        for (int p = 0; p < kTile; ++p) {
            const T low = __builtin_floor(place[p]), t = place[p] - low;
            a.at[0][p] = index_inside(low, size);
            a.at[1][p] = index_inside(low + 1, size);
            const bool counts = (D == 2) | (t == t);  // of a NaN in volumes nothing is left
            a.weight[0][p] = counts ? 1 - t : T(0);
            a.weight[1][p] = counts ? t : T(0);
            a.slope[0][p] = -slope[p];
            a.slope[1][p] = slope[p];
        }
    } else {
        constexpr T A = T(-0.75);
        for (int k = 0; k < 4; ++k)
            for (int p = 0; p < kTile; ++p) {
                const T low = __builtin_floor(place[p]), t = place[p] - low;
                T at = low + T(k - 1), sign;
                if (s.padding == GridShape::Reflection) at = reflected(at, size, align, sign);
                if (s.padding != GridShape::Zeros) at = clipped<T, D>(at, size);
                a.at[k][p] = index_inside(at, size);
                // Keys' kernel and its derivative at the distance from tap k.
                const T x = k < 2 ? t + T(1 - k) : T(k - 1) - t;
                const T sense = k < 2 ? slope[p] : -slope[p];
                a.weight[k][p] = k == 1 || k == 2 ? ((A + 2) * x - (A + 3)) * x * x + 1
                                                  : ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
                a.slope[k][p] = sense * (k == 1 || k == 2 ? (3 * (A + 2) * x - 2 * (A + 3)) * x
                                                          : (3 * A * x - 10 * A) * x + 8 * A);
            }
    }
}

template <class T, int D, GridShape::Mode mode, int K, bool slopes>
FLB_INLINE void find_taps(const GridShape& s, const T* grid, int count, Taps<T, D, K>& taps) {
    for (int d = 0; d < D; ++d) taps_along<T, D, mode>(s, d, grid + d, count, taps.axis[d]);
    const Along<T, K>&x = taps.axis[0], &y = taps.axis[1], &z = taps.axis[D - 1];
    const int32_t width = int32_t(s.size[0]), height = int32_t(s.size[1]);
    for (int c = 0; c < (D == 3 ? K : 1); ++c)
        for (int b = 0; b < K; ++b)
            for (int a = 0; a < K; ++a) {
                const int k = (c * K + b) * K + a;
                for (int p = 0; p < kTile; ++p) {
                    int32_t outside = x.at[a][p] | y.at[b][p], at = y.at[b][p] * width + x.at[a][p];
                    T wz = 1;
                    if constexpr (D == 3) {
                        outside |= z.at[c][p];
                        at += z.at[c][p] * height * width;
                        wz = z.weight[c][p];
                    }
                    taps.at[k][p] = outside < 0 ? -1 : at;
                    taps.weight[k][p] = x.weight[a][p] * y.weight[b][p] * wz;
                    if constexpr (slopes && D == 2) {
                        taps.slope[0][k][p] = x.slope[a][p] * y.weight[b][p];
                        taps.slope[1][k][p] = x.weight[a][p] * y.slope[b][p];
                    }
                }
            }
    for (int k = 0; k < Taps<T, D, K>::kCount; ++k)
        for (int p = count; p < kTile; ++p) taps.at[k][p] = -1;
}

template <class T, int D, GridShape::Mode mode, int K>
void sample(const GridShape& s, const T* in, const T* grid, T* out, int64_t begin, int64_t end) {
    constexpr int L = kLanes<T>, kCount = Taps<T, D, K>::kCount;
    Taps<T, D, K> taps;
    for (int64_t u = begin; u < end; ++u) {
        const int64_t n = u / s.tiles(), from = u % s.tiles() * kTile;
        const int count = int(s.pixels - from < kTile ? s.pixels - from : kTile);
        find_taps<T, D, mode, K, false>(s, grid + (n * s.pixels + from) * D, count, taps);
        for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c) {
            const T* plane = in + c * s.plane();
            T* to = out + c * s.pixels + from;
            for (int p = 0; p < count; p += L) {
                Vector<T> sum = gather_inside(plane, taps.at[0] + p) * load(taps.weight[0] + p);
                for (int k = 1; k < kCount; ++k)
                    sum =
                        multiply_add<T>(gather_inside(plane, taps.at[k] + p), load(taps.weight[k] + p), sum);
                store_some(to + p, sum, count - p);
            }
        }
    }
}

template <class T, int D, GridShape::Mode mode, int K>
void input_gradient(const GridShape& s, const T* grad, const T* grid, T* grad_in, int64_t begin,
                    int64_t end) {
    constexpr int kCount = Taps<T, D, K>::kCount;
    Taps<T, D, K> taps;
    for (int64_t u = begin; u < end; ++u) {
        const int64_t n = u / s.channel_blocks(), first = u % s.channel_blocks() * GridShape::kChannels;
        const int64_t last =
            s.channels - first < GridShape::kChannels ? s.channels : first + GridShape::kChannels;
        for (int64_t from = 0; from < s.pixels; from += kTile) {
            const int count = int(s.pixels - from < kTile ? s.pixels - from : kTile);
            find_taps<T, D, mode, K, false>(s, grid + (n * s.pixels + from) * D, count, taps);
            for (int64_t c = n * s.channels + first; c < n * s.channels + last; ++c) {
                T* plane = grad_in + c * s.plane();
                const T* g = grad + c * s.pixels + from;
                for (int p = 0; p < count; ++p)
                    for (int k = 0; k < kCount; ++k)
                        if (taps.at[k][p] >= 0) plane[taps.at[k][p]] += taps.weight[k][p] * g[p];
            }
        }
    }
}

template <class T, int D, GridShape::Mode mode, int K>
void grid_gradient(const GridShape& s, const T* grad, const T* in, const T* grid, T* grad_grid, int64_t begin,
                   int64_t end) {
    constexpr int L = kLanes<T>, kCount = Taps<T, D, K>::kCount;
    Taps<T, D, K> taps;
    for (int64_t u = begin; u < end; ++u) {
        const int64_t n = u / s.tiles(), from = u % s.tiles() * kTile;
        const int count = int(s.pixels - from < kTile ? s.pixels - from : kTile);
        find_taps<T, D, mode, K, true>(s, grid + (n * s.pixels + from) * D, count, taps);
        T* to = grad_grid + (n * s.pixels + from) * D;
        for (int p = 0; p < count; p += L) {
            Vector<T> total[D] = {}, share[kCount] = {};
            for (int64_t c = n * s.channels; c < (n + 1) * s.channels; ++c) {
                const T *plane = in + c * s.plane(), *from_grad = grad + c * s.pixels + from + p;
                Vector<T> g = {}, v[kCount];
                if (count - p >= L) g = load(from_grad);
                else
                    for (int i = 0; i < count - p; ++i) g[i] = from_grad[i];
                for (int k = 0; k < kCount; ++k) v[k] = gather_inside(plane, taps.at[k] + p);
                if constexpr (D == 3) {
                    // In PyTorch's order, to the bit: in a gradient this much cancels, and roundings would show.
                    for (int k = 0; k < kCount; ++k)
                        for (int d = 0; d < D; ++d) {
                            constexpr int kOther[3][2] = {{1, 2}, {0, 2}, {0, 1}};
                            const int first = kOther[d][0], second = kOther[d][1];
                            const Vector<T> part = v[k] * load(taps.axis[first].weight[k >> first & 1] + p) *
                                                   load(taps.axis[second].weight[k >> second & 1] + p) * g;
                            total[d] = k >> d & 1 ? total[d] + part : total[d] - part;
                        }
                } else if constexpr (K == 2) {
                    // Neighbours are subtracted first: their difference is exact where they are close.
                    for (int d = 0; d < D; ++d)
                        for (int k = 0; k < kCount; ++k)
                            if (k & 1 << d)
                                total[d] = multiply_add<T>((v[k] - v[k - (1 << d)]) * g,
                                                           load(taps.slope[d][k] + p), total[d]);
                } else {
                    for (int k = 0; k < kCount; ++k) share[k] = multiply_add<T>(v[k], g, share[k]);
                }
            }
            for (int d = 0; d < D; ++d) {
                if constexpr (D == 3) total[d] *= load(taps.axis[d].slope[K - 1] + p);
                else if constexpr (K != 2)
                    for (int k = 0; k < kCount; ++k)
                        total[d] = multiply_add<T>(share[k], load(taps.slope[d][k] + p), total[d]);
                for (int i = 0; i < L && p + i < count; ++i) to[(p + i) * D + d] = total[d][i];
            }
        }
    }
}

// Calls a template on element type, dimensions and mode.
#define FLB_GRID(s, name, ...)                                                                   \
    do {                                                                                         \
        if ((s).mode == GridShape::Bicubic) name<T, 2, GridShape::Bicubic, 4>(__VA_ARGS__);      \
        else if ((s).mode == GridShape::Nearest && (s).dims == 2)                                \
            name<T, 2, GridShape::Nearest, 1>(__VA_ARGS__);                                      \
        else if ((s).mode == GridShape::Nearest) name<T, 3, GridShape::Nearest, 1>(__VA_ARGS__); \
        else if ((s).dims == 2) name<T, 2, GridShape::Bilinear, 2>(__VA_ARGS__);                 \
        else name<T, 3, GridShape::Bilinear, 2>(__VA_ARGS__);                                    \
    } while (0)

void sample_any(DType dtype, const GridShape& s, const void* in, const void* grid, void* out, int64_t begin,
                int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, FLB_GRID(s, sample, s, static_cast<const T*>(in), static_cast<const T*>(grid),
                                        static_cast<T*>(out), begin, end));
}
void input_gradient_any(DType dtype, const GridShape& s, const void* grad, const void* grid, void* grad_in,
                        int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, FLB_GRID(s, input_gradient, s, static_cast<const T*>(grad),
                                        static_cast<const T*>(grid), static_cast<T*>(grad_in), begin, end));
}
void grid_gradient_any(DType dtype, const GridShape& s, const void* grad, const void* in, const void* grid,
                       void* grad_grid, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype,
                        FLB_GRID(s, grid_gradient, s, static_cast<const T*>(grad), static_cast<const T*>(in),
                                 static_cast<const T*>(grid), static_cast<T*>(grad_grid), begin, end));
}

FLB_REGISTER_KERNEL(grid_sample, &sample_any);
FLB_REGISTER_KERNEL(grid_sample_input_gradient, &input_gradient_any);
FLB_REGISTER_KERNEL(grid_sample_grid_gradient, &grid_gradient_any);

}  // namespace FLB_ISA
}  // namespace flb
