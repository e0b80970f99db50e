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

template <class S, class T>
FLB_INLINE void add_row(const S* row, int64_t n, T weight, bool weighted, T* __restrict sum) {
    if (weighted)
        for (int64_t i = 0; i < n; ++i) sum[i] += T(row[i]) * weight;
    else
        for (int64_t i = 0; i < n; ++i) sum[i] += T(row[i]);
}

// M vectors of columns of the entries of a bag, their sums in registers; and single columns.
template <int M, class T>
FLB_INLINE void sum_vectors(const BagShape& s, const T* table, int64_t b, const T* weights,
                            int64_t fetch_from, int64_t fetch_end, T* to) {
    using V = typename Vec<T>::type;
    V sum[M] = {};
    for (int64_t e = s.start[b]; e < s.start[b + 1]; ++e, ++fetch_from) {
        if (fetch_from < fetch_end) fetch_row(table + s.rows[fetch_from] * s.width, s.width);
        if (s.rows[e] == s.padding) continue;
        const T* row = table + s.rows[e] * s.width;
        for (int m = 0; m < M; ++m) {
            const V x = load_vec(row + m * Vec<T>::lanes);
            sum[m] += weights ? x * weights[e] : x;
        }
    }
    __builtin_memcpy(to, sum, sizeof(sum));
}
template <class T>
void sum_bags(const BagShape& s, T* out, int64_t* counts, int64_t begin, int64_t end) {
    constexpr int64_t lanes = Vec<T>::lanes;
    const T *table = static_cast<const T*>(s.table), *weights = static_cast<const T*>(s.weights);
    const int64_t lines = (s.width * int64_t(sizeof(T)) + 63) / 64, ahead = lines > 8 ? 4 : 32 / lines;
    const int64_t last = s.start[end];
    for (int64_t b = begin; b < end; ++b) {
        int64_t count = 0;
        for (int64_t e = s.start[b]; e < s.start[b + 1]; ++e) count += s.rows[e] != s.padding;
        T* to = out + b * s.width;
        int64_t i = 0;
        int64_t fetch = s.start[b] + ahead;  // by the first vectors, for all
        for (; i + 4 * lanes <= s.width; i += 4 * lanes, fetch = last)
            sum_vectors<4>(s, table + i, b, weights, fetch, last, to + i);
        for (; i + lanes <= s.width; i += lanes, fetch = last)
            sum_vectors<1>(s, table + i, b, weights, fetch, last, to + i);
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
}

template <class S, class T>
void bags(const BagShape& s, T* out, int64_t* counts, int64_t* places, int64_t begin, int64_t end) {
    if constexpr (__is_same(S, T))
        if (s.mode != BagMode::Max) return sum_bags(s, out, counts, begin, end);
    const S* table = static_cast<const S*>(s.table);
    const T* weights = static_cast<const T*>(s.weights);
    const int64_t last = s.start[end];
    for (int64_t b = begin; b < end; ++b)
        for (int64_t from = 0; from < s.width || from == 0; from += kColumns) {
            const int64_t n = s.width - from < kColumns ? s.width - from : kColumns;
            T* __restrict to = out + b * s.width + from;
            int64_t* at = places ? places + b * s.width + from : nullptr;
            int64_t count = 0;
            for (int64_t i = 0; i < n; ++i) to[i] = 0;
            if (at)
                for (int64_t i = 0; i < n; ++i) at[i] = 0;
            for (int64_t e = s.start[b]; e < s.start[b + 1]; ++e) {
                if (e + kAhead < last) fetch_row(table + s.rows[e + kAhead] * s.width + from, n);
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
void bags_any(DType dtype, const BagShape& s, void* out, int64_t* counts, int64_t* places, int64_t begin,
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
