// Sorting and selecting along the last dimension of a contiguous tensor seen as `rows` rows of n elements, and the
// searches that a sorted order allows. Floating types order as PyTorch's: NaN above everything, -0 equal to +0.
// Real dtypes only; the functions return false for complex ones.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace flb {

struct SortDesc {
    const void* in;
    void* values;      // may be null
    int64_t* indices;  // may be null
    int64_t rows, n;
};

// Note [Ties]: which of several equal elements comes first shows in the indices. In rows of up to kTiesMax elements
// they are PyTorch's, whose algorithms are the C++ library's std::sort, std::partial_sort and std::nth_element and a
// quickselect, all on values alone: a row where equal keys leave a choice is done again by those. Longer rows are
// stable, which costs nothing here.
constexpr int64_t kTiesMax = 1 << 14;

// values and indices: rows x n. Equal elements keep their order if `stable`; see Note [Ties].
bool sort_rows(DType dtype, const SortDesc& d, bool descending, bool stable);
// The k largest (or smallest) of each row, in order if `sorted`. values and indices: rows x k.
bool topk_rows(DType dtype, const SortDesc& d, int64_t k, bool largest, bool sorted);
// The k-th smallest (k from 1). values and indices: one per row.
bool kth_rows(DType dtype, const SortDesc& d, int64_t k);
// The lower median; ignore_nan leaves NaN out, otherwise a NaN in a row is its median. One per row.
bool median_rows(DType dtype, const SortDesc& d, bool ignore_nan);
// The most frequent value, the smallest of equally frequent ones, and one of its positions. One per row.
bool mode_rows(DType dtype, const SortDesc& d);

// Where each of `count` values would be inserted into a sorted sequence of n: before equal elements, or after them
// (right). Both of one dtype. sequence_rows > 1: row i of values (count / sequence_rows each) searches in row i.
// `order` (or null) sorts the sequence: sequence[order[0]] <= sequence[order[1]] ...
struct SearchDesc {
    const void* sequence;
    const int64_t* order;
    const void* values;
    int64_t* out;
    int64_t n, count, sequence_rows;
    bool right;
};
bool search_sorted(DType dtype, const SearchDesc& d);

}  // namespace flb
