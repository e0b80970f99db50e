// Pooling. A row of outputs is made one element of the window ("tap") at a time, for all outputs of the row at once:
// the loops run over outputs and vectorise whatever the window is.
#include "kernels/isa/nn_sums.h"
#include "kernels/isa/vmath_core.h"
#include "kernels/pool_kernels.h"

namespace flb {
namespace FLB_ISA {

// The taps [first, last) of one dimension's window o that lie inside the input.
struct Taps {
    int64_t first, last;
    Taps() = default;
    FLB_INLINE Taps(const PoolDim& d, int64_t o) {
        const int64_t at = o * d.stride - d.pad;
        first = at < 0 ? (-at + d.dilation - 1) / d.dilation : 0;
        last = at >= d.in ? 0 : (d.in - 1 - at) / d.dilation + 1;
        if (last > d.kernel) last = d.kernel;
        if (first > last) first = last;
    }
};
// The outputs [lo, hi) for which tap k lies inside the input, and where it is for output 0.
struct Reach {
    int64_t offset, lo, hi;
    Reach() = default;
    FLB_INLINE Reach(const PoolDim& d, int64_t k) {
        offset = k * d.dilation - d.pad;
        lo = offset < 0 ? (-offset + d.stride - 1) / d.stride : 0;
        hi = offset >= d.in ? 0 : (d.in - 1 - offset) / d.stride + 1;
        if (hi > d.out) hi = d.out;
        if (lo > hi) lo = hi;
    }
};
// Windows' taps and taps' reaches by table: they take divisions, which rows of a few outputs would feel.
template <class Entry>
struct Table {
    Table(const PoolDim& d, int64_t n) : dim(d) {
        for (int64_t i = 0; i < n && i < kEntries; ++i) entries[i] = Entry(d, i);
    }
    FLB_INLINE Entry operator[](int64_t i) const { return i < kEntries ? entries[i] : Entry(dim, i); }

