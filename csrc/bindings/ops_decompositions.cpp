// Decompositions and solvers of matrices: shapes, dtypes and errors; the arithmetic is in kernels/lapack.cpp.
//
// Operands of one call have the same batch dimensions: flambeau._ops.decompositions broadcasts them. Results that are
// matrices are column-major, as LAPACK leaves them.
#include <algorithm>
#include <cstring>
#include <vector>

#include "bindings/find_blas.h"
#include "bindings/op.h"
#include "core/interpreter.h"
#include "kernels/lapack.h"

namespace flb {
namespace {

// "linalg_cholesky_ex" -> "linalg.cholesky"
std::string shown(const Call& call) {
    std::string name = call.name();
    if (name.front() == '_') name.erase(0, 1);
    if (const size_t tail = name.rfind("_ex"); tail != std::string::npos && tail + 3 == name.size())
        name.resize(tail);
    if (name.rfind("linalg_", 0) == 0) name[6] = '.';
    return name;
}

void check_matrix(const Call& call, const Tensor& t, const char* argument) {
    check(t.ndim() >= 2, shown(call), ": The input tensor ", argument,
          " must have at least 2 dimensions, got shape ", str(t.sizes));
    check(is_floating(t.dtype) || is_complex(t.dtype), shown(call),
          ": Expected a floating point or complex tensor as input. Got ", info(t.dtype).class_name);
    check(itemsize(t.dtype) >= 4 && t.dtype != DType::Complex32, shown(call),
          ": Low precision dtypes not supported. Got ", info(t.dtype).class_name);
}
void check_square(const Call& call, const Tensor& t, const char* argument) {
    check_matrix(call, t, argument);
    const int n = t.ndim();
    check(t.sizes[n - 1] == t.sizes[n - 2], shown(call), ": ", argument,
          " must be batches of square matrices, but they are ", t.sizes[n - 2], " by ", t.sizes[n - 1],
          " matrices");
}
void check_same(const Call& call, const Tensor& a, const Tensor& b) {
    check(a.dtype == b.dtype, shown(call), ": Expected the operands to have the same dtype, but got ",
          info(a.dtype).class_name, " and ", info(b.dtype).class_name);
    check(a.ndim() == b.ndim() && std::equal(a.sizes.data(), a.sizes.data() + a.ndim() - 2, b.sizes.data()),
          shown(call), ": Incompatible shapes ", str(a.sizes), " and ", str(b.sizes));
}

Dims batch_of(const Tensor& t) { return Dims(t.sizes.data(), t.ndim() - 2); }
int64_t rows(const Tensor& t) { return t.sizes[t.ndim() - 2]; }
int64_t cols(const Tensor& t) { return t.sizes[t.ndim() - 1]; }
Dims with(Dims batch, int64_t a) {
    batch.push_back(a);
    return batch;
}
Dims with(const Dims& batch, int64_t a, int64_t b) { return with(with(batch, a), b); }

// A fresh batch of column-major matrices.
TensorRef columns(const Dims& batch, int64_t m, int64_t n, DType dtype, Device device) {
    const Dims sizes = with(batch, m, n);
    Dims strides = sizes;
    int64_t step = 1;
    const auto place = [&](int d) {
        strides[d] = step;
        step *= std::max<int64_t>(1, sizes[d]);
    };
    place(sizes.size() - 2);
    place(sizes.size() - 1);
    for (int d = sizes.size() - 3; d >= 0; --d) place(d);
    return empty_strided(sizes, strides, dtype, device.type);
}
TensorRef columns_like(const Tensor& t, int64_t m, int64_t n) {
    return columns(batch_of(t), m, n, t.dtype, {t.device, -1});
}
// The copy of `t` in which LAPACK works.
TensorRef column_copy(Tensor& t) {
    TensorRef made = columns_like(t, rows(t), cols(t));
    if (!t.is_meta()) copy_into(*made, t);
    return made;
}

Matrices matrices(const Tensor& t) {
    int64_t count = 1;
    for (int d = 0; d < t.ndim() - 2; ++d) count *= t.sizes[d];
    return {kernel_pointer(t), count, rows(t), cols(t)};
}
DType real_of(DType type) {
    return type == DType::Complex64 ? DType::Float32 : type == DType::Complex128 ? DType::Float64 : type;
}
DType complex_of(DType type) {
    return type == DType::Float32 ? DType::Complex64 : type == DType::Float64 ? DType::Complex128 : type;
}
TensorRef vectors(const Tensor& like, int64_t n, DType dtype) {
    return empty(with(batch_of(like), n), dtype, like.device);
}
TensorRef infos(const Tensor& like) {
    TensorRef made = empty(batch_of(like), DType::Int32, like.device);
    if (!made->is_meta()) fill(*made, Scalar(int64_t(0)));
    return made;
}
template <class T>
T* pointer(const TensorRef& t) {
    return reinterpret_cast<T*>(kernel_pointer(*t));
}

// Runs a kernel unless there is nothing to compute; with the interpreter unlocked for larger matrices.
template <class F>
void run(const Tensor& a, F&& f) {
    if (a.is_meta() || a.numel == 0) return;
    find_blas();
    Unlocked unlocked(a.numel > 1024);
    f();
}

// Zeros on one side of the diagonal.
template <class T>
void clear_triangle(Matrices a, bool upper_side) {
    T* matrix = static_cast<T*>(a.data);
    for (int64_t i = 0; i < a.count; ++i, matrix += a.rows * a.cols)
        for (int64_t c = 0; c < a.cols; ++c) {
            const int64_t begin = upper_side ? 0 : std::min(c + 1, a.rows),
                          end = upper_side ? std::min(c, a.rows) : a.rows;
            std::fill(matrix + c * a.rows + begin, matrix + c * a.rows + end, T(0));
        }
}
void clear_triangle(DType type, Matrices a, bool upper_side) {
    // Zero has the same bytes in every dtype: only the width counts.
    if (itemsize(type) == 4) clear_triangle<uint32_t>(a, upper_side);
    if (itemsize(type) == 8) clear_triangle<uint64_t>(a, upper_side);
    if (itemsize(type) == 16) {
        struct Wide {
            uint64_t low, high;
            Wide(int) : low(0), high(0) {}
        };
        clear_triangle<Wide>(a, upper_side);
    }
}

// (input, *, upper) -> (L, info)
PyObject* cholesky(Call& call) {
    Tensor& in = call.tensor(0);
    check_square(call, in, "A");
    const bool upper = call.boolean(1);
    TensorRef a = column_copy(in), info = infos(in);
    run(*a, [&] {
        lapack_cholesky(a->dtype, matrices(*a), upper, pointer<int32_t>(info));
        clear_triangle(a->dtype, matrices(*a), !upper);
    });
    return deliver_all(call, {a, info});
}

// (A, *, pivot) -> (LU, pivots, info)
PyObject* lu_factor(Call& call) {
    Tensor& in = call.tensor(0);
    check_matrix(call, in, "A");
    check(call.boolean(1), shown(call), ": LU without pivoting is not implemented on the CPU");
    TensorRef a = column_copy(in), info = infos(in);
    TensorRef pivots = vectors(in, std::min(rows(in), cols(in)), DType::Int32);
    run(*a, [&] { lapack_lu(a->dtype, matrices(*a), pointer<int32_t>(pivots), pointer<int32_t>(info)); });
    return deliver_all(call, {a, pivots, info});
}

// LAPACK trusts pivots; here they are looked at first.
TensorRef checked_pivots(const Call& call, const Tensor& matrix, Tensor& pivots, bool signs) {
    check(pivots.dtype == DType::Int32, shown(call),
          ": pivots should be a Tensor of scalar type torch.int32. Got ", info(pivots.dtype).class_name);
    check(pivots.sizes == with(batch_of(matrix), rows(matrix)), shown(call),
          ": Number of pivots per batch should be same as the dimension of the matrix; got pivots of shape ",
          str(pivots.sizes), " for a matrix of shape ", str(matrix.sizes));
    if (pivots.is_meta() || pivots.numel == 0) return TensorRef::borrow(&pivots);
    TensorRef copy = private_copy(pivots, DType::Int32);
    const int32_t* p = pointer<int32_t>(copy);
    const int64_t n = rows(matrix);
    for (int64_t i = 0; i < copy->numel; ++i) {
        const int64_t value = signs ? std::abs(int64_t(p[i])) : p[i];
        check(value >= 1 && value <= n, shown(call),
              ": Pivots given to it must all be greater or equal to 1 and at most the matrix's size ", n,
              ", but got ", p[i]);
    }
    return copy;
}

// (LU, pivots, B, bool adjoint) -> X
PyObject* lu_solve(Call& call) {
    Tensor &lu = call.tensor(0), &pivots = call.tensor(1), &b = call.tensor(2);
    check_square(call, lu, "LU");
    check_matrix(call, b, "B");
    check_same(call, lu, b);
    check(rows(lu) == rows(b), shown(call), ": Incompatible shapes of LU ", str(lu.sizes), " and B ",
          str(b.sizes));
    const TensorRef checked = checked_pivots(call, lu, pivots, false);
    TensorRef a = column_copy(lu), x = column_copy(b);
    const bool adjoint = call.boolean(3);
    run(*x, [&] {
        lapack_lu_solve(a->dtype, matrices(*a), pointer<int32_t>(checked), matrices(*x), adjoint ? 'C' : 'N');
    });
    return deliver(call, x);
}

// (A, B) -> (result, LU, pivots, info): A X = B
PyObject* solve(Call& call) {
    Tensor &in = call.tensor(0), &b = call.tensor(1);
    check_square(call, in, "A");
    check_matrix(call, b, "B");
    check_same(call, in, b);
    check(rows(in) == rows(b), shown(call), ": Incompatible shapes of A and B for the equation AX = B (",
          rows(in), "x", cols(in), " and ", rows(b), "x", cols(b), ")");
    TensorRef a = column_copy(in), x = column_copy(b), info = infos(in);
    TensorRef pivots = vectors(in, rows(in), DType::Int32);
    run(*a, [&] { lapack_lu(a->dtype, matrices(*a), pointer<int32_t>(pivots), pointer<int32_t>(info)); });
    run(*x, [&] { lapack_lu_solve(a->dtype, matrices(*a), pointer<int32_t>(pivots), matrices(*x), 'N'); });
    return deliver_all(call, {x, a, pivots, info});
}

// (input, *, hermitian) -> (LD, pivots, info)
PyObject* ldl_factor(Call& call) {
    Tensor& in = call.tensor(0);
    check_square(call, in, "A");
    TensorRef a = column_copy(in), info = infos(in), pivots = vectors(in, rows(in), DType::Int32);
    const bool hermitian = call.boolean(1);
    run(*a, [&] {
        lapack_ldl(a->dtype, matrices(*a), hermitian, pointer<int32_t>(pivots), pointer<int32_t>(info));
        clear_triangle(a->dtype, matrices(*a), true);
    });
    return deliver_all(call, {a, pivots, info});
}

// (LD, pivots, B, bool hermitian) -> X
PyObject* ldl_solve(Call& call) {
    Tensor &ld = call.tensor(0), &pivots = call.tensor(1), &b = call.tensor(2);
    check_square(call, ld, "LD");
    check_matrix(call, b, "B");
    check_same(call, ld, b);
    check(rows(ld) == rows(b), shown(call), ": Incompatible shapes of LD ", str(ld.sizes), " and B ",
          str(b.sizes));
    const TensorRef checked = checked_pivots(call, ld, pivots, true);
    // A pair of equal negative pivots marks a 2 by 2 block; LAPACK reads the second without asking whether it is there.
    if (!checked->is_meta() && checked->numel) {
        const int32_t* p = pointer<int32_t>(checked);
        const int64_t n = rows(ld);
        for (int64_t m = 0; m < checked->numel / n; ++m)
            for (int64_t i = 0; i < n; ++i)
                if (p[m * n + i] < 0) {
                    check(i + 1 < n && p[m * n + i + 1] == p[m * n + i], shown(call),
                          ": the pivots are not those of a factorization: negative ones come in equal pairs");
                    ++i;
                }
    }
    TensorRef a = column_copy(ld), x = column_copy(b);
    const bool hermitian = call.boolean(3);
    run(*x, [&] {
        lapack_ldl_solve(a->dtype, matrices(*a), pointer<int32_t>(checked), matrices(*x), hermitian);
    });
    return deliver(call, x);
}

// (A, B, bool upper, bool left, bool unitriangular) -> X
PyObject* solve_triangular(Call& call) {
    Tensor &in = call.tensor(0), &b = call.tensor(1);
    check_square(call, in, "A");
    check_matrix(call, b, "B");
    check_same(call, in, b);
    const Triangle triangle{call.boolean(3), call.boolean(2), call.boolean(4), 'N'};
    check(rows(in) == (triangle.left ? rows(b) : cols(b)), shown(call),
          ": Incompatible shapes of A and B for the equation ", triangle.left ? "AX = B" : "XA = B", " (",
          rows(in), "x", cols(in), " and ", rows(b), "x", cols(b), ")");
    TensorRef a = column_copy(in), x = column_copy(b);
    run(*x, [&] { lapack_triangular_solve(a->dtype, matrices(*a), matrices(*x), triangle); });
    return deliver(call, x);
}

// (input) -> (a, tau)
PyObject* geqrf(Call& call) {
    Tensor& in = call.tensor(0);
    check_matrix(call, in, "input");
    TensorRef a = column_copy(in), tau = vectors(in, std::min(rows(in), cols(in)), in.dtype);
    run(*a, [&] { lapack_qr(a->dtype, matrices(*a), kernel_pointer(*tau)); });
    return deliver_all(call, {a, tau});
}

// (A, str mode) -> (Q, R)
PyObject* qr(Call& call) {
    Tensor& in = call.tensor(0);
    check_matrix(call, in, "A");
    const std::string mode = call.str(1);
    check(mode == "reduced" || mode == "complete" || mode == "r", "qr received unrecognized mode '", mode,
          "' but expected one of 'reduced' (default), 'r', or 'complete'");
    const int64_t m = rows(in), n = cols(in), k = std::min(m, n), q_cols = mode == "complete" ? m : k;
    TensorRef a = column_copy(in), tau = vectors(in, k, in.dtype);
    run(*a, [&] { lapack_qr(a->dtype, matrices(*a), kernel_pointer(*tau)); });
    TensorRef r = columns_like(in, q_cols, n);
    const Dims batch = batch_of(in);
    const auto first_rows = [&](Tensor& t, int64_t count) {
        return make_view(t, with(batch, count, cols(t)), t.strides, t.offset);
    };
    const auto first_cols = [&](Tensor& t, int64_t count) {
        return make_view(t, with(batch, rows(t), count), t.strides, t.offset);
    };
    if (!in.is_meta() && r->numel) {
        TensorRef top = first_rows(*a, q_cols);
        copy_into(*r, *top);
        clear_triangle(r->dtype, matrices(*r), false);
    }
    if (mode == "r") return deliver_all(call, {empty({0}, in.dtype, in.device), r});
    TensorRef q = columns_like(in, m, q_cols);
    if (!in.is_meta() && q->numel) {
        fill(*q, Scalar(int64_t(0)));
        TensorRef from = first_cols(*a, k), to = first_cols(*q, k);
        copy_into(*to, *from);
        run(*q, [&] { lapack_householder(q->dtype, matrices(*q), kernel_pointer(*tau), k); });
        // Without a single reflection Q is the identity, which LAPACK sets as well.
    }
    return deliver_all(call, {q, r});
}

// (input, tau) -> Q
PyObject* householder(Call& call) {
    Tensor &in = call.tensor(0), &given = call.tensor(1);
    check_matrix(call, in, "input");
    check(rows(in) >= cols(in), shown(call),
          ": input.shape[-2] must be greater than or equal to input.shape[-1], got shape ", str(in.sizes));
    check(given.ndim() == in.ndim() - 1 &&
              std::equal(given.sizes.data(), given.sizes.data() + in.ndim() - 2, in.sizes.data()) &&
              given.sizes[given.ndim() - 1] <= cols(in),
          shown(call),
          ": input.shape[-1] must be greater than or equal to tau.shape[-1], with equal batch dimensions; "
          "got input of shape ",
          str(in.sizes), " and tau of shape ", str(given.sizes));
    check(given.dtype == in.dtype, shown(call), ": tau dtype ", info(given.dtype).class_name,
          " does not match input dtype ", info(in.dtype).class_name);
    TensorRef a = column_copy(in), tau = contiguous(given);
    const int64_t k = given.sizes[given.ndim() - 1];
    run(*a, [&] { lapack_householder(a->dtype, matrices(*a), kernel_pointer(*tau), k); });
    return deliver(call, a);
}

// (input, tau, other, bool left, bool transpose)
PyObject* ormqr(Call& call) {
    Tensor &in = call.tensor(0), &given = call.tensor(1), &other = call.tensor(2);
    check_matrix(call, in, "input");
    check_matrix(call, other, "other");
    check_same(call, in, other);
    const bool left = call.boolean(3), transpose = call.boolean(4);
    const int64_t side = left ? rows(other) : cols(other),
                  k = given.ndim() ? given.sizes[given.ndim() - 1] : 0;
    const char* dim = left ? "-2" : "-1";
    check(side >= k, "torch.ormqr: other.shape[", dim, "] must be greater than or equal to tau.shape[-1]");
    check(side == rows(in), "torch.ormqr: other.shape[", dim, "] must be equal to input.shape[-2]");
    check(k <= cols(in), "torch.ormqr: tau.shape[-1] must be less than or equal to input.shape[-1]");
    check(given.dtype == in.dtype, "torch.ormqr: Expected input and tau to have the same dtype");
    check(given.ndim() == in.ndim() - 1 &&
              std::equal(given.sizes.data(), given.sizes.data() + in.ndim() - 2, in.sizes.data()),
          "torch.ormqr: Expected batch dimensions of tau to be equal to input.shape[:-2], but got ",
          str(given.sizes));
    TensorRef a = column_copy(in), tau = contiguous(given), c = column_copy(other);
    if (k == 0) return deliver(call, c);
    run(*c, [&] {
        lapack_apply_householder(a->dtype, matrices(*a), kernel_pointer(*tau), matrices(*c), left,
                                 transpose ? 'C' : 'N', k);
    });
    return deliver(call, c);
}

// (A, str UPLO, bool vectors) -> (eigenvalues, eigenvectors, info)
PyObject* eigh(Call& call) {
    Tensor& in = call.tensor(0);
    check_square(call, in, "A");
    const std::string triangle = call.str(1);
    check(triangle.size() == 1 && std::strchr("LlUu", triangle[0]),
          "Expected UPLO argument to be 'L' or 'U', but got ", triangle);
    const bool wanted = call.boolean(2);
    TensorRef a = column_copy(in), info = infos(in), values = vectors(in, rows(in), real_of(in.dtype));
    run(*a, [&] {
        lapack_eigh(a->dtype, matrices(*a), kernel_pointer(*values), triangle[0] == 'U' || triangle[0] == 'u',
                    wanted, pointer<int32_t>(info));
    });
    return deliver_all(call, {values, wanted ? a : empty({0}, in.dtype, in.device), info});
}

// (A, bool vectors) -> (eigenvalues, eigenvectors, info)
PyObject* eig(Call& call) {
    Tensor& in = call.tensor(0);
    check_square(call, in, "A");
    const bool wanted = call.boolean(1);
    const DType type = complex_of(in.dtype);
    TensorRef a = column_copy(in), info = infos(in), values = vectors(in, rows(in), type);
    TensorRef found = wanted ? columns(batch_of(in), rows(in), rows(in), type, {in.device, -1})
                             : empty({0}, type, in.device);
    run(*a, [&] {
        lapack_eig(a->dtype, matrices(*a), kernel_pointer(*values), wanted ? kernel_pointer(*found) : nullptr,
                   pointer<int32_t>(info));
    });
    return deliver_all(call, {values, found, info});
}

// (A, bool full_matrices, bool vectors) -> (U, S, Vh, info)
PyObject* svd(Call& call) {
    Tensor& in = call.tensor(0);
    check_matrix(call, in, "A");
    const bool full = call.boolean(1), wanted = call.boolean(2);
    const int64_t m = rows(in), n = cols(in), k = std::min(m, n);
    TensorRef a = column_copy(in), info = infos(in), s = vectors(in, k, real_of(in.dtype));
    TensorRef u = wanted ? columns_like(in, m, full ? m : k) : empty({0}, in.dtype, in.device);
    TensorRef vh = wanted ? columns_like(in, full ? n : k, n) : empty({0}, in.dtype, in.device);
    if (in.numel == 0 && wanted && full && !in.is_meta()) {
        // Nothing constrains the vectors of an empty matrix: the identity will do.
        for (TensorRef* t : {&u, &vh}) {
            if (!(*t)->numel) continue;
            fill(**t, Scalar(int64_t(0)));
            Dims strides = batch_of(**t);
            for (int d = 0; d < strides.size(); ++d) strides[d] = (*t)->strides[d];
            const int64_t side = rows(**t);
            TensorRef diagonal = make_view(**t, with(batch_of(**t), side), with(strides, side + 1), 0);
            fill(*diagonal, Scalar(int64_t(1)));
        }
    }
    run(*a, [&] {
        lapack_svd(a->dtype, matrices(*a), wanted ? kernel_pointer(*u) : nullptr, kernel_pointer(*s),
                   wanted ? kernel_pointer(*vh) : nullptr,
                   !wanted ? 'N'
                   : full  ? 'A'
                           : 'S',
                   pointer<int32_t>(info));
    });
    return deliver_all(call, {u, s, vh, info});
}

// (A, B, float rcond, str driver) -> (X in the first rows of max(m, n) ones, rank, singular values, info)
PyObject* lstsq(Call& call) {
    Tensor &in = call.tensor(0), &b = call.tensor(1);
    check_matrix(call, in, "input");
    check_matrix(call, b, "other");
    check_same(call, in, b);
    const int64_t m = rows(in), n = cols(in), k = std::min(m, n);
    check(rows(b) == m, shown(call), ": input.size(-2) should match other.size(-2), got ", m, " and ",
          rows(b));
    const std::string driver = call.str(3);
    const LeastSquares kind = driver == "gels"    ? LeastSquares::Gels
                              : driver == "gelsy" ? LeastSquares::Gelsy
                              : driver == "gelsd" ? LeastSquares::Gelsd
                                                  : LeastSquares::Gelss;
    const double rcond = call.real(2);
    TensorRef a = column_copy(in), info = infos(in), x = columns_like(b, std::max(m, n), cols(b));
    TensorRef rank = empty(batch_of(in), DType::Int64, in.device), s = vectors(in, k, real_of(in.dtype));
    if (!in.is_meta()) {
        fill(*x, Scalar(int64_t(0)));
        fill(*rank, Scalar(int64_t(0)));
        fill(*s, Scalar(int64_t(0)));
        TensorRef top = make_view(*x, b.sizes, x->strides, x->offset);
        copy_into(*top, b);
    }
    if (x->numel)
        run(*a, [&] {
            lapack_lstsq(a->dtype, matrices(*a), matrices(*x), kind, rcond,
                         kind == LeastSquares::Gels ? nullptr : pointer<int64_t>(rank), kernel_pointer(*s),
                         pointer<int32_t>(info));
        });
    return deliver_all(call, {x, rank, s, info});
}

FLB_OPS({"linalg_cholesky_ex", cholesky}, {"linalg_lu_factor_ex", lu_factor}, {"_linalg_lu_solve", lu_solve},
        {"_linalg_solve", solve}, {"linalg_ldl_factor_ex", ldl_factor}, {"_linalg_ldl_solve", ldl_solve},
        {"_linalg_solve_triangular", solve_triangular}, {"geqrf", geqrf}, {"linalg_qr", qr},
        {"_linalg_householder_product", householder}, {"_ormqr", ormqr}, {"_linalg_eigh", eigh},
        {"_linalg_eig", eig}, {"_linalg_svd", svd}, {"_linalg_lstsq", lstsq});

}  // namespace
}  // namespace flb
