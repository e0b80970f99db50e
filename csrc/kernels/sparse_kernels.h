// Products of a sparse matrix in compressed rows.
#pragma once
#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/dtype.h"

namespace flb {

// Row r has the elements [start[r], start[r + 1]): value values[e] in column column[e]. All of it was checked.
struct CompressedRows {
    const int64_t* start;
    const int64_t* column;
    const void* values;
};

// Rows [begin, end) of the product with a dense (columns, width), row-major, all in float or double.
FLB_KERNEL(compressed_rows_times_dense, void(DType dtype, const CompressedRows& a, const void* dense,
                                             int64_t width, void* out, int64_t begin, int64_t end));

// The product of two sparse matrices, (rows, inner) and (inner, columns), row by row; float or double.
class SparseProduct {
  public:
    SparseProduct(DType dtype, const CompressedRows& a, const CompressedRows& b, int64_t rows,
                  int64_t columns)
        : dtype_(dtype), a_(a), b_(b), rows_(rows), columns_(columns) {}
    // How many elements the rows have: writes rows + 1 starts, and returns the last.
    int64_t count(int64_t* starts) const;
    void fill(const int64_t* starts, int64_t* column, void* values) const;

  private:
    template <class T>
    void fill_as(const int64_t* starts, int64_t* column, T* values) const;
    int64_t grain() const;
    DType dtype_;
    CompressedRows a_, b_;
    int64_t rows_, columns_;
};

}  // namespace flb