  private:
    static constexpr int64_t kEntries = 128;
    const PoolDim& dim;
    Entry entries[kEntries] = {};
};
// Calls f with the stride as a constant where it is small, so that its loads vectorise.
#define FLB_WITH_STRIDE(stride, body)      \
    do {                                   \
        if ((stride) == 1) {               \
            constexpr int64_t step = 1;    \
            body;                          \
        } else if ((stride) == 2) {        \
            constexpr int64_t step = 2;    \
            body;                          \
        } else {                           \
            const int64_t step = (stride); \
            body;                          \
        }                                  \
    } while (0)

template <class T>
FLB_INLINE T lowest_of() {
    return Limits<T>::lowest;
}

constexpr int64_t kRow = 512;  // outputs of a row that are worked on at a time

// One row of outputs from `row`, the input's row under tap (i, j) of the outer dimensions, at position `base` of its plane.
template <class T, bool indexed>
FLB_INLINE void max_taps(const PoolDim& d, const Table<Reach>& reach, const T* __restrict row, int32_t base,
                         int64_t from, int64_t count, T* __restrict best, int32_t* __restrict where) {
    for (int64_t k = 0; k < d.kernel; ++k) {
        const Reach r = reach[k];
        const int64_t lo = r.lo > from ? r.lo : from, hi = r.hi < from + count ? r.hi : from + count;
        FLB_WITH_STRIDE(d.stride, {
            const T* __restrict x = row + r.offset;
            const int32_t at = base + int32_t(r.offset);
            for (int64_t o = lo; o < hi; ++o) {
                const T v = x[o * step];
                const bool take = (v > best[o - from]) | (v != v);
                best[o - from] = take ? v : best[o - from];
                if constexpr (indexed)
                    where[o - from] = take ? at + int32_t(o) * int32_t(step) : where[o - from];
            }
        });
    }
}

// N elements, and integers of their width.
template <class T, int N>
struct Lanes {
    typedef T values __attribute__((vector_size(N * sizeof(T))));
    typedef decltype(values() > values()) ints;
    static FLB_INLINE values load(const T* p) {
        values v;
        __builtin_memcpy(&v, p, sizeof(v));
        return v;
    }
    // p[0], p[2], ... p[2N - 2], without a look at p[2N - 1].
    static FLB_INLINE values load_even(const T* p) {
        ints pick;
        for (int o = 0; o < N; ++o) pick[o] = o < N / 2 ? 2 * o : 2 * o + 1;
        return __builtin_shuffle(load(p), load(p + N - 1), pick);
    }
};
// Windows of KH x KW without gaps whose taps all lie inside: N outputs at once, their maxima in registers.
template <class T, bool indexed, int KH, int KW, int S, int N>
FLB_INLINE void max_block(const T* x, int64_t pitch, int32_t at, T* out, int64_t* index) {
    using L = Lanes<T, N>;
    typename L::values best = {};
    typename L::ints where = {}, place;
    for (int o = 0; o < N; ++o) place[o] = at + o * S;
    for (int i = 0; i < KH; ++i)
        for (int j = 0; j < KW; ++j) {
            const T* p = x + i * pitch + j;
            typename L::values v;
            if constexpr (S == 1) v = L::load(p);
            else v = L::load_even(p);
            const typename L::ints here = place + (int32_t(i * pitch) + j);
            if (i + j == 0) {
                best = v;
                where = here;
                continue;
            }
            const auto take = (v > best) | (v != v);
            best = take ? v : best;
            if constexpr (indexed) where = take ? here : where;
        }
    __builtin_memcpy(out, &best, sizeof(best));
    if constexpr (indexed)
        for (int o = 0; o < N; ++o) index[o] = where[o];
}
template <class T, bool indexed, int KH, int KW, int S>
FLB_INLINE void max_run(const T* x, int64_t pitch, int32_t at, T* out, int64_t* index, int64_t n) {
    const auto blocks = [&]<int N>(Type<int[N]>) __attribute__((always_inline)) {
        for (int64_t o = 0; o < n; o += N) {
            const int64_t from = o + N <= n ? o : n - N;  // the last block overlaps the one before
            max_block<T, indexed, KH, KW, S, N>(x + from * S, pitch, at + int32_t(from) * S, out + from,
                                                indexed ? index + from : nullptr);
        }
    };
    if (n >= 16) blocks(Type<int[16]>{});
    else if (n >= 8) blocks(Type<int[8]>{});
    else if (n >= 4) blocks(Type<int[4]>{});
    else if (n >= 2) blocks(Type<int[2]>{});
    else blocks(Type<int[1]>{});
}
// One output whose window loses some columns.
template <class T, bool indexed>
FLB_INLINE void edge(const T* x, int64_t pitch, int64_t at, int64_t rows, Taps columns, T* out,
                     int64_t* index) {
    T best = lowest_of<T>();
    int64_t where = at + columns.first;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j) {
            const T v = x[i * pitch + j];
            const bool take = (v > best) | (v != v);
            best = take ? v : best;
            where = take ? at + i * pitch + j : where;
        }
    *out = best;
    if constexpr (indexed) *index = where;
}
// The usual windows have code of their own; null for others.
template <class T>
using MaxRun = void (*)(const T* x, int64_t pitch, int32_t at, T* out, int64_t* index, int64_t n);
template <class T, bool indexed>
MaxRun<T> find_max_run(const PoolDim& b, const PoolDim& c) {
    if (b.dilation != 1 || c.dilation != 1 || c.kernel != (b.kernel == 1 ? c.kernel : b.kernel))
        return nullptr;
    const int64_t k = c.kernel, s = c.stride, rows = b.kernel;
    if (rows == 2 && k == 2 && s == 2) return max_run<T, indexed, 2, 2, 2>;
    if (rows == 3 && k == 3 && s == 2) return max_run<T, indexed, 3, 3, 2>;
    if (rows == 3 && k == 3 && s == 1) return max_run<T, indexed, 3, 3, 1>;
    if (rows == 2 && k == 2 && s == 1) return max_run<T, indexed, 2, 2, 1>;
    if (rows == 1 && k == 2 && s == 2) return max_run<T, indexed, 1, 2, 2>;
    return nullptr;
}

template <class T, bool indexed>
void max_planes(const PoolShape& s, const T* in, T* out, int64_t* index, int64_t begin, int64_t end) {
    const PoolDim &a = s.d[0], &b = s.d[1], &c = s.d[2];
    int32_t where[kRow];
    const Table<Taps> taps_a(a, a.out), taps_b(b, b.out), taps_c(c, c.out);
    const Table<Reach> reach(c, c.kernel);
    const MaxRun<T> run = a.kernel == 1 ? find_max_run<T, indexed>(b, c) : nullptr;
    // Outputs [inner, outer) of a row have all their taps inside.
    const int64_t inner = reach[0].lo, outer = reach[c.kernel - 1].hi;
    for (int64_t p = begin; p < end; ++p) {
        const T* plane = in + p * s.in_size();
        for (int64_t i = 0; i < a.out; ++i) {
            const Taps ta = taps_a[i];
            for (int64_t j = 0; j < b.out; ++j) {
                const Taps tb = taps_b[j];
                const int64_t out_row = ((p * a.out + i) * b.out + j) * c.out;
                if (run && tb.last - tb.first == b.kernel && ta.last > ta.first && inner < outer) {
                    const int64_t row = ((i * a.stride - a.pad) * b.in + j * b.stride - b.pad) * c.in - c.pad;
                    const int64_t at = row + inner * c.stride;
                    run(plane + at, c.in, int32_t(at), out + out_row + inner,
                        indexed ? index + out_row + inner : nullptr, outer - inner);
                    for (int64_t o = inner ? 0 : outer; o < c.out; o = o + 1 == inner ? outer : o + 1)
                        edge<T, indexed>(plane + row + o * c.stride, c.in, row + o * c.stride, b.kernel,
                                         taps_c[o], out + out_row + o,
                                         indexed ? index + out_row + o : nullptr);
                    continue;
                }
                for (int64_t from = 0; from < c.out; from += kRow) {
                    const int64_t count = c.out - from < kRow ? c.out - from : kRow;
                    T* __restrict best = out + out_row + from;
                    for (int64_t o = 0; o < count; ++o) best[o] = lowest_of<T>();
                    if constexpr (
                        indexed) {  // where nothing exceeds the lowest value, the first element stands
                        const int64_t first = ((i * a.stride - a.pad + ta.first * a.dilation) * b.in +
                                               j * b.stride - b.pad + tb.first * b.dilation) *
                                              c.in;
                        for (int64_t o = 0; o < count; ++o) {
                            const int64_t at = (from + o) * c.stride - c.pad;
                            where[o] = int32_t(
                                first +
                                (at < 0 ? at + (-at + c.dilation - 1) / c.dilation * c.dilation : at));
                        }
                    }
                    for (int64_t ka = ta.first; ka < ta.last; ++ka)
                        for (int64_t kb = tb.first; kb < tb.last; ++kb) {
                            const int64_t base = ((i * a.stride - a.pad + ka * a.dilation) * b.in +
                                                  j * b.stride - b.pad + kb * b.dilation) *
                                                 c.in;
                            max_taps<T, indexed>(c, reach, plane + base, int32_t(base), from, count, best,
                                                 where);
                        }
                    if constexpr (indexed) {
                        int64_t* __restrict to = index + out_row + from;
                        for (int64_t o = 0; o < count; ++o) to[o] = where[o];
                    }
                }
            }
        }
    }
}

template <class T>
void max_any(const PoolShape& s, const void* in, void* out, int64_t* index, int64_t begin, int64_t end) {
    if (index) max_planes<T, true>(s, static_cast<const T*>(in), static_cast<T*>(out), index, begin, end);
    else max_planes<T, false>(s, static_cast<const T*>(in), static_cast<T*>(out), index, begin, end);
}
void max_pool_any(DType dtype, const PoolShape& s, const void* in, void* out, int64_t* index, int64_t begin,
                  int64_t end) {
    if (dtype == DType::Int64) max_any<int64_t>(s, in, out, index, begin, end);
    else FLB_FLOAT_OR_DOUBLE(dtype, max_any<T>(s, in, out, index, begin, end));
}

// The indices of a run are read once, into a buffer where they are checked: whatever other threads of the program do to
// them, nothing outside the plane is written.
constexpr int64_t kIndexRun = 512;
template <class T>
bool max_backward(const MaxPoolBackward& s, const T* grad, const int64_t* index, T* grad_in, int64_t begin,
                  int64_t end) {
    uint32_t at[kIndexRun];
    const uint64_t in_size = uint64_t(s.in_size);
    // Planes are one run, channels-last images a run per output.
    const bool plane_wise = s.inner == 1;
    const int64_t run = plane_wise ? s.out_size : s.inner, runs = plane_wise ? 1 : s.out_size;
    for (int64_t p = begin; p < end; ++p) {
        T* plane = grad_in + p * s.in_size * s.inner;
        __builtin_memset(plane, 0, size_t(s.in_size * s.inner) * sizeof(T));
        for (int64_t r = p * runs; r < (p + 1) * runs; ++r)
            for (int64_t first = 0; first < run; first += kIndexRun) {
                const int64_t count = run - first < kIndexRun ? run - first : kIndexRun;
                const int64_t* from = index + r * run + first;
                int outside = 0;
                for (int64_t i = 0; i < count; ++i) {
                    const uint64_t place = uint64_t(from[i]);
                    at[i] = uint32_t(place);
                    outside |= place >= in_size;
                }
                if (outside) return false;
                const T* g = grad + r * run + first;
                if (plane_wise)
                    for (int64_t i = 0; i < count; ++i) plane[at[i]] += g[i];
                else
                    for (int64_t i = 0; i < count; ++i) plane[int64_t(at[i]) * run + first + i] += g[i];
            }
    }
    return true;
}
bool max_backward_any(DType dtype, const MaxPoolBackward& s, const void* grad, const int64_t* index,
                      void* grad_in, int64_t begin, int64_t end) {
    bool inside = true;
    FLB_FLOAT_OR_DOUBLE(dtype, inside = max_backward(s, static_cast<const T*>(grad), index,
                                                     static_cast<T*>(grad_in), begin, end));
    return inside;
}

// Windows of several rows are first joined column by column, with vectors, then along the row they leave.
constexpr int64_t kWidest = 1024;
FLB_INLINE bool joins_rows(const AdaptiveShape& s, int64_t i, int64_t j) {
    const int64_t rows = (s.end[0][i] - s.start[0][i]) * (s.end[1][j] - s.start[1][j]);
    return rows > 1 && s.in[2] <= kWidest && s.out[2] > 1 && s.out[2] * 2 <= s.in[2];
}
template <class T>
void mean_row(const AdaptiveShape& s, const T* plane, int64_t i, int64_t j, T* out) {
    T sum[kWidest];
    const int64_t n = s.in[2];
    for (int64_t z = 0; z < n; ++z) sum[z] = 0;
    for (int64_t x = s.start[0][i]; x < s.end[0][i]; ++x)
        for (int64_t y = s.start[1][j]; y < s.end[1][j]; ++y) {
            const T* __restrict row = plane + (x * s.in[1] + y) * n;
            for (int64_t z = 0; z < n; ++z) sum[z] += row[z];
        }
    const double rows = double((s.end[0][i] - s.start[0][i]) * (s.end[1][j] - s.start[1][j]));
    for (int64_t k = 0; k < s.out[2]; ++k) {
        T even = 0, odd = 0;
        int64_t z = s.start[2][k];
        for (; z + 2 <= s.end[2][k]; z += 2) even += sum[z], odd += sum[z + 1];
        if (z < s.end[2][k]) even += sum[z];
        out[k] = T(double(even + odd) / (rows * double(s.end[2][k] - s.start[2][k])));
    }
}
template <class T, bool indexed>
void max_row(const AdaptiveShape& s, const T* plane, int64_t i, int64_t j, T* out, int64_t* index) {
    T best[kWidest];
    int32_t where[kWidest];
    const int64_t n = s.in[2];
    const int32_t first = int32_t((s.start[0][i] * s.in[1] + s.start[1][j]) * n);
    for (int64_t z = 0; z < n; ++z) best[z] = lowest_of<T>(), where[z] = first + int32_t(z);
    for (int64_t x = s.start[0][i]; x < s.end[0][i]; ++x)
        for (int64_t y = s.start[1][j]; y < s.end[1][j]; ++y) {
            const int32_t at = int32_t((x * s.in[1] + y) * n);
            const T* __restrict row = plane + at;
            for (int64_t z = 0; z < n; ++z) {
                const T v = row[z];
                const bool take = (v > best[z]) | (v != v);
                best[z] = take ? v : best[z];
                if constexpr (indexed) where[z] = take ? at + int32_t(z) : where[z];
            }
        }
    for (int64_t k = 0; k < s.out[2]; ++k) {
        T top = best[s.start[2][k]];
        int32_t place = where[s.start[2][k]];
        for (int64_t z = s.start[2][k] + 1; z < s.end[2][k]; ++z) {
            const T v = best[z];
            if constexpr (!indexed) {
                top = (v > top) | (v != v) ? v : top;
            } else {
                // Of NaNs the last counts, of equal elements the first, in the order of the plane.
                const bool take =
                    v != v ? top == top || where[z] > place : v > top || (v == top && where[z] < place);
                if (take) top = v, place = where[z];
            }
        }
        out[k] = top;
        if constexpr (indexed) index[k] = place;
    }
}

template <class T>
void adaptive_max(const AdaptiveShape& s, const T* in, T* out, int64_t* index, int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
        const T* plane = in + p * s.in_size();
        int64_t o = p * s.out_size();
        for (int64_t i = 0; i < s.out[0]; ++i)
            for (int64_t j = 0; j < s.out[1]; ++j) {
                if (joins_rows(s, i, j)) {
                    if (index) max_row<T, true>(s, plane, i, j, out + o, index + o);
                    else max_row<T, false>(s, plane, i, j, out + o, nullptr);
                    o += s.out[2];
                    continue;
                }
                for (int64_t k = 0; k < s.out[2]; ++k, ++o) {
                    T best = lowest_of<T>();
                    int64_t where = (s.start[0][i] * s.in[1] + s.start[1][j]) * s.in[2] + s.start[2][k];
                    for (int64_t x = s.start[0][i]; x < s.end[0][i]; ++x)
                        for (int64_t y = s.start[1][j]; y < s.end[1][j]; ++y)
                            for (int64_t z = s.start[2][k]; z < s.end[2][k]; ++z) {
                                const int64_t at = (x * s.in[1] + y) * s.in[2] + z;
                                if (plane[at] > best || plane[at] != plane[at]) best = plane[at], where = at;
                            }
                    out[o] = best;
                    if (index) index[o] = where;
                }
            }
    }
}
void adaptive_max_any(DType dtype, const AdaptiveShape& s, const void* in, void* out, int64_t* index,
                      int64_t begin, int64_t end) {
    if (dtype == DType::Int64)
        adaptive_max(s, static_cast<const int64_t*>(in), static_cast<int64_t*>(out), index, begin, end);
    else
        FLB_FLOAT_OR_DOUBLE(
            dtype, adaptive_max(s, static_cast<const T*>(in), static_cast<T*>(out), index, begin, end));
}

