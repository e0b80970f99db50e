// A row of the product is a weighted sum of rows of the dense matrix. Four vectors of it at a time stay in registers while
// its elements are gone through; the dense rows that come next are fetched ahead.
#include "kernels/isa/loops.h"
#include "kernels/sparse_kernels.h"

namespace flb {
namespace FLB_ISA {
namespace {

constexpr int64_t kAhead = 6;

// Elements side by side, wherever they lie; the compiler splits wide ones for narrower instruction sets.
template <class T, int kBytes = 64>
struct Packed {
    typedef T Vector __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
    static constexpr int64_t size = kBytes / int64_t(sizeof(T));
};

struct Elements {
    int64_t first, last, known;  // of this row, and of all: indices up to there may be read
};

template <class T>
FLB_INLINE const T* row_of(const CompressedRows& a, int64_t e, const T* dense, int64_t width) {
    return dense + a.column[e] * width;
}

template <class T>
FLB_INLINE void four_vectors(const CompressedRows& a, Elements r, const T* dense, int64_t width, T* out) {
    using Vector = typename Packed<T>::Vector;
    constexpr int64_t n = Packed<T>::size;
    const T* values = static_cast<const T*>(a.values);
    Vector s0 = {}, s1 = {}, s2 = {}, s3 = {};
    for (int64_t e = r.first; e < r.last; ++e) {
        if (e + kAhead < r.known) {
            const char* next = reinterpret_cast<const char*>(row_of(a, e + kAhead, dense, width));
            for (int64_t b = 0; b < 256; b += 64) __builtin_prefetch(next + b);
        }
        const T* row = row_of(a, e, dense, width);
        const T v = values[e];
        s0 += v * *reinterpret_cast<const Vector*>(row);
        s1 += v * *reinterpret_cast<const Vector*>(row + n);
        s2 += v * *reinterpret_cast<const Vector*>(row + 2 * n);
        s3 += v * *reinterpret_cast<const Vector*>(row + 3 * n);
    }
    Vector* to = reinterpret_cast<Vector*>(out);
    to[0] = s0, to[1] = s1, to[2] = s2, to[3] = s3;
}

template <int kBytes, class T>
FLB_INLINE void one_vector(const CompressedRows& a, Elements r, const T* dense, int64_t width, T* out) {
    using Vector = typename Packed<T, kBytes>::Vector;
    const T* values = static_cast<const T*>(a.values);
    Vector sum = {};
    for (int64_t e = r.first; e < r.last; ++e)
        sum += values[e] * *reinterpret_cast<const Vector*>(row_of(a, e, dense, width));
    *reinterpret_cast<Vector*>(out) = sum;
}

template <class T>
FLB_INLINE void one_column(const CompressedRows& a, Elements r, const T* dense, int64_t width, T* out) {
    const T* values = static_cast<const T*>(a.values);
    T sum[4] = {};
    int64_t e = r.first;
    for (; e + 4 <= r.last; e += 4)
        for (int k = 0; k < 4; ++k) sum[k] += values[e + k] * *row_of(a, e + k, dense, width);
    for (; e < r.last; ++e) sum[0] += values[e] * *row_of(a, e, dense, width);
    *out = (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class T>
void rows_times_dense(const CompressedRows& a, const T* dense, int64_t width, T* to, int64_t begin,
                      int64_t end) {
    constexpr int64_t n = Packed<T>::size;
    for (int64_t i = begin; i < end; ++i) {
        const Elements r{a.start[i], a.start[i + 1], a.start[end]};
        T* out = to + i * width;
        int64_t j = 0;
        for (; j + 4 * n <= width; j += 4 * n) four_vectors(a, r, dense + j, width, out + j);
        for (; j + n <= width; j += n) one_vector<64>(a, r, dense + j, width, out + j);
        for (; j + n / 2 <= width; j += n / 2) one_vector<32>(a, r, dense + j, width, out + j);
        for (; j + n / 4 <= width; j += n / 4) one_vector<16>(a, r, dense + j, width, out + j);
        for (; j < width; ++j) one_column(a, r, dense + j, width, out + j);
    }
}

void times_dense(DType dtype, const CompressedRows& a, const void* dense, int64_t width, void* out,
                 int64_t begin, int64_t end) {
    if (dtype == DType::Float64)
        rows_times_dense(a, static_cast<const double*>(dense), width, static_cast<double*>(out), begin, end);
    else rows_times_dense(a, static_cast<const float*>(dense), width, static_cast<float*>(out), begin, end);
}

}  // namespace

FLB_REGISTER_KERNEL(compressed_rows_times_dense, &times_dense);

}  // namespace FLB_ISA
}  // namespace flb
