// Resizing: rows are mixed with vectors, elements of a row are brought to their places by permutations of one or two
// registers where the outputs of a vector come from few inputs, and by gathers elsewhere.
#include "kernels/isa/gather.h"
#include "kernels/isa/nn_sums.h"
#include "kernels/resize_kernels.h"

namespace flb {
namespace FLB_ISA {

template <class T>
using Integers = decltype(Vector<T>() > Vector<T>());
template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
    using type = int32_t;
};
template <>
struct IntegerOf<double> {
    using type = int64_t;
};
template <class T>
using Integer = typename IntegerOf<T>::type;

constexpr bool kPermutes = kVectorBytes >= 32;

template <class T>
FLB_INLINE Integers<T> load_integers(const Integer<T>* p) {
    Integers<T> v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}
// out = sum of weight[k] * rows[k], added to what out holds already if `more`.
template <class T, int K, bool more>
FLB_INLINE void mix_some(const T* const* rows, const T* weight, int64_t n, T* __restrict out) {
    constexpr int L = kLanes<T>;
    int64_t i = 0;
    for (; i + L <= n; i += L) {
        Vector<T> sum = more ? load(out + i) : load(rows[0] + i) * broadcast(weight[0]);
        for (int k = more ? 0 : 1; k < K; ++k)
            sum = multiply_add<T>(load(rows[k] + i), broadcast(weight[k]), sum);
        store(out + i, sum);
    }
    if (i == n) return;
    T part[L] = {};
    Vector<T> sum = {};
    for (int k = 0; k < K; ++k) {
        for (int64_t j = i; j < n; ++j) part[j - i] = rows[k][j];
        if (k == 0 && !more) {
            sum = load(part) * broadcast(weight[0]);
            continue;
        }
        if (k == 0) {
            T held[L] = {};
            for (int64_t j = i; j < n; ++j) held[j - i] = out[j];
            sum = load(held);
        }
        sum = multiply_add<T>(load(part), broadcast(weight[k]), sum);
    }
    store_some(out + i, sum, n - i);
}
template <class T>
void mix(const T* const* rows, const T* weight, int64_t count, int64_t n, T* out) {
    switch (count) {
        case 0:
            for (int64_t i = 0; i < n; ++i) out[i] = 0;
            return;
        case 1: return mix_some<T, 1, false>(rows, weight, n, out);
        case 2: return mix_some<T, 2, false>(rows, weight, n, out);
        case 3: return mix_some<T, 3, false>(rows, weight, n, out);
        default: mix_some<T, 4, false>(rows, weight, n, out);
    }
    int64_t k = 4;
    for (; k + 4 <= count; k += 4) mix_some<T, 4, true>(rows + k, weight + k, n, out);
    for (; k < count; ++k) mix_some<T, 1, true>(rows + k, weight + k, n, out);
}

// One row resized along its elements.
template <class T>
struct RowPlan {
    static constexpr int L = kLanes<T>;
    const ResizeAxis* axis;
    int64_t inner, n, padded;
    bool straight, permutes, two;  // see ResizePlan
    Integer<T>*places, *base;      // (taps, padded), one base per vector
    T* weights;                    // (taps, padded)
    T* narrow = nullptr;           // a copy of rows that are shorter than the registers
    const T* weight;               // (taps, out)

    RowPlan(const ResizeShape& s, void* tables)
        : axis(&s.width), inner(s.inner), n(s.width.out), weight(static_cast<const T*>(s.width.weight)) {
        padded = (n + L - 1) / L * L;
        places = static_cast<Integer<T>*>(tables);
        weights = static_cast<T*>(tables) + axis->taps * padded;
        base = reinterpret_cast<Integer<T>*>(weights + axis->taps * padded);
    }
    RowPlan(const ResizeShape& s, const ResizePlan& plan, T* narrow) : RowPlan(s, plan.tables) {
        straight = plan.straight, permutes = plan.permutes, two = plan.two;
        this->narrow = narrow;
    }

    ResizePlan find() {
        straight = axis->copies && axis->in == n;
        for (int64_t o = 0; straight && o < n; ++o) straight = axis->index[o] == o;
        permutes = two = false;
        if (kPermutes && inner == 1 && !straight) {
            permutes = spans(L);
            if (!permutes) permutes = two = spans(2 * L);
            if (permutes) tabulate(two ? 2 * L : L);
        }
        return {straight, permutes, two, places};
    }