// ---- means -------------------------------------------------------------------------------------------------------------

// Elements of window o that count: those of the input, or of the input and its padding.
FLB_INLINE int64_t extent(const PoolDim& d, int64_t o, bool with_pad) {
    int64_t start = o * d.stride - d.pad, end = start + d.kernel;
    const int64_t limit = d.in + (with_pad ? d.pad : 0);
    if (end > limit) end = limit;
    if (!with_pad && start < 0) start = 0;
    return end > start ? end - start : 0;
}
// The divisors of a row's outputs, as factors.
template <class T>
FLB_INLINE void row_factors(const PoolShape& s, int64_t i, int64_t j, int64_t from, int64_t count,
                            T* factor) {
    const bool pad = s.count_include_pad;
    const double outer = double(extent(s.d[0], i, pad) * extent(s.d[1], j, pad));
    for (int64_t o = 0; o < count; ++o)
        factor[o] = T(s.divisor != 0 ? s.divisor : outer * double(extent(s.d[2], from + o, pad)));
}

// Forward: in (planes of the input) to out. Backward: in (gradients of the means) spread over out (zeroed planes of the input).
template <class T, bool backward>
void mean_planes(const PoolShape& s, const T* __restrict in, T* __restrict out, int64_t begin, int64_t end) {
    const PoolDim &a = s.d[0], &b = s.d[1], &c = s.d[2];
    T sum[kRow], factor[kRow];
    const Table<Taps> taps_a(a, a.out), taps_b(b, b.out);
    const Table<Reach> reach(c, c.kernel);
    for (int64_t p = begin; p < end; ++p)
        for (int64_t i = 0; i < a.out; ++i)
            for (int64_t j = 0; j < b.out; ++j)
                for (int64_t from = 0; from < c.out; from += kRow) {
                    const Taps ta = taps_a[i], tb = taps_b[j];
                    const int64_t count = c.out - from < kRow ? c.out - from : kRow;
                    const int64_t out_row = ((p * a.out + i) * b.out + j) * c.out + from;
                    row_factors(s, i, j, from, count, factor);
                    if constexpr (backward)
                        for (int64_t o = 0; o < count; ++o) sum[o] = in[out_row + o] / factor[o];
                    else
                        for (int64_t o = 0; o < count; ++o) sum[o] = 0;
                    for (int64_t ka = ta.first; ka < ta.last; ++ka)
                        for (int64_t kb = tb.first; kb < tb.last; ++kb) {
                            const int64_t base =
                                p * s.in_size() + ((i * a.stride - a.pad + ka * a.dilation) * b.in +
                                                   j * b.stride - b.pad + kb * b.dilation) *
                                                      c.in;
                            for (int64_t k = 0; k < c.kernel; ++k) {
                                const Reach r = reach[k];
                                const int64_t lo = r.lo > from ? r.lo : from,
                                              hi = r.hi < from + count ? r.hi : from + count;
                                if constexpr (backward) {
                                    T* __restrict to = out + base + r.offset;
                                    FLB_WITH_STRIDE(c.stride, {
                                        for (int64_t o = lo; o < hi; ++o) to[o * step] += sum[o - from];
                                    });
                                } else {
                                    const T* __restrict x = in + base + r.offset;
                                    FLB_WITH_STRIDE(c.stride, {
                                        for (int64_t o = lo; o < hi; ++o) sum[o - from] += x[o * step];
                                    });
                                }
                            }
                        }
                    if constexpr (!backward)
                        for (int64_t o = 0; o < count; ++o) out[out_row + o] = sum[o] / factor[o];
                }
}
void avg_any(DType dtype, const PoolShape& s, const void* in, void* out, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(
        dtype, (mean_planes<T, false>(s, static_cast<const T*>(in), static_cast<T*>(out), begin, end)));
}
void avg_backward_any(DType dtype, const PoolShape& s, const void* grad, void* grad_in, int64_t begin,
                      int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, {
        T* to = static_cast<T*>(grad_in);
        for (int64_t i = begin * s.in_size(); i < end * s.in_size(); ++i) to[i] = 0;
        mean_planes<T, true>(s, static_cast<const T*>(grad), to, begin, end);
    });
}

