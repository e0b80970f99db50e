// Matrix products: shapes, dtypes, layouts and errors; the arithmetic is in kernels/blas.cpp.
#include <cstring>
#include <vector>

#include "bindings/find_blas.h"
#include "bindings/op.h"
#include "bindings/signature.h"
#include "core/interpreter.h"
#include "kernels/blas.h"
#include "kernels/openblas.h"
#include "kernels/small_linear.h"

namespace flb {

FLB_DEFINE_KERNEL(small_linear_float);
FLB_DEFINE_KERNEL(small_linear_double);

// The library's place is asked for once, when the first product needs it.
void find_blas() {
    static bool asked = false;
    if (asked) return;
    asked = true;
    PyObject* module = checked_object(PyImport_ImportModule("flambeau._ops._openblas"));
    PyObject* path = PyObject_CallMethod(module, "library_path", nullptr);
    Py_DECREF(module);
    checked_object(path);
    if (PyUnicode_Check(path)) set_blas_library(PyUnicode_AsUTF8(path));
    Py_DECREF(path);
}

namespace {

constexpr double kUnlockWork = 1 << 20;

BlasScalar blas_scalar(const Scalar& s, DType type) {
    return is_integral(type, true) ? BlasScalar(s.to_int()) : BlasScalar(s.to_complex());
}

bool is_zero(const BlasScalar& s, DType type) {
    return is_integral(type, true) ? s.integer == 0 : s.value.re == 0 && s.value.im == 0;
}

// The last two dimensions as a matrix that the kernels can read: its rows or its columns must be dense. What is not
// is copied, and `holder` keeps the copy.
struct Operand {
    TensorRef holder;
    int64_t ld = 1;
    bool transposed = false;

    explicit Operand(Tensor& t) : holder(TensorRef::borrow(&t)) {
        if (try_layout(t)) return;
        holder = clone(t, MemoryFormat::Contiguous);
        try_layout(*holder);
    }
    MatrixIn matrix() const { return {kernel_pointer(*holder), ld, transposed ? Trans::Yes : Trans::No}; }

