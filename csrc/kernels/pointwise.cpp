#include "kernels/pointwise.h"

#include <cstring>

#include "kernels/promotion.h"

namespace flb {

namespace {

const void* resolve_pointwise(const char* op_name, const char* kind) {
    const LoopSet* loops = find_loops(op_name);
    check(loops, "record of ", op_name, ": no loop of that name is compiled");
    constexpr const char* names[] = {"same", "float", "bool", "real"};
    for (int i = 0; i < 4; ++i)
        if (std::strcmp(kind, names[i]) == 0) return new PointwiseOp{strdup(op_name), loops, ResultKind(i)};
    fail(ErrorKind::Runtime, "record of ", op_name, ": unknown kind '", kind, "'");
}

DType result_dtype(ResultKind kind, DType common) {
    switch (kind) {
        case ResultKind::Same: return common;
        case ResultKind::Float: return info(common).kind < DTypeKind::Float ? default_dtype() : common;
        case ResultKind::Bool: return DType::Bool;
        case ResultKind::Real: return info(common).real;
    }
    return common;
}

[[noreturn, gnu::cold]] void no_kernel(const char* name, DType t) {
    fail(ErrorKind::NotImplemented, "\"", name, "_cpu\" not implemented for '", info(t).class_name, "'");
}

// The usual case, without the general machinery: tensors of one dtype, all dense with one shape, fresh result.
bool all_alike(const PointwiseOperand* operands, int count) {
    const Tensor* first = operands[0].tensor;
    if (!first || !first->contiguous || first->device != DeviceType::Cpu) return false;
    for (int i = 1; i < count; ++i) {
        const Tensor* t = operands[i].tensor;
        if (!t || !t->contiguous || t->dtype != first->dtype || t->device != DeviceType::Cpu || t->sizes != first->sizes) return false;
    }
    return true;
}

void store_params(const Scalar* params, int n, DType compute, char* slots) {
    for (int i = 0; i < n; ++i) params[i].store(compute, slots + 16 * i);
}

}  // namespace

PyObject* run_pointwise(Call& call, const PointwiseOp& op, const PointwiseOperand* operands, int count,
                        const Scalar* params, int num_params) {
    alignas(16) char slots[16 * 8];
    Tensor* out = call.out();
    if (!out && all_alike(operands, count)) {
        const Tensor& first = *operands[0].tensor;
        const DType common = op.kind == ResultKind::Float ? result_dtype(op.kind, first.dtype) : first.dtype;
        const LoopSet::Slot& slot = (*op.loops)[common];
        const DType dtype = result_dtype(op.kind, common);
        if (slot.loop && common == first.dtype && slot.out == dtype) {
            store_params(params, num_params, common, slots);
            TensorRef result = empty(first.sizes, dtype);
            if (first.numel <= 4096) {
                char* data[kMaxOperands];
                int64_t strides[kMaxOperands];
                data[0] = kernel_pointer(*result);
                strides[0] = itemsize(dtype);
                for (int i = 0; i < count; ++i) {
                    data[i + 1] = kernel_pointer(*operands[i].tensor);
                    strides[i + 1] = itemsize(common);
                }
                if (first.numel) slot.loop(data, strides, first.numel, slots);
                return result.release();
            }
            Iterator it(first.sizes);
            it.output(*result, dtype);
            for (int i = 0; i < count; ++i) it.input(*operands[i].tensor, common);
            it.run(slot.loop, slots);
            return result.release();
        }
    }

    Promotion promotion;
    Dims shape;
    bool have_shape = false;
    DeviceType device = DeviceType::Cpu;
    const Tensor* tensors[kMaxOperands];
    int num_tensors = 0;
    for (int i = 0; i < count; ++i) {
        if (Tensor* t = operands[i].tensor) {
            promotion.tensor(*t);
            shape = have_shape ? broadcast_shapes(shape, t->sizes) : t->sizes;
            have_shape = true;
            if (t->is_meta()) device = DeviceType::Meta;
            tensors[num_tensors++] = t;
        } else {
            promotion.scalar(operands[i].number);
        }
    }
    DType common = promotion.result();
    for (int i = 0; i < num_tensors; ++i)
        call.check(tensors[i]->device == device || tensors[i]->ndim() == 0,
                   "Expected all tensors to be on the same device, but found at least two devices, cpu and meta!");
    if (op.kind == ResultKind::Float) common = result_dtype(op.kind, common);
    const DType dtype = result_dtype(op.kind, common);
    DType compute;
    if (!op.loops->choose(common, &compute)) no_kernel(op.name, common);
    const LoopSet::Slot& slot = (*op.loops)[compute];

    TensorRef result;
    if (out) {
        for (int i = 0; i < num_tensors; ++i) check_no_partial_overlap(*out, *tensors[i], op.name);
        result = output(call, shape, dtype, device);
    } else {
        result = empty_strided(shape, result_strides(shape, tensors, num_tensors), dtype, device);
    }
    if (device == DeviceType::Meta) return result.release();
    store_params(params, num_params, compute, slots);
    Iterator it(shape);
    it.output(*result, slot.out);
    for (int i = 0; i < count; ++i) {
        if (operands[i].tensor) it.input(*operands[i].tensor, compute);
        else it.scalar(operands[i].number, compute);
    }
    it.run(slot.loop, slots);
    return result.release();
}

PyObject* pointwise_impl(Call& call) {
    const PointwiseOp& op = *static_cast<const PointwiseOp*>(call.op->family);
    PointwiseOperand operands[kMaxOperands];
    Scalar params[8];
    int count = 0, num_params = 0;
    const int n = call.count();
    for (int i = 0; i < n; ++i) {
        if (i == call.op->out_param) continue;
        switch ((*call.op->params)[size_t(i)].kind) {
            case Kind::Tensor:  // a number too: `2 - x` arrives from the number protocol unparsed
            case Kind::Operand:
                if (call.is_tensor(i)) operands[count++] = {&call.tensor(i), {}};
                else operands[count++] = {nullptr, call.scalar(i)};
                break;
            case Kind::Scalar:
            case Kind::Float:
            case Kind::Int: params[num_params++] = call.scalar(i); break;
            default: break;
        }
    }
    return run_pointwise(call, op, operands, count, params, num_params);
}

TensorRef pointwise(const PointwiseOp& op, std::initializer_list<Tensor*> operands) {
    PointwiseOperand list[kMaxOperands];
    int count = 0;
    for (Tensor* t : operands) list[count++] = {t, {}};
    Op no_op{};
    no_op.out_param = -1;
    Call call{&no_op, nullptr};
    return TensorRef::steal(run_pointwise(call, op, list, count));
}

FLB_FAMILY(pointwise, pointwise_impl, resolve_pointwise);

// ---- add: alpha is 1 almost always, and then no multiplication happens ------------------------------------------------------

static const PointwiseOp& loops_of(const char* name, ResultKind kind) {
    return *new PointwiseOp{name, find_loops(name), kind};
}

static PyObject* add_or_sub(Call& call, const PointwiseOp& plain, const PointwiseOp& scaled) {
    PointwiseOperand operands[2];
    for (int i = 0; i < 2; ++i) {
        if (call.is_tensor(i)) operands[i] = {&call.tensor(i), {}};
        else operands[i] = {nullptr, call.scalar(i)};
    }
    PyObject* alpha_object = call.args[2];
    if (PyLong_CheckExact(alpha_object) && PyLong_AsLong(alpha_object) == 1) return run_pointwise(call, plain, operands, 2);
    PyErr_Clear();
    const Scalar alpha = call.scalar(2);
    Promotion promotion;
    for (const PointwiseOperand& o : operands) o.tensor ? promotion.tensor(*o.tensor) : promotion.scalar(o.number);
    const DTypeKind kind = info(promotion.result()).kind;
    call.check(alpha.category() != DTypeKind::Bool || kind == DTypeKind::Bool, "Boolean alpha only supported for Boolean results.");
    call.check(alpha.category() != DTypeKind::Float || kind >= DTypeKind::Float,
               "For integral input tensors, argument alpha must not be a floating point number.");
    call.check(alpha.category() != DTypeKind::Complex || kind == DTypeKind::Complex,
               "For non-complex input tensors, argument alpha must not be a complex number.");
    return run_pointwise(call, scaled, operands, 2, &alpha, 1);
}

static PyObject* add(Call& call) {
    static const PointwiseOp& plain = loops_of("add", ResultKind::Same);
    static const PointwiseOp& scaled = loops_of("add_scaled", ResultKind::Same);
    return add_or_sub(call, plain, scaled);
}

static PyObject* sub(Call& call) {
    static const PointwiseOp& plain = loops_of("sub", ResultKind::Same);
    static const PointwiseOp& scaled = loops_of("sub_scaled", ResultKind::Same);
    const auto is_bool = [&](int i) { return call.is_tensor(i) ? call.tensor(i).dtype == DType::Bool : PyBool_Check(call.args[i]); };
    if (is_bool(0) || is_bool(1)) {
        call.check(!(is_bool(0) && is_bool(1)), "Subtraction, the `-` operator, with two bool tensors is not supported. "
                   "Use the `^` or `logical_xor()` operator instead.");
        call.check(false, "Subtraction, the `-` operator, with a bool tensor is not supported. "
                   "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead.");
    }
    return add_or_sub(call, plain, scaled);
}

FLB_OPS({"add", add}, {"sub", sub});

void add_into(Tensor& out, Tensor& in) {
    static const PointwiseOp& plain = loops_of("add", ResultKind::Same);
    DType compute;
    if (!plain.loops->choose(out.dtype, &compute)) no_kernel("add", out.dtype);
    if (out.is_meta()) return;
    Iterator it(out.sizes);
    it.output(out, compute);
    it.input(out, compute);
    it.input(in, compute);
    it.run((*plain.loops)[compute].loop);
}

}  // namespace flb