template <class T, bool backward>
void adaptive_mean(const AdaptiveShape& s, const T* in, T* out, int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
        int64_t o = p * s.out_size();
        const int64_t plane = p * s.in_size();
        if constexpr (backward) __builtin_memset(out + plane, 0, size_t(s.in_size()) * sizeof(T));
        for (int64_t i = 0; i < s.out[0]; ++i)
            for (int64_t j = 0; j < s.out[1]; ++j) {
                if constexpr (!backward)
                    if (joins_rows(s, i, j)) {
                        mean_row(s, in + plane, i, j, out + o);
                        o += s.out[2];
                        continue;
                    }
                for (int64_t k = 0; k < s.out[2]; ++k, ++o) {
                    const int64_t first = s.start[2][k], width = s.end[2][k] - first;
                    const double count =
                        double((s.end[0][i] - s.start[0][i]) * (s.end[1][j] - s.start[1][j]) * width);
                    double total = 0;
                    const T share = backward ? T(double(in[o]) / count) : T(0);
                    // Rows taken whole are one run.
                    const int64_t y0 = s.start[1][j], y1 = s.end[1][j],
                                  together = width == s.in[2] ? y1 - y0 : 1, run = width * together;
                    for (int64_t x = s.start[0][i]; x < s.end[0][i]; ++x)
                        for (int64_t y = y0; y < y1; y += together) {
                            const int64_t at = plane + (x * s.in[1] + y) * s.in[2] + first;
                            if constexpr (backward)
                                for (int64_t z = 0; z < run; ++z) out[at + z] += share;
                            else if (run >= 16)
                                total += sum_mapped<T>(run, [](auto v) { return v; }, in + at);
                            else
                                for (int64_t z = 0; z < run; ++z) total += double(in[at + z]);
                        }
                    if constexpr (!backward) out[o] = T(total / count);
                }
            }
    }
}
void adaptive_avg_any(DType dtype, const AdaptiveShape& s, const void* in, void* out, int64_t begin,
                      int64_t end) {
    FLB_FLOAT_OR_DOUBLE(
        dtype, (adaptive_mean<T, false>(s, static_cast<const T*>(in), static_cast<T*>(out), begin, end)));
}
void adaptive_avg_backward_any(DType dtype, const AdaptiveShape& s, const void* grad, void* grad_in,
                               int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, (adaptive_mean<T, true>(s, static_cast<const T*>(grad),
                                                       static_cast<T*>(grad_in), begin, end)));
}

FLB_REGISTER_KERNEL(max_pool, &max_pool_any);
FLB_REGISTER_KERNEL(max_pool_backward, &max_backward_any);
FLB_REGISTER_KERNEL(adaptive_max_pool, &adaptive_max_any);
FLB_REGISTER_KERNEL(avg_pool, &avg_any);
FLB_REGISTER_KERNEL(avg_pool_backward, &avg_backward_any);
FLB_REGISTER_KERNEL(adaptive_avg_pool, &adaptive_avg_any);
FLB_REGISTER_KERNEL(adaptive_avg_pool_backward, &adaptive_avg_backward_any);

}  // namespace FLB_ISA
}  // namespace flb
