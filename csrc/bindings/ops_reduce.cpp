// Reductions and scans: dimensions, dtypes and errors; the loops are in kernels/reduce.cpp and kernels/isa.
#include <cmath>
#include <limits>

#include "bindings/op.h"
#include "bindings/types.h"
#include "kernels/reduce_kernels.h"
#include "kernels/scan_kernels.h"

namespace flb {
namespace {

// The dimensions that a call reduces, as a mask.
struct Reduced {
    uint64_t mask;
    bool keepdim;
    bool all;  // no dimension was named
};

uint64_t all_dims(const Tensor& t) { return t.ndim() == 64 ? ~uint64_t(0) : (uint64_t(1) << t.ndim()) - 1; }

enum class EmptyList { All, None };  // what dim=() means to an operator

Reduced reduced_dims(const Call& call, const Tensor& t, int dim_param, int keepdim_param,
                     EmptyList empty = EmptyList::All) {
    Reduced r{0, keepdim_param >= 0 && call.boolean(keepdim_param), false};
    if (dim_param < 0 || call.none(dim_param)) return {all_dims(t), r.keepdim, true};
    const Dims dims = call.ints(dim_param);
    if (dims.empty() && empty == EmptyList::All) return {all_dims(t), r.keepdim, true};
    for (int64_t given : dims) {
        const int dim = wrap_dim(given, t.ndim());
        check(!(r.mask >> dim & 1), "dim ", dim, " appears multiple times in the list of dims");
        r.mask |= uint64_t(1) << dim;
    }
    r.mask &= all_dims(t);  // a zero-dimensional tensor has nothing to reduce
    return r;
}

Dims result_sizes(const Tensor& t, const Reduced& r) {
    Dims sizes;
    for (int i = 0; i < t.ndim(); ++i) {
        if (!(r.mask >> i & 1)) {
            sizes.push_back(t.sizes[i]);
        } else if (r.keepdim) {
            sizes.push_back(1);
        }
    }
    return sizes;
}

int64_t reduced_count(const Tensor& t, uint64_t mask) {
    int64_t n = 1;
    for (int i = 0; i < t.ndim(); ++i)
        if (mask >> i & 1) n *= t.sizes[i];
    return n;
}

// Fills `out` (and `out2`), fresh tensors of the result's sizes; either may be null.
void run(ReduceOp op, Tensor& in, Tensor* out, Tensor* out2, const Reduced& r,
         const ReduceParams& params = {}) {
    if (in.is_meta()) return;
    const int n = in.ndim();
    int64_t in_strides[kReduceMaxDims], out_strides[kReduceMaxDims], out2_strides[kReduceMaxDims];
    check(n <= kReduceMaxDims, "reductions take at most ", kReduceMaxDims, " dimensions, got ", n);
    for (int i = 0, k = 0; i < n; ++i) {
        const bool reduced = r.mask >> i & 1;
        in_strides[i] = in.sizes[i] > 1 && in.numel ? in.strides[i] * itemsize(in.dtype) : 0;
        out_strides[i] = !reduced && out ? out->strides[k] * itemsize(out->dtype) : 0;
        out2_strides[i] = !reduced && out2 ? out2->strides[k] * itemsize(out2->dtype) : 0;
        k += !reduced || r.keepdim;
    }
    const bool ordered = op == ReduceOp::ArgMin || op == ReduceOp::ArgMax;
    ReduceDesc desc =
        make_reduce_desc(n, in.sizes.data(), in_strides, out_strides, out2_strides, r.mask, ordered);
    desc.in = kernel_pointer(in);
    desc.out = out ? kernel_pointer(*out) : nullptr;
    desc.out2 = out2 ? kernel_pointer(*out2) : nullptr;
    reduce(op, in.dtype, out ? out->dtype : in.dtype, desc, params);
}

TensorRef reduced_tensor(ReduceOp op, Tensor& in, DType dtype, const Reduced& r,
                         const ReduceParams& params = {}) {
    TensorRef out = empty(result_sizes(in, r), dtype, in.device);
    run(op, in, out.get(), nullptr, r, params);
    return out;
}

[[noreturn]] void not_implemented(const char* kernel, DType dtype) {
    fail(ErrorKind::NotImplemented, '"', kernel, "\" not implemented for '", info(dtype).class_name, "'");
}

// Extrema have no neutral element: each reduced dimension must hold something.
void check_not_empty(const Call& call, const Tensor& t, const Reduced& r,
                     ErrorKind all_kind = ErrorKind::Runtime) {
    if (t.numel != 0) return;
    if (r.all)
        call.fail(all_kind,
                  "Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                  "with the 'dim' argument.");
    for (int i = 0; i < t.ndim(); ++i)
        if ((r.mask >> i & 1) && t.sizes[i] == 0)
            call.fail(ErrorKind::Index, "Expected reduction dim ", i, " to have non-zero size.");
}

DType sum_dtype(const Call& call, const Tensor& in, int dtype_param) {
    if (!call.none(dtype_param)) return call.dtype(dtype_param);
    if (Tensor* out = call.out()) return out->dtype;
    return is_integral(in.dtype, true) ? DType::Int64 : in.dtype;
}

// The input as the accumulation should see it: float16 and bfloat16 may be widened on the way, everything else is
// converted first.
TensorRef as_operand(Tensor& in, DType dtype) {
    const bool widened =
        (in.dtype == DType::Float16 || in.dtype == DType::BFloat16) && dtype == DType::Float32;
    if (in.dtype == dtype || widened || (dtype == DType::Int64 && is_integral(in.dtype, true)))
        return TensorRef::borrow(&in);
    return cast(in, dtype);
}

// ---- sums and products: (input, dim, keepdim, *, dtype, out) ------------------------------------------------------------

template <ReduceOp op>
PyObject* sum_like(Call& call) {
    Tensor& in = call.tensor(0);
    const Reduced r = reduced_dims(call, in, 1, 2);
    const DType dtype = sum_dtype(call, in, 3);
    check(op != ReduceOp::NanSum || !is_complex(in.dtype), "nansum does not support complex inputs");
    if (op == ReduceOp::NanSum && is_integral(dtype, true) && is_floating(in.dtype))
        not_implemented("nansum_cpu", dtype);
    if (is_stored_only(dtype)) {
        if (in.numel || !is_float8(dtype)) not_implemented("sum_cpu", dtype);
        TensorRef result = empty(result_sizes(in, r), dtype, in.device);
        fill(*result, Scalar(op == ReduceOp::Prod ? 1 : 0));
        return deliver(call, result);
    }
    TensorRef operand = as_operand(in, dtype);
    return deliver(call, reduced_tensor(op, *operand, dtype, r));
}

PyObject* mean(Call& call) {
    Tensor& in = call.tensor(0);
    const Reduced r = reduced_dims(call, in, 1, 2);
    DType dtype = call.dtype(3, in.dtype);
    if (is_integral(dtype, true))
        call.fail(ErrorKind::Runtime, "could not infer output dtype. ", call.none(3) ? "Input" : "Optional",
                  " dtype must be either a floating point or complex dtype. Got: ", info(dtype).class_name);
    if (Tensor* out = call.out();
        out && call.none(3) && out->dtype == DType::Float64 && dtype == DType::Float32)
        dtype = out->dtype;
    if (is_stored_only(dtype)) not_implemented("sum_cpu", dtype);
    TensorRef operand = as_operand(in, dtype);
    const ReduceParams params{ReduceFinish::Divide, double(reduced_count(in, r.mask)), 0};
    return deliver(call, reduced_tensor(ReduceOp::Sum, *operand, dtype, r, params));
}

// ---- truth: (input, dim, keepdim, *, out) -------------------------------------------------------------------------------

// float8 as bool, everything else as it is.
TensorRef truths(Tensor& in) {
    return is_stored_only(in.dtype) ? cast(in, DType::Bool) : TensorRef::borrow(&in);
}

template <ReduceOp op>
PyObject* truth(Call& call) {
    Tensor& in = call.tensor(0);
    const Reduced r = reduced_dims(call, in, 1, 2, EmptyList::None);
    const DType dtype = in.dtype == DType::UInt8 ? DType::UInt8 : DType::Bool;
    return deliver(call, reduced_tensor(op, *truths(in), dtype, r));
}

PyObject* count_nonzero(Call& call) {
    Tensor& in = call.tensor(0);
    if (is_stored_only(in.dtype) && call.none(1)) not_implemented("nonzero_count_cpu", in.dtype);
    return deliver(call, reduced_tensor(ReduceOp::CountNonzero, *truths(in), DType::Int64,
                                        reduced_dims(call, in, 1, -1)));
}

// ---- extrema ------------------------------------------------------------------------------------------------------------

// amax, amin: (input, dim, keepdim, *, out); max, min of everything: (input, *, out)
template <ReduceOp op, bool has_dim>
PyObject* extremum(Call& call) {
    Tensor& in = call.tensor(0);
    const Reduced r = has_dim ? reduced_dims(call, in, 1, 2) : Reduced{all_dims(in), false, true};
    if (is_complex(in.dtype)) {
        not_implemented(!has_dim ? (op == ReduceOp::Max ? "max_all" : "min_all")
                                 : (op == ReduceOp::Max ? "max_values_cpu" : "min_values_cpu"),
                        in.dtype);
    }
    check_not_empty(call, in, r);
    if (Tensor* out = call.out(); has_dim && out) {
        call.check(out->dtype == in.dtype, "Expected the dtype for input and out to match, but got ",
                   info(in.dtype).class_name, " for input's dtype and ", info(out->dtype).class_name,
                   " for out's dtype.");
    }
    return deliver(call, reduced_tensor(op, in, in.dtype, r));
}

// max, min along a dimension: (input, dim, keepdim, *, out) -> (values, indices)
template <ReduceOp op>
PyObject* extremum_with_indices(Call& call) {
    Tensor& in = call.tensor(0);
    if (is_complex(in.dtype)) not_implemented(op == ReduceOp::ArgMax ? "max_cpu" : "min_cpu", in.dtype);
    const int dim = wrap_dim(call.integer(1), in.ndim());
    const Reduced r{(uint64_t(1) << dim) & all_dims(in), call.boolean(2), false};
    check_not_empty(call, in, r);
    const Dims sizes = result_sizes(in, r);
    TensorRef values = empty(sizes, in.dtype, in.device), indices = empty(sizes, DType::Int64, in.device);
    run(op, in, values.get(), indices.get(), r);
    return deliver_all(call, {values, indices});
}

// (input, dim, keepdim, *, out)
template <ReduceOp op>
PyObject* arg_extremum(Call& call) {
    Tensor& in = call.tensor(0);
    if (is_complex(in.dtype)) call.fail(ErrorKind::Runtime, "does not support complex input");
    if (in.dtype == DType::Bool) call.fail(ErrorKind::Runtime, "does not support bool input");
    Reduced r{all_dims(in), call.boolean(2), true};
    if (!call.none(1)) {
        const int dim = wrap_dim(call.integer(1), in.ndim());
        r = {(uint64_t(1) << dim) & all_dims(in), call.boolean(2), false};
    }
    check_not_empty(call, in, r, ErrorKind::Index);
    TensorRef indices = empty(result_sizes(in, r), DType::Int64, in.device);
    run(op, in, nullptr, indices.get(), r);
    return deliver(call, indices);
}

// (input, *, dim, keepdim, out) -> (min, max)
PyObject* aminmax(Call& call) {
    Tensor& in = call.tensor(0);
    if (is_complex(in.dtype)) not_implemented("aminmax_cpu", in.dtype);
    Reduced r{all_dims(in), call.boolean(2), true};
    if (!call.none(1)) {
        const int dim = wrap_dim(call.integer(1), in.ndim());
        r = {(uint64_t(1) << dim) & all_dims(in), call.boolean(2), false};
    }
    if (r.all && in.numel == 0)
        call.fail(ErrorKind::Runtime,
                  "cannot compute aminmax over an empty dimension as the operation has no identity.");
    check_not_empty(call, in, r);
    // PyTorch names C++'s types here.
    const auto cpp_name = [](DType t) {
        return t == DType::Float32 ? "float" : t == DType::Float64 ? "double" : name_of(t);
    };
    for (Tensor* out : call.outs(2)) {
        if (!out) continue;
        call.check(out->dtype == in.dtype, "Expected out tensor to have dtype ", cpp_name(in.dtype),
                   ", but got ", cpp_name(out->dtype), " instead");
    }
    TensorRef low = reduced_tensor(ReduceOp::Min, in, in.dtype, r),
              high = reduced_tensor(ReduceOp::Max, in, in.dtype, r);
    return deliver_all(call, {low, high});
}

// ---- moments: (input, dim, *, correction, keepdim, out); the older form (input, unbiased) names no dimension -------------
// `unbiased` stands where the correction does: True means one.

struct MomentsPlan {
    Reduced r;
    ReduceParams params;
};
MomentsPlan moments_plan(Call& call, Tensor& in, bool root, bool has_dim) {
    if (is_integral(in.dtype, true)) {
        const char* name = call.name();
        const bool with_mean = std::string(name).find("mean") != std::string::npos;
        fail(ErrorKind::Runtime, with_mean ? name : "std and var",
             " only support floating point and complex dtypes");
    }
    const Reduced r = has_dim ? reduced_dims(call, in, 1, 3) : Reduced{all_dims(in), false, true};
    if (is_stored_only(in.dtype)) {
        if (r.mask == all_dims(in))
            call.fail(ErrorKind::Runtime, "Unsupported dtype ", info(in.dtype).class_name);
        not_implemented("std_cpu", in.dtype);
    }
    const int at = has_dim ? 2 : 1;
    const double correction = call.none(at) ? 1.0 : call.scalar(at).to_double();
    const double divisor = double(reduced_count(in, r.mask)) - correction;
    if (divisor <= 0)
        warn((join(call.name(),
                   "(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
                   "factor (input numel divided by output numel)."))
                 .c_str());
    return {r, {root ? ReduceFinish::Sqrt : ReduceFinish::None, divisor, 0}};
}

// Complex numbers spread in the plane: their variance is the sum of the parts' variances.
TensorRef part_of(Tensor& in, int part) {
    const DType real = info(in.dtype).real;
    Dims strides = in.strides;
    // Of a dimension of one element it may be any number.
    for (int64_t& stride : strides) stride = int64_t(uint64_t(stride) * 2);
    return make_view_dtype(in, in.sizes, strides, in.offset * 2 + part, real);
}

template <bool root, bool with_mean, bool has_dim = true>
PyObject* moments(Call& call) {
    Tensor& in = call.tensor(0);
    const MomentsPlan plan = moments_plan(call, in, root, has_dim);
    const Dims sizes = result_sizes(in, plan.r);
    const DType real = info(in.dtype).real;
    TensorRef spread, mean;
    if (!is_complex(in.dtype)) {
        spread = empty(sizes, real, in.device);
        if (with_mean) mean = empty(sizes, real, in.device);
        run(ReduceOp::Moments, in, spread.get(), mean.get(), plan.r, plan.params);
    } else {
        // Two real reductions, kept in double until they are joined.
        TensorRef variance[2], centre = with_mean ? empty(sizes, in.dtype, in.device) : TensorRef();
        for (int part = 0; part < 2; ++part) {
            TensorRef parts = part_of(in, part);
            variance[part] = empty(sizes, DType::Float64, in.device);
            const ReduceParams params{ReduceFinish::None, plan.params.argument, 0};
            run(ReduceOp::Moments, *parts, variance[part].get(), nullptr, plan.r, params);
        }
        if (with_mean) {
            const ReduceParams params{ReduceFinish::Divide, double(reduced_count(in, plan.r.mask)), 0};
            run(ReduceOp::Sum, in, centre.get(), nullptr, plan.r, params);
        }
        if (!in.is_meta()) {
            double* a = reinterpret_cast<double*>(kernel_pointer(*variance[0]));
            const double* b = reinterpret_cast<const double*>(kernel_pointer(*variance[1]));
            for (int64_t i = 0; i < variance[0]->numel; ++i)
                a[i] = root ? std::sqrt(a[i] + b[i]) : a[i] + b[i];
        }
        spread = cast(*variance[0], real);
        mean = centre;
    }
    return with_mean ? deliver_all(call, {spread, mean}) : deliver(call, spread);
}

// ---- norms: (x, ord, dim, keepdim, *, dtype, out) -----------------------------------------------------------------------

PyObject* vector_norm(Call& call) {
    Tensor& x = call.tensor(0);
    const double order = call.scalar(1).to_double();
    const Reduced r = reduced_dims(call, x, 2, 3);
    check(!is_integral(x.dtype, true),
          "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
          info(x.dtype).class_name);
    const DType dtype = call.dtype(4, x.dtype);
    check(is_complex(x.dtype) == is_complex(dtype) && !is_integral(dtype, true),
          "linalg.vector_norm: dtype should be ", is_complex(x.dtype) ? "complex" : "floating point",
          ", but got ", name_of(dtype));
    check(!std::isnan(order), "linalg.vector_norm: ord must not be NaN");
    if (x.numel == 0 && (order < 0 || std::isinf(order))) {
        check(!r.all, "linalg.vector_norm cannot compute the ", order,
              " norm on an empty tensor because the operation does not have an identity");
        for (int i = 0; i < x.ndim(); ++i)
            check(!(r.mask >> i & 1) || x.sizes[i], "linalg.vector_norm cannot compute the ", order,
                  " norm on the dimension ", i,
                  " because this dimension is empty and the operation does not have an "
                  "identity");
    }
    TensorRef operand = x.dtype == dtype ? TensorRef::borrow(&x) : cast(x, dtype);
    const DType real = info(dtype).real;
    if (order == 0) return deliver(call, reduced_tensor(ReduceOp::CountNonzero, *operand, real, r));
    if (order == 1) return deliver(call, reduced_tensor(ReduceOp::SumAbs, *operand, real, r));
    if (order == 2)
        return deliver(call,
                       reduced_tensor(ReduceOp::SumSquare, *operand, real, r, {ReduceFinish::Sqrt, 0, 0}));
    if (std::isinf(order))
        return deliver(call,
                       reduced_tensor(order > 0 ? ReduceOp::MaxAbs : ReduceOp::MinAbs, *operand, real, r));
    return deliver(
        call, reduced_tensor(ReduceOp::SumPow, *operand, real, r, {ReduceFinish::Pow, 1 / order, order}));
}

// ---- scans --------------------------------------------------------------------------------------------------------------

ScanDesc scan_desc(const Tensor& t, int dim) {
    ScanDesc d{nullptr, nullptr, nullptr, 1, t.size(dim), 1};
    for (int i = 0; i < t.ndim(); ++i)
        (i < dim ? d.outer : i > dim ? d.inner : d.size) *= i == dim ? 1 : t.sizes[i];
    return d;
}

// (input, dim, *, dtype, out); logcumsumexp: (input, dim, *, out)
template <ScanOp op>
PyObject* scan(Call& call) {
    Tensor& in = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), in.ndim());
    DType dtype = in.dtype;
    if (op != ScanOp::LogSumExp) {
        dtype = sum_dtype(call, in, 2);
        check(!call.op->inplace || dtype == in.dtype, "Bad in-place call: input tensor dtype ",
              name_of(in.dtype), " and output tensor dtype ", name_of(dtype), " should match");
        if (dtype == DType::Bool)
            not_implemented(op == ScanOp::Sum ? "cumsum_out_cpu" : "cumprod_out_cpu", dtype);
    } else if (is_integral(dtype, true)) {
        not_implemented("logcumsumexp_out_cpu", dtype);
    }
    TensorRef operand = cast(in, dtype);
    operand = contiguous(*operand);
    TensorRef out = empty(in.sizes, dtype, in.device);
    if (!in.is_meta() && in.numel) {
        ScanDesc d = scan_desc(in, dim);
        d.in = kernel_pointer(*operand);
        d.out = kernel_pointer(*out);
        if (!scan_kernel(op, dtype, d)) not_implemented(call.name(), dtype);
    }
    return deliver(call, out);
}

// (input, dim, *, out) -> (values, indices)
template <ScanOp op>
PyObject* scan_extremum(Call& call) {
    Tensor& in = call.tensor(0);
    const int dim = wrap_dim(call.integer(1), in.ndim());
    if (is_complex(in.dtype)) not_implemented(op == ScanOp::Max ? "cummax_cpu" : "cummin_cpu", in.dtype);
    TensorRef operand = contiguous(in), values = empty(in.sizes, in.dtype, in.device),
              indices = empty(in.sizes, DType::Int64, in.device);
    if (!in.is_meta() && in.numel) {
        ScanDesc d = scan_desc(in, dim);
        d.in = kernel_pointer(*operand);
        d.out = kernel_pointer(*values);
        d.indices = reinterpret_cast<int64_t*>(kernel_pointer(*indices));
        scan_kernel(op, in.dtype, d);
    }
    return deliver_all(call, {values, indices});
}

FLB_OPS({"sum", sum_like<ReduceOp::Sum>}, {"nansum", sum_like<ReduceOp::NanSum>},
        {"prod", sum_like<ReduceOp::Prod>}, {"mean", mean}, {"any", truth<ReduceOp::Any>},
        {"all", truth<ReduceOp::All>}, {"count_nonzero", count_nonzero},
        {"amax", extremum<ReduceOp::Max, true>}, {"amin", extremum<ReduceOp::Min, true>},
        {"max_all", extremum<ReduceOp::Max, false>}, {"min_all", extremum<ReduceOp::Min, false>},
        {"max_dim", extremum_with_indices<ReduceOp::ArgMax>},
        {"min_dim", extremum_with_indices<ReduceOp::ArgMin>}, {"argmax", arg_extremum<ReduceOp::ArgMax>},
        {"argmin", arg_extremum<ReduceOp::ArgMin>}, {"aminmax", aminmax}, {"var", moments<false, false>},
        {"std", moments<true, false>}, {"var_mean", moments<false, true>}, {"std_mean", moments<true, true>},
        {"var_all", moments<false, false, false>}, {"std_all", moments<true, false, false>},
        {"var_mean_all", moments<false, true, false>}, {"std_mean_all", moments<true, true, false>},
        {"linalg_vector_norm", vector_norm}, {"cumsum", scan<ScanOp::Sum>}, {"cumprod", scan<ScanOp::Prod>},
        {"logcumsumexp", scan<ScanOp::LogSumExp>}, {"cummax", scan_extremum<ScanOp::Max>},
        {"cummin", scan_extremum<ScanOp::Min>});

}  // namespace
}  // namespace flb
