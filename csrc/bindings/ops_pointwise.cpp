// Pointwise operators that do more than run one loop: they choose among loops, check arguments, or give several results.
#include <cstring>

#include "bindings/factory.h"
#include "kernels/pointwise.h"
#include "kernels/promotion.h"

namespace flb {

static PointwiseOperand operand(const Call& call, int i) {
    if (call.is_tensor(i)) return {&call.tensor(i), {}};
    return {nullptr, call.scalar(i)};
}
static DType common_dtype(const PointwiseOperand* operands, int count) {
    Promotion promotion;
    for (int i = 0; i < count; ++i) {
        if (operands[i].tensor) promotion.tensor(*operands[i].tensor);
        else promotion.scalar(operands[i].number);
    }
    return promotion.result();
}
#define FLB_LOOP(variable, name, kind) \
    static const PointwiseOp& variable = pointwise_op(name, ResultKind::kind)

// ---- add: alpha is 1 almost always, and then no multiplication happens ------------------------------------------------------

static PyObject* add_or_sub(Call& call, const PointwiseOp& plain, const PointwiseOp& scaled) {
    const PointwiseOperand operands[2] = {operand(call, 0), operand(call, 1)};
    PyObject* alpha_object = call.args[2];
    if (PyLong_CheckExact(alpha_object) && PyLong_AsLong(alpha_object) == 1)
        return run_pointwise(call, plain, operands, 2);
    PyErr_Clear();
    const Scalar alpha = call.scalar(2);
    Promotion promotion;
    for (const PointwiseOperand& o : operands)
        o.tensor ? promotion.tensor(*o.tensor) : promotion.scalar(o.number);
    const DTypeKind kind = info(promotion.result()).kind;
    call.check(alpha.category() != DTypeKind::Bool || kind == DTypeKind::Bool,
               "Boolean alpha only supported for Boolean results.");
    call.check(alpha.category() != DTypeKind::Float || kind >= DTypeKind::Float,
               "For integral input tensors, argument alpha must not be a floating point number.");
    call.check(alpha.category() != DTypeKind::Complex || kind == DTypeKind::Complex,
               "For non-complex input tensors, argument alpha must not be a complex number.");
    return run_pointwise(call, scaled, operands, 2, &alpha, 1);
}

static PyObject* add(Call& call) {
    static const PointwiseOp& plain = pointwise_op("add", ResultKind::Same);
    static const PointwiseOp& scaled = pointwise_op("add_scaled", ResultKind::Same);
    return add_or_sub(call, plain, scaled);
}

static PyObject* sub(Call& call) {
    static const PointwiseOp& plain = pointwise_op("sub", ResultKind::Same);
    static const PointwiseOp& scaled = pointwise_op("sub_scaled", ResultKind::Same);
    const auto is_bool = [&](int i) {
        return call.is_tensor(i) ? call.tensor(i).dtype == DType::Bool : PyBool_Check(call.args[i]);
    };
    if (is_bool(0) || is_bool(1)) {
        call.check(!(is_bool(0) && is_bool(1)),
                   "Subtraction, the `-` operator, with two bool tensors is not supported. "
                   "Use the `^` or `logical_xor()` operator instead.");
        call.check(false,
                   "Subtraction, the `-` operator, with a bool tensor is not supported. "
                   "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead.");
    }
    return add_or_sub(call, plain, scaled);
}

static PyObject* abs(Call& call) {
    FLB_LOOP(loops, "abs", Real);
    const PointwiseOperand x = operand(call, 0);
    check(!call.op->inplace || !is_complex(x.tensor->dtype),
          "In-place abs is not supported for complex tensors.");
    return run_pointwise(call, loops, &x, 1);
}

static PyObject* neg(Call& call) {
    FLB_LOOP(loops, "neg", Same);
    const PointwiseOperand x = operand(call, 0);
    check(!x.tensor || x.tensor->dtype != DType::Bool,
          "Negation, the `-` operator, on a bool tensor is not supported. "
          "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead.");
    return run_pointwise(call, loops, &x, 1);
}

// ---- quotients and powers -----------------------------------------------------------------------------------------------

static PyObject* div(Call& call) {
    FLB_LOOP(exact, "div", Float);
    FLB_LOOP(truncated, "div_trunc", Same);
    FLB_LOOP(floored, "floor_divide", Same);
    const PointwiseOperand operands[2] = {operand(call, 0), operand(call, 1)};
    if (call.none(2)) return run_pointwise(call, exact, operands, 2);
    const char* mode = call.str(2);
    if (std::strcmp(mode, "trunc") == 0) return run_pointwise(call, truncated, operands, 2);
    check(std::strcmp(mode, "floor") == 0,
          "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", mode, "'");
    return run_pointwise(call, floored, operands, 2);
}

static PyObject* pow(Call& call) {
    FLB_LOOP(general, "pow", Same);
    PointwiseOperand operands[2] = {operand(call, 0), operand(call, 1)};
    const Scalar& e = operands[1].number;
    // Of float8 there are the powers that need no arithmetic.
    if (Tensor* x = operands[0].tensor; x && is_float8(x->dtype) && !operands[1].tensor && !e.is_complex()) {
        const double value = e.to_double();
        if (value != 0 && value != 1) raise_no_kernel("pow", x->dtype);
        TensorRef result = value == 1 ? clone(*x) : empty_like(*x, x->dtype);
        if (value == 0) fill(*result, Scalar(1));
        return deliver(call, result);
    }
    if (operands[1].tensor || e.is_complex()) return run_pointwise(call, general, operands, 2);
    const DType dtype = common_dtype(operands, 2);
    const double value = e.to_double();
    if (is_integral(dtype, true)) check(value >= 0, "Integers to negative integer powers are not allowed.");
    // The dtype is the base's own: the exponent need not take part in the promotion.
    if (operands[0].tensor && operands[0].tensor->dtype == dtype && dtype != DType::Bool) {
        FLB_LOOP(square, "square", Same);
        FLB_LOOP(cube, "cube", Same);
        if (value == 2) return run_pointwise(call, square, operands, 1);
        if (value == 3) return run_pointwise(call, cube, operands, 1);
        if (!is_integral(dtype)) {
            FLB_LOOP(root, "sqrt", Same);
            FLB_LOOP(inverse_root, "rsqrt", Same);
            FLB_LOOP(inverse, "reciprocal", Same);
            if (value == 0.5) return run_pointwise(call, root, operands, 1);
            if (value == -0.5) return run_pointwise(call, inverse_root, operands, 1);
            if (value == -1) return run_pointwise(call, inverse, operands, 1);
        }
    }
    return run_pointwise(call, general, operands, 2);
}

static PyObject* round(Call& call) {
    FLB_LOOP(whole, "round", Same);
    FLB_LOOP(decimal, "round_decimals", Same);
    const PointwiseOperand x = operand(call, 0);
    const int64_t decimals = call.integer(1);
    if (decimals == 0) return run_pointwise(call, whole, &x, 1);
    double scale = 1;
    for (int64_t i = 0; i < (decimals < 0 ? -decimals : decimals) && scale < 1e308; ++i) scale *= 10;
    const Scalar params[2] = {scale, double(decimals < 0 ? -1 : 1)};
    return run_pointwise(call, decimal, &x, 1, params, 2);
}

// ---- limits -----------------------------------------------------------------------------------------------------------------

// Of parameters 0, low and high; the limits may be None.
static PyObject* limit(Call& call, int low, int high) {
    FLB_LOOP(both, "clamp", Same);
    FLB_LOOP(lower, "maximum", Same);
    FLB_LOOP(upper, "minimum", Same);
    const bool has_low = low >= 0 && !call.none(low), has_high = high >= 0 && !call.none(high);
    check(has_low || has_high, "torch.", call.name(), ": At least one of 'min' or 'max' must not be None");
    PointwiseOperand operands[3] = {operand(call, 0)};
    int count = 1;
    if (has_low) operands[count++] = operand(call, low);
    if (has_high) operands[count++] = operand(call, high);
    const DType dtype = common_dtype(operands, count);
    check(!is_complex(dtype), "clamp is not supported for complex types");
    if (dtype == DType::Bool && !operands[1].tensor) raise_no_kernel("clamp", dtype);
    return run_pointwise(call, has_low && has_high ? both : has_low ? lower : upper, operands, count);
}
static PyObject* clamp(Call& call) { return limit(call, 1, 2); }
static PyObject* clamp_min(Call& call) { return limit(call, 1, -1); }
static PyObject* clamp_max(Call& call) { return limit(call, -1, 1); }

// maximum, minimum: their errors name the function to use instead.
static PyObject* extremum(Call& call, const PointwiseOp& op) {
    const PointwiseOperand operands[2] = {operand(call, 0), operand(call, 1)};
    check(!is_complex(common_dtype(operands, 2)), call.name(), " not implemented for complex tensors.");
    return run_pointwise(call, op, operands, 2);
}
static PyObject* maximum(Call& call) {
    FLB_LOOP(op, "maximum", Same);
    return extremum(call, op);
}
static PyObject* minimum(Call& call) {
    FLB_LOOP(op, "minimum", Same);
    return extremum(call, op);
}

// ---- selection --------------------------------------------------------------------------------------------------------------

// condition ? a : b, by the width of the elements.
static PyObject* select(Call& call, Tensor& condition, const PointwiseOperand& a, const PointwiseOperand& b,
                        DType dtype) {
    const Tensor* tensors[3] = {&condition};
    int count = 1;
    Dims shape = condition.sizes;
    DeviceType device = condition.device;
    for (const PointwiseOperand* o : {&a, &b}) {
        if (!o->tensor) continue;
        shape = broadcast_shapes(shape, o->tensor->sizes);
        if (o->tensor->is_meta()) device = DeviceType::Meta;
        tensors[count++] = o->tensor;
    }
    for (int i = 0; i < count; ++i)
        call.check(
            tensors[i]->device == device || tensors[i]->ndim() == 0,
            "Expected all tensors to be on the same device, but found at least two devices, cpu and meta!");
    TensorRef result;
    if (Tensor* out = call.out()) {
        for (int i = 0; i < count; ++i) check_no_partial_overlap(*out, *tensors[i], call.name());
        result = output(call, shape, dtype, device);
    } else {
        result = empty_strided(shape, result_strides(shape, tensors + 1, count - 1), dtype, device);
    }
    if (device == DeviceType::Meta) return result.release();
    Iterator it(shape);
    it.output(*result, dtype);
    it.input(condition, condition.dtype);
    for (const PointwiseOperand* o : {&a, &b}) {
        if (o->tensor) it.input(*o->tensor, dtype);
        else it.scalar(o->number, dtype);
    }
    it.run(find_where(itemsize(dtype)), nullptr, true);
    return result.release();
}

static PyObject* where_of(Call& call, int condition, int a, int b) {
    Tensor& mask = call.tensor(condition);
    if (mask.dtype == DType::UInt8)
        warn(
            "where received a uint8 condition tensor. This behavior is deprecated and will be removed in a "
            "future version of "
            "PyTorch. Use a boolean condition instead.");
    else
        check(mask.dtype == DType::Bool,
              "where expected condition to be a boolean tensor, but got a tensor with dtype ",
              info(mask.dtype).class_name);
    const PointwiseOperand operands[2] = {operand(call, a), operand(call, b)};
    return select(call, mask, operands[0], operands[1], common_dtype(operands, 2));
}
static PyObject* where(Call& call) { return where_of(call, 0, 1, 2); }
static PyObject* where_method(Call& call) { return where_of(call, 1, 0, 2); }
static PyObject* where_positions(Call& call) {
    ObjectRef method = ObjectRef::steal(checked_object(PyObject_GetAttrString(call.args[0], "nonzero")));
    ObjectRef none = ObjectRef::steal(PyTuple_New(0)),
              kwargs = ObjectRef::steal(checked_object(Py_BuildValue("{s:O}", "as_tuple", Py_True)));
    return checked_object(PyObject_Call(method.get(), none.get(), kwargs.get()));
}

static PyObject* masked_fill(Call& call) {
    Tensor &x = call.tensor(0), &mask = call.tensor(1);
    PointwiseOperand value = operand(call, 2);
    check(mask.dtype == DType::Bool, call.name(), " only supports boolean masks, but got mask with dtype ",
          info(mask.dtype).class_name);
    if (value.tensor) {
        check(value.tensor->ndim() == 0, call.name(),
              " only supports a 0-dimensional value tensor, but got tensor with ", value.tensor->ndim(),
              " dimension(s).");
    }
    // A fraction is cut off, as by a conversion; what does not fit is refused.
    if (!value.tensor) check_fits(value.number, x.dtype);
    else if (!value.tensor->is_meta()) check_fits(item(*value.tensor), x.dtype);
    return select(call, mask, value, {&x, {}}, x.dtype);
}

// ---- several results, parts of complex numbers -------------------------------------------------------------------------------

static PyObject* frexp(Call& call) {
    FLB_LOOP(mantissa, "frexp_mantissa", Same);
    static const LoopSet& exponent = *find_loops("frexp_exponent");
    Tensor& x = call.tensor(0);
    check(is_floating(x.dtype), "torch.frexp() only supports floating-point dtypes");
    DType compute;
    exponent.choose(x.dtype, &compute);
    TensorRef fraction = pointwise(mantissa, {&x});
    TensorRef power = empty_like(x, DType::Int32);
    if (!x.is_meta()) {
        Iterator it(x.sizes);
        it.output(*power, DType::Int32);
        it.input(x, compute);
        it.run(exponent[compute]);
    }
    return deliver_all(call, {std::move(fraction), std::move(power)});
}

static PyObject* view_as_real(Call& call) {
    Tensor& x = call.tensor(0);
    check(is_complex(x.dtype), "view_as_real is only supported for complex tensors");
    Dims sizes = x.sizes, strides = x.strides;
    for (int i = 0; i < x.ndim(); ++i) strides[i] = wrapping_mul(strides[i], 2);
    sizes.push_back(2);
    strides.push_back(1);
    return make_view_dtype(x, sizes, strides, 2 * x.offset, info(x.dtype).real).release();
}

static PyObject* view_as_complex(Call& call) {
    Tensor& x = call.tensor(0);
    check(x.dtype == DType::Float16 || x.dtype == DType::Float32 || x.dtype == DType::Float64,
          "view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar "
          "type: ",
          info(x.dtype).class_name);
    check(x.ndim() > 0, "Input tensor must have one or more dimensions");
    const int last = x.ndim() - 1;
    check(x.sizes[last] == 2, "Tensor must have a last dimension of size 2");
    check(x.strides[last] == 1, "Tensor must have a last dimension with stride 1");
    Dims sizes(last), strides(last);
    for (int i = 0; i < last; ++i) {
        check(x.strides[i] % 2 == 0, "Tensor must have a stride divisible by 2 for all but last dimension");
        sizes[i] = x.sizes[i];
        strides[i] = x.strides[i] / 2;
    }
    check(x.offset % 2 == 0, "Tensor must have a storage_offset divisible by 2");
    return make_view_dtype(x, sizes, strides, x.offset / 2, info(x.dtype).complex).release();
}

static PyObject* from_parts(Call& call, const PointwiseOp& op) {
    const PointwiseOperand operands[2] = {{&call.tensor(0), {}}, {&call.tensor(1), {}}};
    const DType a = call.tensor(0).dtype, b = call.tensor(1).dtype;
    const auto allowed = [](DType t) { return is_floating(t) && t != DType::BFloat16 && !is_stored_only(t); };
    check(allowed(a) && allowed(b), "Expected both inputs to be Half, Float or Double tensors but got ",
          info(a).class_name, " and ", info(b).class_name);
    check(a == b, "Expected object of scalar type ", info(a).class_name, " but got scalar type ",
          info(b).class_name, " for second argument");
    if (const Tensor* out = call.out()) {
        const DType whole = info(a).complex;
        check(out->dtype == whole, "Expected object of scalar type ", info(whole).class_name,
              " but got scalar type ", info(out->dtype).class_name, " for argument 'out'");
    }
    return run_pointwise(call, op, operands, 2);
}
static PyObject* complex(Call& call) {
    FLB_LOOP(op, "complex", Complex);
    return from_parts(call, op);
}
static PyObject* polar(Call& call) {
    FLB_LOOP(op, "polar", Complex);
    return from_parts(call, op);
}

// ---- with options ---------------------------------------------------------------------------------------------------------

static bool tanh_form(Call& call, int i) {
    const char* form = call.str(i);
    check(std::strcmp(form, "none") == 0 || std::strcmp(form, "tanh") == 0,
          "approximate argument must be either none or tanh.");
    return form[0] == 't';
}
static PyObject* gelu(Call& call) {
    FLB_LOOP(exact, "gelu", Same);
    FLB_LOOP(approximate, "gelu_tanh", Same);
    const PointwiseOperand x = operand(call, 0);
    return run_pointwise(call, tanh_form(call, 1) ? approximate : exact, &x, 1);
}
static PyObject* gelu_backward(Call& call) {
    FLB_LOOP(exact, "gelu_backward", Same);
    FLB_LOOP(approximate, "gelu_tanh_backward", Same);
    const PointwiseOperand operands[2] = {operand(call, 0), operand(call, 1)};
    return run_pointwise(call, tanh_form(call, 2) ? approximate : exact, operands, 2);
}

static PyObject* logit(Call& call) {
    FLB_LOOP(op, "logit", Float);
    const PointwiseOperand x = operand(call, 0);
    const Scalar eps = call.none(1) ? Scalar(-1.0) : call.scalar(1);
    return run_pointwise(call, op, &x, 1, &eps, 1);
}

static PyObject* nan_to_num(Call& call) {
    FLB_LOOP(op, "nan_to_num", Same);
    FLB_LOOP(identity, "conj_physical", Same);
    const PointwiseOperand x = operand(call, 0);
    check(!is_complex(x.tensor->dtype), "nan_to_num of complex parts goes through view_as_real");
    if (!is_floating(x.tensor->dtype)) return run_pointwise(call, identity, &x, 1);
    double largest = 0x1.fffffep127;
    if (x.tensor->dtype == DType::Float64) largest = 0x1.fffffffffffffp1023;
    if (x.tensor->dtype == DType::Float16) largest = 65504;
    if (x.tensor->dtype == DType::BFloat16) largest = 0x1.fep127;
    const Scalar params[3] = {call.none(1) ? 0.0 : call.real(1), call.none(2) ? largest : call.real(2),
                              call.none(3) ? -largest : call.real(3)};
    return run_pointwise(call, op, &x, 1, params, 3);
}

static PyObject* polygamma(Call& call) {
    FLB_LOOP(op, "polygamma", Float);
    const int64_t n = call.integer(0);
    check(n >= 0, "polygamma(n, x) does not support negative n.");
    const PointwiseOperand x = operand(call, 1);
    const Scalar order(n);
    return run_pointwise(call, op, &x, 1, &order, 1);
}

static PyObject* addcdiv(Call& call) {
    FLB_LOOP(op, "addcdiv", Same);
    const PointwiseOperand operands[3] = {operand(call, 0), operand(call, 1), operand(call, 2)};
    check(!is_integral(call.tensor(1).dtype, true) || !is_integral(call.tensor(2).dtype, true),
          "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
          "perform a true division of "
          "tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + value * "
          "torch.trunc(tensor1 / "
          "tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for float "
          "inputs.");
    const Scalar value = call.scalar(3);
    return run_pointwise(call, op, operands, 3, &value, 1);
}

static PyObject* lerp(Call& call) {
    FLB_LOOP(op, "lerp", Same);
    const DType dtype = call.tensor(0).dtype;
    const auto same = [&](int i, const char* what) {
        check(call.tensor(i).dtype == dtype, "expected dtype ", name_of(dtype), " for `", what,
              "` but got dtype ", name_of(call.tensor(i).dtype));
    };
    same(1, "end");
    if (call.is_tensor(2) && call.tensor(2).ndim() > 0) same(2, "weight");
    const PointwiseOperand operands[3] = {operand(call, 0), operand(call, 1), operand(call, 2)};
    return run_pointwise(call, op, operands, 3);
}

FLB_OPS({"add", add}, {"sub", sub}, {"abs", abs}, {"neg", neg}, {"div", div}, {"pow", pow}, {"round", round},
        {"clamp", clamp}, {"clamp_min", clamp_min}, {"clamp_max", clamp_max}, {"maximum", maximum},
        {"minimum", minimum}, {"where", where}, {"where_method", where_method},
        {"where_positions", where_positions}, {"masked_fill", masked_fill}, {"frexp", frexp},
        {"view_as_real", view_as_real}, {"view_as_complex", view_as_complex}, {"complex", complex},
        {"polar", polar}, {"gelu", gelu}, {"gelu_backward", gelu_backward}, {"logit", logit},
        {"nan_to_num", nan_to_num}, {"polygamma", polygamma}, {"addcdiv", addcdiv}, {"lerp", lerp});

}  // namespace flb
