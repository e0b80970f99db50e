#include "kernels/pointwise.h"

#include <cstring>
#include <string_view>

#include "kernels/promotion.h"

namespace flb {

namespace {

bool divides(const char* loops) {
    for (const char* name : {"div_trunc", "floor_divide", "fmod", "remainder"})
        if (!std::strcmp(loops, name)) return true;
    return false;
}

const void* resolve_pointwise(const char* op_name, const char* kind) {
    const LoopSet* loops = find_loops(op_name);
    check(loops, "record of ", op_name, ": no loop of that name is compiled");
    constexpr const char* names[] = {"same", "float", "bool", "real", "float_real", "complex"};
    for (int i = 0; i < 6; ++i)
        if (std::strcmp(kind, names[i]) == 0)
            return new PointwiseOp{strdup(op_name), loops, ResultKind(i), divides(op_name)};
    fail(ErrorKind::Runtime, "record of ", op_name, ": unknown kind '", kind, "'");
}

DType float_dtype(DType t) { return info(t).kind < DTypeKind::Float ? default_dtype() : t; }
bool wants_float(ResultKind kind) { return kind == ResultKind::Float || kind == ResultKind::FloatReal; }

// Of operands that have been promoted, to a floating dtype if the operator wants one.
DType result_dtype(ResultKind kind, DType common) {
    switch (kind) {
        case ResultKind::Same:
        case ResultKind::Float: return common;
        case ResultKind::Bool: return DType::Bool;
        case ResultKind::Real:
        case ResultKind::FloatReal: return info(common).real;
        case ResultKind::Complex: return info(common).complex;
    }
    return common;
}

// The usual case, without the general machinery: dense tensors of one dtype and shape, and numbers that do not raise the
// dtype. The first tensor among them, or null.
const Tensor* all_alike(const PointwiseOperand* operands, int count) {
    const Tensor* first = nullptr;
    for (int i = 0; i < count; ++i) {
        const Tensor* t = operands[i].tensor;
        if (!t) continue;
        if (!first) {
            if (!t->contiguous || t->device != DeviceType::Cpu || t->zero_dim_number) return nullptr;
            first = t;
        } else if (!t->contiguous || t->dtype != first->dtype || t->device != DeviceType::Cpu ||
                   t->sizes != first->sizes) {
            return nullptr;
        }
    }
    if (first)
        for (int i = 0; i < count; ++i)
            if (!operands[i].tensor && operands[i].number.category() > info(first->dtype).kind)
                return nullptr;
    return first;
}

// Whether a loop may write `out` directly while it reads the operands: the same shape, dtype and layout, and no memory in
// common with an operand unless it is that operand's own.
bool writes_directly(const Tensor& out, const Tensor& first, DType dtype, const PointwiseOperand* operands,
                     int count) {
    if (!out.contiguous || out.dtype != dtype || out.device != DeviceType::Cpu || out.sizes != first.sizes)
        return false;
    for (int i = 0; i < count; ++i) {
        const Tensor* t = operands[i].tensor;
        if (t && t != &out && t->storage == out.storage) return false;
    }
    return true;
}

void store_params(const Scalar* params, int n, DType compute, char* slots) {
    for (int i = 0; i < n; ++i) params[i].store(compute, slots + 16 * i);
}

int32_t& failure(char* slots) { return *reinterpret_cast<int32_t*>(slots + 16 * kFailureSlot); }

}  // namespace

[[gnu::cold]] void raise_no_kernel(const char* name, DType t) {
    fail(ErrorKind::NotImplemented, "\"", name, "_cpu\" not implemented for '", info(t).class_name, "'");
}

// PyTorch's functions for Python's arithmetic make tensors of two numbers: programs compute sizes with them.
static bool takes_numbers_alone(std::string_view name) {
    for (std::string_view each :
         {"add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide"})
        if (name == each) return true;
    return false;
}

PyObject* run_pointwise(Call& call, const PointwiseOp& op, const PointwiseOperand* operands, int count,
                        const Scalar* params, int num_params) {
    alignas(16) char slots[16 * (kFailureSlot + 1)];
    failure(slots) = 0;
    const auto finish = [&](TensorRef& result) {
        call.check(!failure(slots), "ZeroDivisionError");
        return result.release();
    };
    Tensor* out = call.out();
    if (const Tensor* alike = all_alike(operands, count)) {
        const Tensor& first = *alike;
        const DType common = wants_float(op.kind) ? float_dtype(first.dtype) : first.dtype;
        const LoopSet::Slot& slot = (*op.loops)[common];
        const DType dtype = result_dtype(op.kind, common);
        if (slot.loop && common == first.dtype && slot.out == dtype &&
            (!out || ((!op.fallible || !is_integral(common)) &&
                      writes_directly(*out, first, dtype, operands, count)))) {
            store_params(params, num_params, common, slots);
            TensorRef result = out ? TensorRef::borrow(out) : empty(first.sizes, dtype);
            if (first.numel <= 4096) {
                alignas(16) char numbers[kMaxOperands][16];
                char* data[kMaxOperands];
                int64_t strides[kMaxOperands];
                data[0] = kernel_pointer(*result);
                strides[0] = itemsize(dtype);
                for (int i = 0; i < count; ++i) {
                    if (operands[i].tensor) {
                        data[i + 1] = kernel_pointer(*operands[i].tensor);
                        strides[i + 1] = itemsize(common);
                    } else {
                        data[i + 1] = numbers[i];
                        operands[i].number.store(common, numbers[i]);
                        strides[i + 1] = 0;
                    }
                }
                if (first.numel) slot.loop(data, strides, first.numel, slots);
                return finish(result);
            }
            Iterator it(first.sizes);
            it.output(*result, dtype);
            for (int i = 0; i < count; ++i) {
                if (operands[i].tensor) it.input(*operands[i].tensor, common);
                else it.scalar(operands[i].number, common);
            }
            it.run(slot, slots);
            return finish(result);
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
    check_as(ErrorKind::Type, num_tensors > 0 || takes_numbers_alone(call.name()), call.name(),
             "(): argument 'input' (position 1) must be Tensor, not a number");
    DType common = promotion.result();
    for (int i = 0; i < num_tensors; ++i)
        call.check(
            tensors[i]->device == device || tensors[i]->ndim() == 0,
            "Expected all tensors to be on the same device, but found at least two devices, cpu and meta!");
    if (wants_float(op.kind)) common = float_dtype(common);
    const DType dtype = result_dtype(op.kind, common);
    DType compute;
    if (!op.loops->choose(common, &compute)) raise_no_kernel(op.name, common);
    // PyTorch's products of float8 have no case for a second operand of one element.
    if (is_stored_only(common) && count == 2 && !std::strcmp(op.name, "mul") &&
        (!operands[1].tensor || operands[1].tensor->numel == 1))
        raise_no_kernel("mul_reduced_float", common);
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
    TensorRef destination;
    if (out && op.fallible && is_integral(compute)) {
        destination = std::move(result);
        kernel_pointer(*destination);
        result = empty(shape, dtype);
    }
    Iterator it(shape);
    it.output(*result, slot.out);
    // Integers that compute in a wider dtype wrap to their own first: -2 is 254 to uint8. Likewise float8 rounds.
    const bool wraps = compute != common && (is_integral(common) || is_stored_only(common));
    TensorRef wrapped[kMaxOperands];
    for (int i = 0; i < count; ++i) {
        const PointwiseOperand& o = operands[i];
        if (o.tensor) {
            if (wraps && o.tensor->dtype != common) wrapped[i] = cast(*o.tensor, common);
            it.input(wrapped[i] ? *wrapped[i] : *o.tensor, compute);
        } else if (wraps) {
            char value[16];
            o.number.store(common, value);
            it.scalar(Scalar::load(common, value), compute);
        } else {
            it.scalar(o.number, compute);
        }
    }
    it.run(slot, slots);
    if (!destination) return finish(result);
    call.check(!failure(slots), "ZeroDivisionError");
    copy_into(*destination, *result);
    return destination.release();
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

const PointwiseOp& pointwise_op(const char* name, ResultKind kind) {
    const LoopSet* loops = find_loops(name);
    check(loops, "no loop named ", name, " is compiled");
    return *new PointwiseOp{name, loops, kind, divides(name)};
}

void add_into(Tensor& out, Tensor& in) {
    static const PointwiseOp& plain = pointwise_op("add", ResultKind::Same);
    DType compute;
    if (!plain.loops->choose(out.dtype, &compute)) raise_no_kernel("add", out.dtype);
    if (out.is_meta()) return;
    Iterator it(out.sizes);
    it.output(out, compute);
    it.input(out, compute);
    it.input(in, compute);
    it.run((*plain.loops)[compute]);
}

}  // namespace flb