  private:
    bool try_layout(const Tensor& t) {
        const int n = t.ndim();
        const int64_t rows = t.sizes[n - 2], cols = t.sizes[n - 1], rs = t.strides[n - 2],
                      cs = t.strides[n - 1];
        if ((cs == 1 || cols <= 1) && (rows <= 1 || rs >= cols)) {
            ld = rows <= 1 ? std::max<int64_t>(cols, 1) : std::max<int64_t>(rs, 1);
            transposed = false;
            return true;
        }
        if ((rs == 1 || rows <= 1) && (cols <= 1 || cs >= rows)) {
            ld = cols <= 1 ? std::max<int64_t>(rows, 1) : std::max<int64_t>(cs, 1);
            transposed = true;
            return true;
        }
        return false;
    }
};

// out = alpha * a @ b + beta * out, all two-dimensional and of one dtype; out is row-major.
void product(Tensor& a, Tensor& b, const BlasScalar& alpha, const BlasScalar& beta, Tensor& out) {
    if (out.is_meta() || out.numel == 0) return;
    const Operand x(a), y(b);
    const int64_t m = a.sizes[0], k = a.sizes[1], n = b.sizes[1];
    find_blas();
    MatrixIn mx{nullptr, 1}, my{nullptr, 1};
    if (k) mx = x.matrix(), my = y.matrix();
    void* to = kernel_pointer(out);
    Unlocked unlocked(double(m) * double(n) * double(k) > kUnlockWork);
    gemm(a.dtype, m, n, k, alpha, mx, my, beta, to, n);
}

// The offsets of every matrix of a batch, in elements.
std::vector<int64_t> batch_offsets(const Dims& batch, const Dims& strides) {
    std::vector<int64_t> offsets{0};
    for (int d = 0; d < batch.size(); ++d) {
        std::vector<int64_t> next;
        next.reserve(offsets.size() * size_t(batch[d]));
        for (int64_t base : offsets)
            for (int64_t i = 0; i < batch[d]; ++i) next.push_back(base + i * strides[d]);
        offsets.swap(next);
    }
    return offsets;
}

// out[batch, m, n] = alpha * a @ b + beta * out; a and b have the same batch dimensions (perhaps expanded).
void batched_product(Tensor& a, Tensor& b, const BlasScalar& alpha, const BlasScalar& beta, Tensor& out) {
    if (out.is_meta() || out.numel == 0) return;
    const Operand x(a), y(b);
    const int n_batch = a.ndim() - 2;
    const Dims batch(a.sizes.data(), n_batch);
    const int64_t m = a.sizes[n_batch], k = a.sizes[n_batch + 1], n = b.sizes[n_batch + 1];
    const std::vector<int64_t> xo = batch_offsets(batch, x.holder->strides),
                               yo = batch_offsets(batch, y.holder->strides);
    find_blas();
    MatrixIn mx{nullptr, 1}, my{nullptr, 1};
    if (k) mx = x.matrix(), my = y.matrix();
    void* to = kernel_pointer(out);
    Unlocked unlocked(double(out.numel) * double(k) > kUnlockWork);
    gemm_batched(a.dtype, int64_t(xo.size()), m, n, k, alpha, mx, xo.data(), my, yo.data(), beta, to, n,
                 m * n);
}

TensorRef reshaped(Tensor& t, const Dims& sizes) {
    Dims strides;
    if (view_strides(t, sizes, &strides)) return make_view(t, sizes, strides, t.offset);
    TensorRef dense = clone(t, MemoryFormat::Contiguous);
    view_strides(*dense, sizes, &strides);
    return make_view(*dense, sizes, strides, dense->offset);
}

// Only the window changes: for results that were just made.
TensorRef with_sizes(TensorRef t, const Dims& sizes) {
    Dims strides;
    view_strides(*t, sizes, &strides);
    set_window(*t, sizes, strides, t->offset);
    return t;
}

const char* lower_name(DType t) {
    switch (t) {
        case DType::Float32: return "float";
        case DType::Float64: return "double";
        case DType::Float16: return "c10::Half";
        case DType::BFloat16: return "c10::BFloat16";
        case DType::Int64: return "long";
        case DType::Int32: return "int";
        case DType::Int16: return "short";
        case DType::Int8: return "signed char";
        case DType::UInt8: return "unsigned char";
        case DType::Bool: return "bool";
        case DType::Complex64: return "c10::complex<float>";
        case DType::Complex128: return "c10::complex<double>";
        default: return name_of(t);
    }
}

void check_same_dtype(const Call& call, const Tensor& a, const Tensor& b) {
    if (a.dtype != b.dtype)
        call.fail(ErrorKind::Runtime,
                  "expected m1 and m2 to have the same dtype, but got: ", lower_name(a.dtype),
                  " != ", lower_name(b.dtype), "; convert one with .to(dtype)");
    check_as(ErrorKind::NotImplemented, a.dtype != DType::Bool,
             "\"addmm_impl_cpu_\" not implemented for 'Bool'");
}

void check_matrix(const Call& call, const Tensor& t, const char* what) {
    call.check(t.ndim() == 2, what, " must be a matrix, got ", t.ndim(), "-D tensor");
}

void check_mm(const Call& call, const Tensor& a, const Tensor& b) {
    if (a.sizes[1] != b.sizes[0])
        call.fail(ErrorKind::Runtime, "mat1 and mat2 shapes cannot be multiplied (", a.sizes[0], "x",
                  a.sizes[1], " and ", b.sizes[0], "x", b.sizes[1], ")");
    check_same_dtype(call, a, b);
}

void check_mv(const Call& call, const Tensor& a, const Tensor& v) {
    call.check(a.ndim() == 2 && v.ndim() == 1, "vector + matrix @ vector expected, got 1, ", a.ndim(), ", ",
               v.ndim());
    if (a.sizes[1] != v.sizes[0])
        call.fail(ErrorKind::Runtime, "size mismatch, got input (", a.sizes[0], "), mat (", a.sizes[0], "x",
                  a.sizes[1], "), vec (", v.sizes[0], ")");
    check_same_dtype(call, a, v);
}

void check_bmm(const Call& call, const Tensor& a, const Tensor& b) {
    call.check(a.ndim() == 3, "batch1 must be a 3D tensor, got ", a.ndim(), "-D");
    call.check(b.ndim() == 3, "batch2 must be a 3D tensor, got ", b.ndim(), "-D");
    if (b.sizes[0] != a.sizes[0] || b.sizes[1] != a.sizes[2])
        call.fail(ErrorKind::Runtime, "Expected size for first two dimensions of batch2 tensor to be: [",
                  a.sizes[0], ", ", a.sizes[2], "] but got: [", b.sizes[0], ", ", b.sizes[1], "].");
    if (a.dtype != b.dtype)
        call.fail(ErrorKind::Runtime, "expected scalar type ", info(a.dtype).class_name, " but found ",
                  info(b.dtype).class_name);
    check_same_dtype(call, a, b);
}

void check_out_dtype(Call& call, DType dtype) {
    if (const Tensor* out = call.op->inplace ? nullptr : call.out())
        call.check(out->dtype == dtype, "Expected out tensor to have dtype ", lower_name(dtype), ", but got ",
                   lower_name(out->dtype), " instead");
}

// float8: PyTorch multiplies matrices of it, and only these, in float32, and rounds each result once. The operator runs
// again on its first `count` arguments in float32. `supported`: the operands are matrices, or rows of one.
PyObject* in_float(Call& call, int count, Impl impl, bool supported) {
    const DType dtype = call.tensor(count > 2 ? 1 : 0).dtype;
    PyObject* args[kMaxParams];
    std::memcpy(args, call.args, sizeof(PyObject*) * size_t(call.count()));
    TensorRef wide[3];
    for (int i = 0; i < count; ++i) {
        if (call.none(i)) continue;
        Tensor& t = call.tensor(i);
        if (i == 0 && count > 2)
            call.check(t.dtype == dtype, "self and mat2 must have the same dtype, but got ",
                       info(t.dtype).class_name, " and ", info(dtype).class_name);
        else check_same_dtype(call, t, call.tensor(count > 2 ? 1 : 0));
        if (is_float8(dtype)) wide[i] = cast(t, DType::Float32);
        if (wide[i]) args[i] = wide[i]->object();
    }
    check_out_dtype(call, dtype);
    check_as(ErrorKind::NotImplemented, supported && is_float8(dtype) && dtype != DType::Float8_e8m0fnu,
             "\"addmm_impl_cpu_\" not implemented for '", info(dtype).class_name, "'");
    if (call.op->out_param >= 0) args[call.op->out_param] = nullptr;
    Call inner{call.op, args};
    TensorRef result = TensorRef::steal(impl(inner));
    return deliver(call, cast(*result, dtype));
}

// ---- products alone -------------------------------------------------------------------------------------------------

PyObject* mm(Call& call) {
    Tensor &a = call.tensor(0), &b = call.tensor(1);
    check_matrix(call, a, "self");
    check_matrix(call, b, "mat2");
    check_mm(call, a, b);
    if (is_stored_only(a.dtype)) return in_float(call, 2, mm, true);
    check_out_dtype(call, a.dtype);
    TensorRef out = empty({a.sizes[0], b.sizes[1]}, a.dtype, a.device);
    product(a, b, 1, 0, *out);
    return deliver(call, out);
}

PyObject* bmm(Call& call) {
    Tensor &a = call.tensor(0), &b = call.tensor(1);
    check_bmm(call, a, b);
    check_out_dtype(call, a.dtype);
    TensorRef out = empty({a.sizes[0], a.sizes[1], b.sizes[2]}, a.dtype, a.device);
    batched_product(a, b, 1, 0, *out);
    return deliver(call, out);
}

TensorRef matrix_vector(Tensor& a, Tensor& v) {
    TensorRef out = empty({a.sizes[0], 1}, a.dtype, a.device);
    TensorRef column = make_view(v, {v.sizes[0], 1}, {v.strides[0], 1}, v.offset);
    product(a, *column, 1, 0, *out);
    return with_sizes(out, {a.sizes[0]});
}

PyObject* mv(Call& call) {
    Tensor &a = call.tensor(0), &v = call.tensor(1);
    check_mv(call, a, v);
    return deliver(call, matrix_vector(a, v));
}

TensorRef inner_product(const Call& call, Tensor& a, Tensor& b, bool conjugate) {
    call.check(a.ndim() == 1 && b.ndim() == 1, "1D tensors expected, but got ", a.ndim(), "D and ", b.ndim(),
               "D tensors");
    if (a.dtype != b.dtype)
        call.fail(ErrorKind::Runtime, "dot : expected both vectors to have same dtype, but found ",
                  info(a.dtype).class_name, " and ", info(b.dtype).class_name);
    if (a.sizes[0] != b.sizes[0])
        call.fail(ErrorKind::Runtime, "inconsistent tensor size, expected tensor [", a.sizes[0],
                  "] and src [", b.sizes[0], "] to have the same number of elements, but got ", a.sizes[0],
                  " and ", b.sizes[0], " elements respectively");
    TensorRef out = empty({}, a.dtype, a.device);
    if (!out->is_meta()) {
        const char *x = a.numel ? kernel_pointer(a) : nullptr, *y = b.numel ? kernel_pointer(b) : nullptr;
        char* to = kernel_pointer(*out);
        Unlocked unlocked(double(a.numel) > kUnlockWork);
        flb::dot(a.dtype, a.numel, x, a.strides[0], y, b.strides[0], conjugate, to);
    }
    return out;
}

template <bool conjugate>
PyObject* dot(Call& call) {
    return deliver(call, inner_product(call, call.tensor(0), call.tensor(1), conjugate));
}

TensorRef matmul_of(const Call& call, Tensor& a, Tensor& b) {
    const int na = a.ndim(), nb = b.ndim();
    call.check(na && nb, "both arguments to matmul need to be at least 1D, but they are ", na, "D and ", nb,
               "D");
    if (na == 1 && nb == 1) return inner_product(call, a, b, false);
    if (na == 2 && nb == 1) {
        check_mv(call, a, b);
        return matrix_vector(a, b);
    }
    if (na == 2 && nb == 2) {
        check_mm(call, a, b);
        TensorRef out = empty({a.sizes[0], b.sizes[1]}, a.dtype, a.device);
        product(a, b, 1, 0, *out);
        return out;
    }
    // A vector stands for a row on the left and a column on the right.
    TensorRef left =
        na == 1 ? make_view(a, {1, a.sizes[0]}, {a.sizes[0], a.strides[0]}, a.offset) : TensorRef::borrow(&a);
    TensorRef right =
        nb == 1 ? make_view(b, {b.sizes[0], 1}, {b.strides[0], 1}, b.offset) : TensorRef::borrow(&b);
    const int la = left->ndim(), lb = right->ndim();
    const int64_t m = left->sizes[la - 2], k = left->sizes[la - 1], n = right->sizes[lb - 1];
    TensorRef out;
    Dims sizes;
    if (lb == 2) {
        // One matrix on the right: the batch on the left is nothing but more rows.
        int64_t rows = 1;
        for (int d = 0; d + 1 < la; ++d) rows *= left->sizes[d];
        if (k != right->sizes[0]) {
            if (nb == 1)
                call.fail(ErrorKind::Runtime, "size mismatch, got input (", rows, "), mat (", rows, "x", k,
                          "), vec (", right->sizes[0], ")");
            call.fail(ErrorKind::Runtime, "mat1 and mat2 shapes cannot be multiplied (", rows, "x", k,
                      " and ", right->sizes[0], "x", n, ")");
        }
        check_same_dtype(call, a, b);
        for (int d = 0; d + 1 < la; ++d) sizes.push_back(left->sizes[d]);
        sizes.push_back(n);
        out = empty({rows, n}, a.dtype, a.device);
        if (out->numel && !out->is_meta()) product(*reshaped(*left, {rows, k}), *right, 1, 0, *out);
    } else {
        const int batch_dims = std::max(la, lb) - 2;
        Dims batch(batch_dims);
        for (int d = 0; d < batch_dims; ++d) {
            const int da = d - (batch_dims - (la - 2)), db = d - (batch_dims - (lb - 2));
            const int64_t sa = da < 0 ? 1 : left->sizes[da], sb = db < 0 ? 1 : right->sizes[db];
            if (sa != sb && sa != 1 && sb != 1)
                call.fail(ErrorKind::Runtime, "The size of tensor a (", sa,
                          ") must match the size of tensor b (", sb, ") at non-singleton dimension ", d);
            batch[d] = sa == 1 ? sb : sa;
        }
        Dims sizes_a, sizes_b;
        for (int64_t s : batch) {
            sizes_a.push_back(s);
            sizes_b.push_back(s);
        }
        sizes_a.push_back(m);
        sizes_a.push_back(k);
        sizes_b.push_back(right->sizes[lb - 2]);
        sizes_b.push_back(n);
        if (k != right->sizes[lb - 2]) {
            int64_t count = 1;
            for (int64_t s : batch) count *= s;
            call.fail(ErrorKind::Runtime, "Expected size for first two dimensions of batch2 tensor to be: [",
                      count, ", ", k, "] but got: [", count, ", ", right->sizes[lb - 2], "].");
        }
        check_same_dtype(call, a, b);
        sizes = batch;
        sizes.push_back(m);
        sizes.push_back(n);
        out = empty(sizes, a.dtype, a.device);
        if (out->numel && !out->is_meta())
            batched_product(*expand_view(*left, sizes_a), *expand_view(*right, sizes_b), 1, 0, *out);
    }
    if (na == 1 || nb == 1) {
        Dims squeezed;
        for (int d = 0; d < sizes.size(); ++d)
            if (!(na == 1 && d == sizes.size() - 2) && !(nb == 1 && d == sizes.size() - 1))
                squeezed.push_back(sizes[d]);
        sizes = squeezed;
    }
    return with_sizes(out, sizes);
}

PyObject* matmul(Call& call) {
    Tensor &a = call.tensor(0), &b = call.tensor(1);
    if (is_stored_only(a.dtype) || is_stored_only(b.dtype))
        return in_float(call, 2, matmul, a.ndim() > 0 && b.ndim() == 2);
    TensorRef out = matmul_of(call, a, b);
    return deliver(call, out);
}

// input @ weight.T + bias. A one-dimensional weight gives one feature, whose dimension disappears.
// The case of small models, straight to its kernel: dense tensors of one floating dtype. Null when it is another.
TensorRef small_linear(Tensor& input, Tensor& weight, Tensor* bias) {
    const DType dtype = input.dtype;
    if ((dtype != DType::Float32 && dtype != DType::Float64) || weight.dtype != dtype || input.ndim() < 1 ||
        weight.ndim() != 2)
        return {};
    const int64_t in = weight.sizes[1], features = weight.sizes[0];
    if (!input.contiguous || !weight.contiguous || input.sizes.back() != in || input.numel == 0 ||
        features == 0 || double(input.numel) * double(features) > kSmallLinear || input.is_meta() ||
        weight.is_meta())
        return {};
    if (bias && (bias->dtype != dtype || !bias->contiguous || bias->ndim() != 1 ||
                 bias->sizes[0] != features || bias->is_meta()))
        return {};
    Dims sizes = input.sizes;
    sizes[sizes.size() - 1] = features;
    TensorRef out = empty(sizes, dtype);
    const auto run = [&](auto kernel, auto zero) {
        using T = decltype(zero);
        kernel(input.numel / in, in, features, reinterpret_cast<const T*>(kernel_pointer(input)),
               reinterpret_cast<const T*>(kernel_pointer(weight)),
               bias ? reinterpret_cast<const T*>(kernel_pointer(*bias)) : nullptr,
               reinterpret_cast<T*>(kernel_pointer(*out)));
    };
    if (dtype == DType::Float32) run(small_linear_float.get(), 0.0f);
    else run(small_linear_double.get(), 0.0);
    return out;
}

PyObject* linear(Call& call);
// linear(input, weight, bias) names its operands in another order than addmm does.
PyObject* linear_in_float(Call& call) {
    Tensor &input = call.tensor(0), &weight = call.tensor(1);
    check_same_dtype(call, input, weight);
    if (!call.none(2))
        call.check(call.tensor(2).dtype == input.dtype, "self and mat2 must have the same dtype, but got ",
                   info(call.tensor(2).dtype).class_name, " and ", info(input.dtype).class_name);
    return in_float(call, call.none(2) ? 2 : 3, linear, weight.ndim() == 2);
}

PyObject* linear(Call& call) {
    Tensor &input = call.tensor(0), &weight = call.tensor(1);
    Tensor* bias = call.tensor_or_null(2);
    if (is_stored_only(input.dtype) || is_stored_only(weight.dtype)) return linear_in_float(call);
    if (TensorRef done = small_linear(input, weight, bias)) return deliver(call, std::move(done));
    call.check(weight.ndim() == 1 || weight.ndim() == 2, "expected weight to be a matrix or a vector, got ",
               weight.ndim(), "-D");
    call.check(input.ndim() >= 1, "both arguments to linear need to be at least 1D, but the input is 0D");
    const bool vector = weight.ndim() == 1;
    const int last = input.ndim() - 1;
    const int64_t in = weight.sizes[vector ? 0 : 1], features = vector ? 1 : weight.sizes[0];
    int64_t rows = 1;
    for (int d = 0; d < last; ++d) rows *= input.sizes[d];
    if (input.sizes[last] != in)
        call.fail(ErrorKind::Runtime, "mat1 and mat2 shapes cannot be multiplied (", rows, "x",
                  input.sizes[last], " and ", in, "x", features, ")");
    check_same_dtype(call, input, weight);
    TensorRef out = empty({rows, features}, input.dtype, input.device);
    if (bias) {
        if (bias->dtype != input.dtype)
            call.fail(ErrorKind::Runtime, "self and mat2 must have the same dtype, but got ",
                      info(bias->dtype).class_name, " and ", info(input.dtype).class_name);
        TensorRef wide = expand_view(*bias, out->sizes);
        if (!out->is_meta()) copy_into(*out, *wide);
    }
    if (out->numel && !out->is_meta()) {
        TensorRef matrix = last == 1 ? TensorRef::borrow(&input) : reshaped(input, {rows, in});
        const int64_t step = weight.strides[vector ? 0 : 1], row_step = vector ? in : weight.strides[0];
        TensorRef turned = make_view(weight, {in, features}, {step, row_step}, weight.offset);
        product(*matrix, *turned, 1, bias ? 1 : 0, *out);
    }
    Dims sizes(input.sizes.data(), last);
    if (!vector) sizes.push_back(features);
    return deliver(call, with_sizes(out, sizes));
}

// ---- products added to something ----------------------------------------------------------------------------------

// A fresh result of `sizes` that holds `input`, broadcast, unless beta is zero.
TensorRef start_sum(const Call& call, Tensor& input, const Dims& sizes, const Tensor& mat, bool beta_zero) {
    if (input.dtype != mat.dtype)
        call.fail(ErrorKind::Runtime, "self and mat2 must have the same dtype, but got ",
                  info(input.dtype).class_name, " and ", info(mat.dtype).class_name);
    TensorRef out = empty(sizes, mat.dtype, mat.device);
    TensorRef wide = expand_view(input, sizes);
    if (!beta_zero && !out->is_meta()) copy_into(*out, *wide);
    return out;
}

// (input, a, b, *, beta, alpha)
struct Factors {
    BlasScalar beta, alpha;
    bool beta_zero;
    explicit Factors(const Call& call, DType type)
        : beta(blas_scalar(call.scalar(3), type)),
          alpha(blas_scalar(call.scalar(4), type)),
          beta_zero(is_zero(beta, type)) {}
};

PyObject* addmm(Call& call) {
    Tensor &input = call.tensor(0), &a = call.tensor(1), &b = call.tensor(2);
    check_matrix(call, a, "mat1");
    check_matrix(call, b, "mat2");
    check_mm(call, a, b);
    if (is_stored_only(a.dtype)) return in_float(call, 3, addmm, true);
    const Factors f(call, a.dtype);
    TensorRef out = start_sum(call, input, {a.sizes[0], b.sizes[1]}, a, f.beta_zero);
    product(a, b, f.alpha, f.beta, *out);
    return deliver(call, out);
}

PyObject* addmv(Call& call) {
    Tensor &input = call.tensor(0), &a = call.tensor(1), &v = call.tensor(2);
    check_mv(call, a, v);
    const Factors f(call, a.dtype);
    const int64_t rows = a.sizes[0];
    if (input.ndim() > 1 || (input.ndim() == 1 && input.sizes[0] != rows && input.sizes[0] != 1))
        call.fail(ErrorKind::Runtime, "size mismatch, got input (", input.numel, "), mat (", rows, "x",
                  a.sizes[1], "), vec (", v.sizes[0], ")");
    TensorRef out = start_sum(call, input, {rows}, a, f.beta_zero);
    TensorRef column = make_view(v, {v.sizes[0], 1}, {v.strides[0], 1}, v.offset);
    out = with_sizes(out, {rows, 1});
    product(a, *column, f.alpha, f.beta, *out);
    return deliver(call, with_sizes(out, {rows}));
}

PyObject* baddbmm(Call& call) {
    Tensor &input = call.tensor(0), &a = call.tensor(1), &b = call.tensor(2);
    check_bmm(call, a, b);
    const Factors f(call, a.dtype);
    TensorRef out = start_sum(call, input, {a.sizes[0], a.sizes[1], b.sizes[2]}, a, f.beta_zero);
    batched_product(a, b, f.alpha, f.beta, *out);
    return deliver(call, out);
}

// The sum over the batch is one product with the batch inside the inner dimension.
PyObject* addbmm(Call& call) {
    Tensor &input = call.tensor(0), &a = call.tensor(1), &b = call.tensor(2);
    check_bmm(call, a, b);
    const Factors f(call, a.dtype);
    const int64_t batch = a.sizes[0], m = a.sizes[1], k = a.sizes[2], n = b.sizes[2];
    TensorRef out = start_sum(call, input, {m, n}, a, f.beta_zero);
    TensorRef rows = make_view(a, {m, batch, k}, {a.strides[1], a.strides[0], a.strides[2]}, a.offset);
    product(*reshaped(*rows, {m, batch * k}), *reshaped(b, {batch * k, n}), f.alpha, f.beta, *out);
    return deliver(call, out);
}

}  // namespace

FLB_OPS({"mm", mm}, {"bmm", bmm}, {"mv", mv}, {"dot", dot<false>}, {"vdot", dot<true>}, {"matmul", matmul},
        {"linear", linear}, {"addmm", addmm}, {"addmv", addmv}, {"baddbmm", baddbmm}, {"addbmm", addbmm});

}  // namespace flb
