// Products of matrices in compressed rows as operators on their parts, which are dense tensors: what stands in the indices
// is copied and checked here, and raises what the user has to hear.
#include "bindings/nn_common.h"
#include "kernels/sparse_kernels.h"

namespace flb {

namespace {

// A matrix in compressed rows, in memory that nobody else changes.
struct OwnRows {
    TensorRef start, column, values;
    int64_t rows, elements;

    OwnRows(const Call& call, int first, int64_t columns, DType dtype) {
        Tensor &s = call.tensor(first), &c = call.tensor(first + 1), &v = call.tensor(first + 2);
        call.check(s.ndim() == 1 && s.numel > 0 && c.ndim() == 1 && v.sizes == c.sizes,
                   "expected starts, columns and values of one dimension, got shapes ", str(s.sizes), ", ",
                   str(c.sizes), " and ", str(v.sizes));
        rows = s.numel - 1;
        elements = c.numel;
        start = own_indices(s);
        column = own_indices(c);
        values = dense(v, dtype);
        const int64_t *at = data_of<int64_t>(start), *where = data_of<int64_t>(column);
        bool good = at[0] == 0 && at[rows] == elements;
        for (int64_t r = 0; r < rows; ++r) good &= at[r] <= at[r + 1];
        call.check(good, "compressed indices must start at 0, never fall, and end with nnz (= ", elements,
                   ")");
        bool inside = true;
        for (int64_t e = 0; e < elements; ++e) inside &= uint64_t(where[e]) < uint64_t(columns);
        for (int64_t e = 0; !inside && e < elements; ++e)
            check_as(ErrorKind::Index, where[e] >= 0 && where[e] < columns, "index ", where[e],
                     " is out of bounds for dimension 1 with size ", columns, " of a sparse matrix");
    }
    CompressedRows shape() const {
        return {data_of<int64_t>(start), data_of<int64_t>(column), data_of(values)};
    }
};

void check_dtypes(const Call& call, std::initializer_list<int> operands) {
    const DType dtype = call.tensor(*operands.begin()).dtype;
    for (int i : operands) {
        const Tensor& t = call.tensor(i);
        call.check(!t.is_meta(), "expected tensors with data, got one on meta");
        call.check(t.dtype == dtype, "expected one dtype, got ", name_of(dtype), " and ", name_of(t.dtype));
    }
}

PyObject* times_dense(Call& call) {  // starts, columns, values, dense
    check_dtypes(call, {2, 3});
    Tensor& other = call.tensor(3);
    call.check(other.ndim() == 2, "expected a dense matrix, got ", other.ndim(), " dimensions");
    const DType dtype = compute_dtype(call, other);
    const OwnRows a(call, 0, other.sizes[0], dtype);
    const int64_t width = other.sizes[1];
    TensorRef table = dense(other, dtype), out = empty({a.rows, width}, dtype);
    if (out->numel) {
        const CompressedRows shape = a.shape();
        const void* from = data_of(table);
        void* to = data_of(out);
        Unlocked unlocked(a.elements * width > kNnGrain);
        parallel_for(0, a.rows, grain_for(a.elements * width / a.rows), [&](int64_t b, int64_t e) {
            compressed_rows_times_dense(dtype, shape, from, width, to, b, e);
        });
    }
    return cast(*out, other.dtype).release();
}

PyObject* times_sparse(Call& call) {  // starts, columns, values, starts, columns, values, width
    check_dtypes(call, {2, 5});
    const DType wide = compute_dtype(call, call.tensor(2)), dtype = call.tensor(2).dtype;
    const int64_t width = call.integer(6);
    call.check(width >= 0, "expected a size, got ", width);
    const OwnRows b(call, 3, width, wide), a(call, 0, b.rows, wide);
    TensorRef start = empty({a.rows + 1}, DType::Int64);
    const SparseProduct product(wide, a.shape(), b.shape(), a.rows, width);
    int64_t elements;
    {
        int64_t* to = data_of<int64_t>(start);
        Unlocked unlocked(true);
        elements = product.count(to);
    }
    TensorRef column = empty({elements}, DType::Int64), values = empty({elements}, wide);
    if (elements) {
        const int64_t* from = data_of<int64_t>(start);
        int64_t* to = data_of<int64_t>(column);
        void* sums = data_of(values);
        Unlocked unlocked(true);
        product.fill(from, to, sums);
    }
    return call.results({start, column, cast(*values, dtype)});
}

FLB_OPS({"_compressed_rows_times_dense", times_dense}, {"_compressed_rows_times_sparse", times_sparse});

}  // namespace

}  // namespace flb