    // Whether the inputs of every vector of outputs fit in so many elements.
    bool spans(int64_t width) const {
        for (int64_t from = 0; from < n; from += L) {
            int32_t low = INT32_MAX, high = 0;
            for (int64_t k = 0; k < axis->taps; ++k)
                for (int64_t o = from; o < from + L && o < n; ++o) {
                    const int32_t at = axis->index[k * n + o];
                    low = at < low ? at : low;
                    high = at > high ? at : high;
                }
            if (high - low >= width) return false;
        }
        return true;
    }
    void tabulate(int64_t width) {
        for (int64_t from = 0; from < n; from += L) {
            int64_t low = axis->in > width ? axis->in - width : 0;
            for (int64_t k = 0; k < axis->taps; ++k)
                for (int64_t o = from; o < from + L && o < n; ++o)
                    low = axis->index[k * n + o] < low ? axis->index[k * n + o] : low;
            base[from / L] = Integer<T>(low);
            for (int64_t k = 0; k < axis->taps; ++k)
                for (int64_t o = from; o < from + L; ++o) {
                    places[k * padded + o] = o < n ? Integer<T>(axis->index[k * n + o] - low) : 0;
                    weights[k * padded + o] = o < n ? weight[k * n + o] : T(0);
                }
        }
    }

