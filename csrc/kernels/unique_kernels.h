// Equal neighbours among the rows of a matrix, and the order that makes equal rows neighbours.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace flb {

// n contiguous rows of `width` elements, read in the given order; order null: as they lie. With `sorted` the rows
// lie in that order already, and it only says where they came from.
struct UniqueDesc {
    const void* data;
    int64_t n, width;
    int64_t* order;
    bool sorted;
    int64_t* inverse;  // n group numbers, or null
    int64_t* starts;   // where each group begins; room for n
};

// Writes the lexicographic order of the rows to d.order. Real dtypes.
void sort_row_order(DType dtype, const UniqueDesc& d);
// Numbers runs of equal rows (a NaN equals nothing) and returns how many there are.
int64_t group_rows(DType dtype, const UniqueDesc& d);

}  // namespace flb
