// Bags of rows: the rows of a bag lie anywhere in a large table, so those that come next are fetched ahead.
#include "kernels/embedding_kernels.h"
#include "kernels/isa/gather.h"
#include "kernels/isa/nn_sums.h"

namespace flb {
namespace FLB_ISA {

constexpr int64_t kAhead = 6;      // entries between a fetch and its use
constexpr int64_t kColumns = 256;  // columns that are worked on at a time

template <class T>
FLB_INLINE void fetch_row(const T* row, int64_t width) {
    const int64_t bytes = width * int64_t(sizeof(T));
    for (int64_t b = 0; b < bytes && b < 1024; b += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(row) + b);
}

// The address of a row that may not be checked yet: a hint, no more.
template <class T>
FLB_INLINE const T* hint_of(const T* table, int64_t row, int64_t width) {
    const uint64_t at = uint64_t(row) * uint64_t(width) * sizeof(T);
    return reinterpret_cast<const T*>(reinterpret_cast<uintptr_t>(table) + at);
}

// How many entries of a bag are no padding; -1 if one of them names no row of the table.
FLB_INLINE int64_t entries_of(const BagShape& s, int64_t b) {
    const int64_t *rows = s.rows, begin = s.start[b], end = s.start[b + 1], padding = s.padding;
    const uint64_t limit = uint64_t(s.table_rows);
    int64_t count = 0, outside = 0;
    for (int64_t e = begin; e < end; ++e) {
        count += rows[e] != padding;
        outside += uint64_t(rows[e]) >= limit;
    }
    return outside ? -1 : count;
}

template <class S, class T>
FLB_INLINE void add_row(const S* row, int64_t n, T weight, bool weighted, T* __restrict sum) {
    if (weighted)
        for (int64_t i = 0; i < n; ++i) sum[i] += T(row[i]) * weight;
    else
        for (int64_t i = 0; i < n; ++i) sum[i] += T(row[i]);
}

// M vectors of columns of the entries of a bag, their sums in registers. kPlain: no weights and no padding.
template <int M, bool kPlain, class T>
FLB_INLINE void sum_vectors(const BagShape& s, const T* table, int64_t b, const T* weights, int64_t ahead,
                            int64_t last, T* to) {
    using V = typename Vec<T>::type;
    const int64_t *rows = s.rows, width = s.width, padding = s.padding, end = s.start[b + 1];
    V sum[M] = {};
    for (int64_t e = s.start[b]; e < end; ++e) {
        const T* next = hint_of(table, rows[e + ahead < last ? e + ahead : e], width);
        fetch_row(next, M * Vec<T>::lanes);
        if (!kPlain && rows[e] == padding) continue;
        const T* row = table + rows[e] * width;
        for (int m = 0; m < M; ++m) {
            const V x = load_vec(row + m * Vec<T>::lanes);
            sum[m] += kPlain || !weights ? x : x * weights[e];
        }
    }
    __builtin_memcpy(to, sum, sizeof(sum));
}
template <class T>
bool sum_bags(const BagShape& s, T* out, int64_t* counts, int64_t begin, int64_t end) {
    constexpr int64_t lanes = Vec<T>::lanes;
    const T *table = static_cast<const T*>(s.table), *weights = static_cast<const T*>(s.weights);
    const int64_t lines = (s.width * int64_t(sizeof(T)) + 63) / 64, ahead = lines > 8 ? 4 : 48 / (lines + 1);
    const int64_t last = s.start[end];
    bool inside = true;
    for (int64_t b = begin; b < end; ++b) {
        const int64_t count = entries_of(s, b);
        if (count < 0) {
            inside = false;
            continue;
        }
        T* to = out + b * s.width;
        int64_t i = 0;
        const bool plain = !weights && s.padding < 0;
        for (; i + 4 * lanes <= s.width; i += 4 * lanes)
            if (plain) sum_vectors<4, true>(s, table + i, b, weights, ahead, last, to + i);
            else sum_vectors<4, false>(s, table + i, b, weights, ahead, last, to + i);
        for (; i + lanes <= s.width; i += lanes)
            sum_vectors<1, false>(s, table + i, b, weights, ahead, last, to + i);
        for (; i < s.width; ++i) {
            T sum = 0;
            for (int64_t e = s.start[b]; e < s.start[b + 1]; ++e)
                if (s.rows[e] != s.padding)
                    sum += table[s.rows[e] * s.width + i] * (weights ? weights[e] : T(1));
            to[i] = sum;
        }
        if (s.mode == BagMode::Mean && count > 1)
            for (int64_t j = 0; j < s.width; ++j) to[j] /= T(count);
        counts[b] = count;
    }
    return inside;
}

template <class S, class T>
bool bags(const BagShape& s, T* out, int64_t* counts, int64_t* places, int64_t begin, int64_t end) {
    if constexpr (__is_same(S, T))
        if (s.mode != BagMode::Max) return sum_bags(s, out, counts, begin, end);
    const S* table = static_cast<const S*>(s.table);
    const T* weights = static_cast<const T*>(s.weights);
    const int64_t last = s.start[end];
    bool inside = true;
    for (int64_t b = begin; b < end; ++b) {
        if (entries_of(s, b) < 0) {
            inside = false;
            continue;
        }
        for (int64_t from = 0; from < s.width || from == 0; from += kColumns) {
            const int64_t n = s.width - from < kColumns ? s.width - from : kColumns;
            T* __restrict to = out + b * s.width + from;
            int64_t* at = places ? places + b * s.width + from : nullptr;
            int64_t count = 0;
            for (int64_t i = 0; i < n; ++i) to[i] = 0;
            if (at)
                for (int64_t i = 0; i < n; ++i) at[i] = 0;
            for (int64_t e = s.start[b]; e < s.start[b + 1]; ++e) {
                if (e + kAhead < last) fetch_row(hint_of(table + from, s.rows[e + kAhead], s.width), n);
                if (s.rows[e] == s.padding) continue;
                const S* row = table + s.rows[e] * s.width + from;
                if (s.mode != BagMode::Max) {
                    add_row(row, n, weights ? weights[e] : T(1), weights != nullptr, to);
                } else {
                    for (int64_t i = 0; i < n; ++i) {
                        const T v = T(row[i]);
                        if (count == 0 || v > to[i]) to[i] = v, at[i] = s.rows[e];
                    }
                }
                ++count;
            }
            if (s.mode == BagMode::Mean && count > 1)
                for (int64_t i = 0; i < n; ++i) to[i] /= T(count);
            counts[b] = count;
        }
    }
    return inside;
}
bool bags_any(DType dtype, const BagShape& s, void* out, int64_t* counts, int64_t* places, int64_t begin,
              int64_t end) {
    switch (dtype) {
        case DType::Float16: return bags<Half>(s, static_cast<float*>(out), counts, places, begin, end);
        case DType::BFloat16: return bags<BFloat16>(s, static_cast<float*>(out), counts, places, begin, end);
        case DType::Float64: return bags<double>(s, static_cast<double*>(out), counts, places, begin, end);
        default: return bags<float>(s, static_cast<float*>(out), counts, places, begin, end);
    }
}

template <class T>
void add_all(const AddRows& a, T* to, int64_t begin, int64_t end) {
    const T *from = static_cast<const T*>(a.from), *scale = static_cast<const T*>(a.scale);
    for (int64_t i = 0; i < a.entries; ++i) {
        if (i + kAhead < a.entries) {
            const int64_t next = a.rows[i + kAhead];
            if (next >= begin && next < end) fetch_row(to + next * a.width, a.width);
        }
        const int64_t row = a.rows[i];
        if (row < begin || row >= end || row == a.padding) continue;
        const T* x = from + (a.source ? a.source[i] : i) * a.width;
        add_row(x, a.width, scale ? scale[i] : T(1), scale != nullptr, to + row * a.width);
    }
}
void add_any(DType dtype, const AddRows& a, void* to, int64_t begin, int64_t end) {
    FLB_FLOAT_OR_DOUBLE(dtype, add_all(a, static_cast<T*>(to), begin, end));
}

FLB_REGISTER_KERNEL(bag_rows, &bags_any);
FLB_REGISTER_KERNEL(add_rows, &add_any);

}  // namespace FLB_ISA
}  // namespace flb
