// Rows of a table: sums, means and maxima of bags of them, and gradients added back to them.
#pragma once
#include <cstdint>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

enum class BagMode : uint8_t { Sum, Mean, Max };
struct BagShape {
    const void* table;  // (table_rows, width) of any floating dtype
    int64_t table_rows, width;
    const int64_t* rows;
    const int64_t* start;  // bag b has entries [start[b], start[b + 1])
    const void* weights;   // one per entry, of the computing dtype; or null
    int64_t padding;       // entries that name this row are left out; -1: none
    BagMode mode;
};
// Bags [begin, end); `out` (bags, width) in float, or double for a table of doubles. `counts` gets how many entries each
// bag has beside padding, `places` (of Max) the row that each maximum came from. False if an entry names no row of the
// table: its bag is left out.
FLB_KERNEL(bag_rows, bool(DType dtype, const BagShape& s, void* out, int64_t* counts, int64_t* places,
                          int64_t begin, int64_t end));

// Float or double: to[rows[i]] += from[source[i]] * scale[i] for entries i in order, as far as the row lies in
// [begin, end) and is not `padding`. No source means i, no scale means 1.
struct AddRows {
    const int64_t *rows, *source;
    const void *from, *scale;
    int64_t entries, width, padding;
};
FLB_KERNEL(add_rows, void(DType dtype, const AddRows& a, void* to, int64_t begin, int64_t end));

}  // namespace flb
