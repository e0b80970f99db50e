// Losses of input - target: mse_loss, l1_loss, smooth_l1_loss and huber_loss with their reductions in one pass.
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/loss_kernels.h"

namespace flb {
namespace {

enum Reduction : int64_t { kNone, kMean, kSum };

// Two tensors of one shape and floating dtype, as two runs of memory in one order.
struct Pair {
    // kind, width and reduction are the arguments from `at` on.
    Pair(Call& call, Tensor& input_tensor, Tensor& target_tensor, int at)
        : shape{DifferenceLoss(call.integer(at)), call.real(at + 1)}, reduction(call.integer(at + 2)) {
        call.check(input_tensor.sizes == target_tensor.sizes && input_tensor.dtype == target_tensor.dtype,
                   "takes two tensors of one shape and dtype, got ", str(input_tensor.sizes), " and ",
                   str(target_tensor.sizes));
        call.check(shape.kind >= DifferenceLoss::Squared && shape.kind <= DifferenceLoss::Huber &&
                       reduction >= kNone && reduction <= kSum,
                   "no such loss or reduction");
        dtype = compute_dtype(call, input_tensor);
        result = input_tensor.dtype;
        numel = input_tensor.numel;
        meta = input_tensor.is_meta() || target_tensor.is_meta();
        if (meta) return;
        flat = is_non_overlapping_and_dense(input_tensor) && input_tensor.strides == target_tensor.strides;
        input = in_order(input_tensor);
        target = in_order(target_tensor);
    }
    TensorRef in_order(Tensor& t) const { return flat ? cast(t, dtype) : dense(t, dtype); }
    TensorRef empty_result(Tensor& like) const {
        if (meta) return empty(like.sizes, result, DeviceType::Meta);
        return flat ? empty_like(like, dtype) : empty(like.sizes, dtype);
    }
    const char* at(const TensorRef& t, int64_t i) const {
        return data_of<const char>(t) + i * itemsize(dtype);
    }

    DifferenceLossShape shape;
    int64_t reduction, numel;
    DType dtype, result;
    bool meta, flat = false;
    TensorRef input, target;
};

PyObject* difference_loss_op(Call& call) {  // input, target, kind, width, reduction
    Tensor& t = call.tensor(0);
    const Pair p(call, t, call.tensor(1), 2);
    const bool each = p.reduction == kNone;
    if (p.meta) return empty(each ? t.sizes : Dims(), p.result, DeviceType::Meta).release();
    TensorRef out = each ? p.empty_result(t) : TensorRef();
    double total = 0;
    if (p.numel) {
        const int64_t blocks = (p.numel - 1) / kLossBlock + 1;
        std::vector<double> sums(size_t(each || blocks == 1 ? 0 : blocks));
        const char *x = p.at(p.input, 0), *y = p.at(p.target, 0);
        char* to = data_of<char>(out);
        const int64_t width = itemsize(p.dtype);
        const auto run = [&](int64_t from, int64_t end) {
            for (int64_t b = from; b < end; ++b) {
                const int64_t first = b * kLossBlock, n = std::min(kLossBlock, p.numel - first);
                const double sum = difference_loss(p.dtype, p.shape, x + first * width, y + first * width,
                                                   each ? to + first * width : nullptr, n);
                if (blocks == 1) total = sum;
                else if (!each) sums[size_t(b)] = sum;
            }
        };
        {
            Unlocked unlocked(p.numel > kNnGrain);
            parallel_for(0, blocks, 1, run);
        }
        for (double sum : sums) total += sum;
    }
    if (each) return cast(*out, p.result).release();
    return scalar_tensor(Scalar(p.reduction == kMean ? total / double(p.numel) : total), p.result).release();
}

PyObject* difference_loss_backward_op(Call& call) {  // grad, input, target, kind, width, reduction
    Tensor &grad = call.tensor(0), &t = call.tensor(1);
    Pair p(call, t, call.tensor(2), 3);
    const bool each = p.reduction == kNone;
    call.check(each ? grad.sizes == t.sizes : grad.numel == 1, "grad of shape ", str(grad.sizes),
               " for an input of shape ", str(t.sizes));
    if (p.meta || grad.is_meta()) return empty(t.sizes, p.result, DeviceType::Meta).release();
    if (each && p.flat && grad.strides != t.strides) {
        p.flat = false;
        p.input = dense(*p.input, p.dtype);
        p.target = dense(*p.target, p.dtype);
    }
    TensorRef out = p.empty_result(t);
    if (p.numel) {
        TensorRef g = each ? p.in_order(grad) : dense(grad, DType::Float64);
        double scale = each ? 0 : *data_of<double>(g);
        if (p.reduction == kMean) scale /= double(p.numel);
        const char *x = p.at(p.input, 0), *y = p.at(p.target, 0), *from = each ? p.at(g, 0) : nullptr;
        char* to = data_of<char>(out);
        const int64_t width = itemsize(p.dtype);
        Unlocked unlocked(p.numel > kNnGrain);
        parallel_for(0, p.numel, kNnGrain, [&](int64_t b, int64_t e) {
            difference_loss_backward(p.dtype, p.shape, from ? from + b * width : nullptr, scale,
                                     x + b * width, y + b * width, to + b * width, e - b);
        });
    }
    return cast(*out, p.result).release();
}

}  // namespace

FLB_OPS({"_difference_loss", difference_loss_op}, {"_difference_loss_backward", difference_loss_backward_op});

}  // namespace flb
