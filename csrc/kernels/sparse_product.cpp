// Sparse times sparse, by rows (Gustavson): the elements of a row of the product are gathered in a dense row, of which
// only what was touched is read and cleaned.
#include <algorithm>

#include "core/parallel.h"
#include "kernels/sparse_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(compressed_rows_times_dense);

int64_t SparseProduct::grain() const {
    // A thread's dense row has to be cleaned once: that must not be most of its work.
    return std::max<int64_t>(1, std::max<int64_t>(64, columns_ / 64));
}

int64_t SparseProduct::count(int64_t* starts) const {
    starts[0] = 0;
    parallel_for(0, rows_, grain(), [&](int64_t begin, int64_t end) {
        std::vector<int64_t> seen_in(size_t(columns_), -1);
        for (int64_t r = begin; r < end; ++r) {
            int64_t n = 0;
            for (int64_t e = a_.start[r]; e < a_.start[r + 1]; ++e) {
                const int64_t k = a_.column[e];
                for (int64_t f = b_.start[k]; f < b_.start[k + 1]; ++f) {
                    int64_t& seen = seen_in[size_t(b_.column[f])];
                    n += seen != r;
                    seen = r;
                }
            }
            starts[r + 1] = n;
        }
    });
    for (int64_t r = 0; r < rows_; ++r) starts[r + 1] += starts[r];
    return starts[rows_];
}

// The columns whose bits are set, in order.
static void in_order(const std::vector<uint64_t>& touched, int64_t* column) {
    for (size_t w = 0; w < touched.size(); ++w)
        for (uint64_t bits = touched[w]; bits; bits &= bits - 1)
            *column++ = int64_t(w) * 64 + __builtin_ctzll(bits);
}

template <class T>
void SparseProduct::fill_as(const int64_t* starts, int64_t* column, T* values) const {
    const T *av = static_cast<const T*>(a_.values), *bv = static_cast<const T*>(b_.values);
    parallel_for(0, rows_, grain(), [&](int64_t begin, int64_t end) {
        std::vector<T> sum(size_t(columns_), T(0));
        std::vector<uint64_t> touched(size_t(columns_) / 64 + 1, 0);  // a bit per column
        for (int64_t r = begin; r < end; ++r) {
            int64_t* const first = column + starts[r];
            int64_t* last = first;
            for (int64_t e = a_.start[r]; e < a_.start[r + 1]; ++e) {
                const int64_t k = a_.column[e];
                for (int64_t f = b_.start[k]; f < b_.start[k + 1]; ++f) {
                    const size_t c = size_t(b_.column[f]);
                    const uint64_t bit = uint64_t(1) << (c & 63);
                    if (!(touched[c >> 6] & bit)) {
                        touched[c >> 6] |= bit;
                        *last++ = int64_t(c);
                    }
                    sum[c] += av[e] * bv[f];
                }
            }
            if ((last - first) * 4 >= int64_t(touched.size())) in_order(touched, first);
            else std::sort(first, last);
            T* out = values + starts[r];
            for (int64_t* c = first; c < last; ++c) {
                *out++ = sum[size_t(*c)];
                sum[size_t(*c)] = T(0);
                touched[size_t(*c) >> 6] = 0;
            }
        }
    });
}

void SparseProduct::fill(const int64_t* starts, int64_t* column, void* values) const {
    if (dtype_ == DType::Float64) fill_as(starts, column, static_cast<double*>(values));
    else fill_as(starts, column, static_cast<float*>(values));
}

}  // namespace flb