    // K taps, or any number (0); `masked`: entries of weight 0 do not count.
    template <int K, bool both, bool masked>
    FLB_INLINE void permute(const T* x, T* __restrict out) const {
        const int64_t taps = K ? K : axis->taps, width = both ? 2 * L : L;
        if (axis->in < width) {
            for (int64_t i = 0; i < axis->in; ++i) narrow[i] = x[i];
            x = narrow;
        }
        for (int64_t o = 0; o < n; o += L) {
            const T* p = x + base[o / L];
            const Vector<T> low = load(p), high = both ? load(p + L) : low;
            Vector<T> sum = {};
            for (int64_t k = 0; k < taps; ++k) {
                const Integers<T> pick = load_integers<T>(places + k * padded + o);
                const Vector<T> w = load(weights + k * padded + o);
                Vector<T> v = both ? __builtin_shuffle(low, high, pick) : __builtin_shuffle(low, pick);
                if constexpr (masked) v = w != Vector<T>{} ? v : Vector<T>{};
                sum = k ? multiply_add<T>(v, w, sum) : v * w;
            }
            store_some(out + o, sum, n - o);
        }
    }
    template <int K, bool masked>
    FLB_INLINE void collect(const T* x, T* __restrict out) const {
        const int64_t taps = K ? K : axis->taps;
        int64_t o = 0;
        for (; o + L <= n; o += L) {
            Vector<T> sum = {};
            for (int64_t k = 0; k < taps; ++k) {
                Vector<T> v = gather(x, axis->index + k * n + o);
                const Vector<T> w = load(weight + k * n + o);
                if constexpr (masked) v = w != Vector<T>{} ? v : Vector<T>{};
                sum = k ? multiply_add<T>(v, w, sum) : v * w;
            }
            store(out + o, sum);
        }
        for (; o < n; ++o) {
            T sum = 0;
            const int64_t count = axis->count ? axis->count[o] : taps;
            for (int64_t k = 0; k < count; ++k) sum += x[axis->index[k * n + o]] * weight[k * n + o];
            out[o] = sum;
        }
    }
    template <int K, bool masked>
    FLB_INLINE void narrow_row(const T* x, T* out) const {
        if constexpr (kPermutes) {
            if (permutes && two) return permute<K, true, masked>(x, out);
            if (permutes) return permute<K, false, masked>(x, out);
        }
        collect<K, masked>(x, out);
    }
    void operator()(const T* x, T* out) const {
        if (straight) {
            __builtin_memcpy(out, x, size_t(n * inner) * sizeof(T));
        } else if (inner > 1) {
            constexpr int64_t kMost = 8;
            const T* rows[kMost];
            T w[kMost];
            for (int64_t o = 0; o < n; ++o) {
                const int64_t count = axis->count ? axis->count[o] : axis->taps;
                T* to = out + o * inner;
                if (count == 0) mix(rows, w, 0, inner, to);
                for (int64_t from = 0; from < count; from += kMost) {
                    const int64_t some = count - from < kMost ? count - from : kMost;
                    for (int64_t k = 0; k < some; ++k) {
                        rows[k] = x + axis->index[(from + k) * n + o] * inner;
                        w[k] = weight[(from + k) * n + o];
                    }
                    if (from == 0) mix(rows, w, some, inner, to);
                    else
                        for (int64_t k = 0; k < some; ++k) mix_some<T, 1, true>(rows + k, w + k, inner, to);
                }
            }
        } else if (axis->count) {
            narrow_row<0, true>(x, out);
        } else {
            switch (axis->taps) {
                case 1: return narrow_row<1, false>(x, out);
                case 2: return narrow_row<2, false>(x, out);
                case 4: return narrow_row<4, false>(x, out);
                default: return narrow_row<0, false>(x, out);
            }
        }
    }
};

// Calls mix with the entries of output o of an axis: rows are `pitch` apart from `in` on.
template <class T, class RowAt>
FLB_INLINE void mix_axis(const ResizeAxis& a, int64_t o, int64_t n, T* out, RowAt row_at) {
    constexpr int64_t kMost = 16;
    const T* rows[kMost];
    T w[kMost];
    const int64_t count = a.count ? a.count[o] : a.taps;
    if (count == 0) mix(rows, w, 0, n, out);
    for (int64_t from = 0; from < count; from += kMost) {
        const int64_t some = count - from < kMost ? count - from : kMost;
        for (int64_t k = 0; k < some; ++k) {
            rows[k] = row_at(a.index[(from + k) * a.out + o]);
            w[k] = static_cast<const T*>(a.weight)[(from + k) * a.out + o];
        }
        if (from == 0) mix(rows, w, some, n, out);
        else
            for (int64_t k = 0; k < some; ++k) mix_some<T, 1, true>(rows + k, w + k, n, out);
    }
}

template <class T>
void resize_all(const ResizeShape& s, const ResizePlan& found, const T* in, T* out, T* scratch, int64_t begin,
                int64_t end) {
    const RowPlan<T> plan(s, found, scratch);
    scratch += 4 * kResizeBlock;
    const int64_t in_row = s.in_row(), out_row = s.out_row(), in_slab = s.height.in * in_row;
    T* const slab = scratch;
    if (!s.depth.copies) scratch += in_slab;
    // Rows that were resized already, one per remainder of their number by the taps: those of one output differ in it.
    int64_t* const held = reinterpret_cast<int64_t*>(scratch);
    T* const row = s.rows_first() && !s.height.copies ? scratch + 2 * s.height.taps : scratch;
    int64_t outer = -1, depth = -1;
    const T* from = in;
    for (int64_t r = begin; r < end; ++r) {
        const int64_t h = r % s.height.out, d = r / s.height.out % s.depth.out,
                      b = r / s.height.out / s.depth.out;
        if (b != outer || d != depth) {
            outer = b, depth = d;
            from = in + b * s.depth.in * in_slab;
            if (s.depth.copies) {
                from += s.depth.index[d] * in_slab;
            } else {
                mix_axis<T>(s.depth, d, in_slab, slab, [&](int64_t i) { return from + i * in_slab; });
                from = slab;
            }
            if (s.rows_first() && !s.height.copies)
                for (int64_t k = 0; k < s.height.taps; ++k) held[k] = -1;
        }
        T* to = out + r * out_row;
        const auto input_row = [&](int64_t i) { return from + i * in_row; };
        if (s.height.copies) {
            plan(input_row(s.height.index[h]), to);
        } else if (plan.straight) {
            mix_axis<T>(s.height, h, in_row, to, input_row);
        } else if (s.rows_first()) {
            mix_axis<T>(s.height, h, out_row, to, [&](int64_t i) {
                const int64_t place = i % s.height.taps;
                T* kept = row + place * out_row;
                if (held[place] != i) plan(input_row(i), kept), held[place] = i;
                return kept;
            });
        } else {
            mix_axis<T>(s.height, h, in_row, row, input_row);
            plan(row, to);
        }
    }
}
ResizePlan plan_any(DType dtype, const ResizeShape& s, void* tables) {
    return dtype == DType::Float64 ? RowPlan<double>(s, tables).find() : RowPlan<float>(s, tables).find();
}
void resize_any(DType dtype, const ResizeShape& s, const ResizePlan& plan, const void* in, void* out,
                void* scratch, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, resize_all(s, plan, static_cast<const T*>(in), static_cast<T*>(out),
                                          static_cast<T*>(scratch), begin, end));
}

