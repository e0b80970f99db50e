// Discrete Fourier transforms: shapes, dtypes and the order of dimensions; the arithmetic is in kernels/fft.cpp.
#include <cmath>

#include "bindings/op.h"
#include "core/interpreter.h"
#include "kernels/fft_kernels.h"

namespace flb {
namespace {

enum Normalization : int64_t { kNone = 0, kByRoot = 1, kByCount = 2 };

double scale_for(Call& call, int64_t normalization, double points) {
    call.check(normalization >= kNone && normalization <= kByCount,
               "Invalid normalization mode: ", normalization);
    return normalization == kNone ? 1 : normalization == kByRoot ? 1 / std::sqrt(points) : 1 / points;
}

Dims wrapped(Call& call, const Dims& dims, int ndim) {
    Dims out;
    for (int i = 0; i < dims.size(); ++i) {
        const int d = wrap_dim(dims[i], ndim);
        for (int j = 0; j < out.size(); ++j) check(out[j] != d, "FFT dims must be unique");
        out.push_back(d);
    }
    return out;
}

void check_dtype(Call& call, const Tensor& t, bool complex) {
    const bool known = complex ? t.dtype == DType::Complex64 || t.dtype == DType::Complex128
                               : t.dtype == DType::Float32 || t.dtype == DType::Float64;
    check(known, "Unsupported dtype ", info(t.dtype).class_name, " for ", call.name());
}

bool is_double(const Tensor& t) { return t.dtype == DType::Float64 || t.dtype == DType::Complex128; }
DType complex_of(DType type) { return type == DType::Float64 ? DType::Complex128 : DType::Complex64; }
DType real_of(DType type) { return type == DType::Complex128 ? DType::Float64 : DType::Float32; }

struct Direction {
    bool forward, real_in = false, real_out = false;
};

// Single precision is computed in double where that takes no more time than the call does.
constexpr int64_t kSmall = 1024;
DType working_type(const Tensor& in, int64_t points) {
    return points > kSmall                ? in.dtype
           : in.dtype == DType::Float32   ? DType::Float64
           : in.dtype == DType::Complex64 ? DType::Complex128
                                          : in.dtype;
}

// Transforms one dimension of contiguous `in`, n points, into contiguous `out`, which may be `in`.
void transform(const Tensor& in, const Tensor& out, int dim, int64_t n, Direction direction, double scale) {
    if (out.numel == 0) return;
    int64_t rows = 1, cols = 1;
    for (int d = 0; d < dim; ++d) rows *= in.sizes[d];
    for (int d = dim + 1; d < in.ndim(); ++d) cols *= in.sizes[d];
    const int64_t in_points = in.sizes[dim], out_points = out.sizes[dim];
    const FftLines lines{kernel_pointer(in),
                         kernel_pointer(out),
                         n,
                         rows,
                         in_points * cols,
                         out_points * cols,
                         cols,
                         1,
                         1,
                         cols,
                         cols,
                         in_points,
                         out_points,
                         direction.real_in,
                         direction.real_out,
                         direction.real_out,
                         direction.forward,
                         scale};
    Unlocked unlocked(out.numel > 4096);
    fft_lines(is_double(in), lines);
}

double points_of(const Tensor& t, const Dims& dims) {
    double points = 1;
    for (int i = 0; i < dims.size(); ++i) points *= double(t.sizes[dims[i]]);
    return points;
}

// All of `dims` in place.
void transform_all(const Tensor& t, const Dims& dims, bool forward, double scale) {
    for (int i = dims.size() - 1; i >= 0; --i)
        transform(t, t, int(dims[i]), t.sizes[dims[i]], {forward}, i == 0 ? scale : 1);
}

// (input, int[] dim, int normalization, bool forward)
PyObject* c2c(Call& call) {
    Tensor& in = call.tensor(0);
    check_dtype(call, in, true);
    const Dims dims = wrapped(call, call.ints(1), in.ndim());
    const double scale = scale_for(call, call.integer(2), points_of(in, dims));
    if (in.is_meta()) return deliver(call, empty(in.sizes, in.dtype, in.device));
    TensorRef out = private_copy(in, working_type(in, in.numel));
    transform_all(*out, dims, call.boolean(3), scale);
    return deliver(call, cast(*out, in.dtype));
}

// (input, int[] dim, int normalization, bool onesided)
PyObject* r2c(Call& call) {
    Tensor& in = call.tensor(0);
    check_dtype(call, in, false);
    Dims dims = wrapped(call, call.ints(1), in.ndim());
    call.check(!dims.empty(), "must transform at least one axis");
    const int last = int(dims[dims.size() - 1]);
    const int64_t n = in.sizes[last];
    check(n >= 1, "Invalid number of data points (", n, ") specified");
    const double scale = scale_for(call, call.integer(2), points_of(in, dims));
    Dims sizes = in.sizes;
    if (call.boolean(3)) sizes[last] = n / 2 + 1;
    const DType type = complex_of(in.dtype);
    if (in.is_meta()) return deliver(call, empty(sizes, type, in.device));
    dims.erase(dims.size() - 1);
    TensorRef from = contiguous(*cast(in, working_type(in, in.numel)));
    TensorRef out = empty(sizes, complex_of(from->dtype), in.device);
    transform(*from, *out, last, n, {true, true, false}, dims.empty() ? scale : 1);
    transform_all(*out, dims, true, scale);
    return deliver(call, cast(*out, type));
}

// (input, int[] dim, int normalization, int last_dim_size)
PyObject* c2r(Call& call) {
    Tensor& in = call.tensor(0);
    check_dtype(call, in, true);
    Dims dims = wrapped(call, call.ints(1), in.ndim());
    call.check(!dims.empty(), "must transform at least one axis");
    const int last = int(dims[dims.size() - 1]);
    const int64_t n = call.integer(3);
    check(n >= 1, "Invalid number of data points (", n, ") specified");
    check(n < (int64_t(1) << 48), "the number of data points, ", n, ", is more than any memory holds");
    call.check(in.sizes[last] >= 1, "the input has no points in dimension ", last, ", shape ", str(in.sizes));
    dims.erase(dims.size() - 1);
    const double scale = scale_for(call, call.integer(2), points_of(in, dims) * double(n));
    Dims sizes = in.sizes;
    sizes[last] = n;
    const DType type = real_of(in.dtype);
    if (in.is_meta()) return deliver(call, empty(sizes, type, in.device));
    const DType working = working_type(in, in.numel > n ? in.numel : n);
    TensorRef from = dims.empty() ? contiguous(*cast(in, working)) : private_copy(in, working);
    TensorRef out = empty(sizes, real_of(from->dtype), in.device);
    transform_all(*from, dims, false, 1);
    transform(*from, *out, last, n, {false, false, true}, scale);
    return deliver(call, cast(*out, type));
}

FLB_OPS({"_fft_c2c", c2c}, {"_fft_r2c", r2c}, {"_fft_c2r", c2r});

}  // namespace
}  // namespace flb