template <class T>
void nearest_rows(const ResizeShape& s, const T* in, T* out, int64_t begin, int64_t end) {
    const int64_t in_row = s.in_row(), out_row = s.out_row(), n = s.width.out;
    const T* last = nullptr;
    for (int64_t r = begin; r < end; ++r) {
        const int64_t h = r % s.height.out, d = r / s.height.out % s.depth.out,
                      b = r / s.height.out / s.depth.out;
        const T* __restrict x =
            in + ((b * s.depth.in + s.depth.index[d]) * s.height.in + s.height.index[h]) * in_row;
        T* __restrict to = out + r * out_row;
        const int32_t* __restrict at = s.width.index;
        if (x == last) {
            __builtin_memcpy(to, to - out_row, size_t(out_row) * sizeof(T));
        } else if (s.inner == 1) {
            for (int64_t o = 0; o < n; ++o) to[o] = x[at[o]];
        } else {
            for (int64_t o = 0; o < n; ++o)
                __builtin_memcpy(to + o * s.inner, x + at[o] * s.inner, size_t(s.inner) * sizeof(T));
        }
        last = x;
    }
}
void nearest_any(int itemsize, const ResizeShape& s, const void* in, void* out, int64_t begin, int64_t end) {
    const auto go = [&]<class T>(Type<T>) __attribute__((always_inline)) {
        nearest_rows(s, static_cast<const T*>(in), static_cast<T*>(out), begin, end);
    };
    switch (itemsize) {
        case 1: return go(Type<uint8_t>{});
        case 2: return go(Type<uint16_t>{});
        case 4: return go(Type<uint32_t>{});
        default: return go(Type<uint64_t>{});
    }
}

FLB_INLINE uint8_t rounded_byte(int32_t sum, int bits) {
    const int32_t v = sum >> bits;
    return uint8_t(v < 0 ? 0 : v > 255 ? 255 : v);
}
void bytes_any(const ResizeBytes& s, const uint8_t* in, uint8_t* out, uint8_t* scratch, int64_t begin,
               int64_t end) {
    const ResizeAxis &h = s.height, &w = s.width;
    const int32_t *wide = static_cast<const int32_t*>(w.weight),
                  *tall = static_cast<const int32_t*>(h.weight);
    const int64_t in_row = w.in * s.inner, out_row = w.out * s.inner;
    constexpr int64_t kBlock = 256;
    int32_t sum[kBlock];
    for (int64_t p = begin; p < end; ++p) {
        const uint8_t* plane = in + p * h.in * in_row;
        uint8_t* to = out + p * h.out * out_row;
        const uint8_t* rows = plane;
        if (!w.copies) {
            uint8_t* middle = h.copies ? to : scratch;
            for (int64_t y = 0; y < h.in; ++y)
                for (int64_t o = 0; o < w.out; ++o)
                    for (int64_t c = 0; c < s.inner; ++c) {
                        int32_t total = 1 << (s.bits_width - 1);
                        for (int64_t k = 0; k < w.taps; ++k)
                            total += wide[k * w.out + o] *
                                     plane[y * in_row + w.index[k * w.out + o] * s.inner + c];
                        middle[y * out_row + o * s.inner + c] = rounded_byte(total, s.bits_width);
                    }
            rows = middle;
        }
        if (h.copies) {
            if (w.copies) __builtin_memcpy(to, plane, size_t(h.in * in_row));
            continue;
        }
        for (int64_t o = 0; o < h.out; ++o)
            for (int64_t from = 0; from < out_row; from += kBlock) {
                const int64_t count = out_row - from < kBlock ? out_row - from : kBlock;
                for (int64_t i = 0; i < count; ++i) sum[i] = 1 << (s.bits_height - 1);
                for (int64_t k = 0; k < h.taps; ++k) {
                    const int32_t weight = tall[k * h.out + o];
                    const uint8_t* __restrict x = rows + h.index[k * h.out + o] * out_row + from;
                    for (int64_t i = 0; i < count; ++i) sum[i] += weight * x[i];
                }
                for (int64_t i = 0; i < count; ++i)
                    to[o * out_row + from + i] = rounded_byte(sum[i], s.bits_height);
            }
    }
}

FLB_REGISTER_KERNEL(resize_plan, &plan_any);
FLB_REGISTER_KERNEL(resize_rows, &resize_any);
FLB_REGISTER_KERNEL(resize_nearest, &nearest_any);
FLB_REGISTER_KERNEL(resize_bytes, &bytes_any);

}  // namespace FLB_ISA
}  // namespace flb
