// The CTC loss: checks of lengths and labels; the recursion is in kernels/isa/ctc.cpp.
#include <cmath>
#include <limits>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/ctc.h"

namespace flb {
namespace {

// log_probs, targets, input_lengths, target_lengths from parameter `from` on, blank at `blank_at`; all checked.
struct Sequences {
    Sequences(const Call& call, int from, int blank_at) : log_probs(&call.tensor(from)) {
        Tensor &p = *log_probs, &target_tensor = call.tensor(from + 1);
        meta = p.is_meta() || target_tensor.is_meta();
        check(p.ndim() == 3, "Expected 3-dimensional tensor, but got ", p.ndim(),
              "-dimensional tensor for argument #1 'log_probs' (while checking arguments for ", call.name(),
              ")");
        check(p.numel > 0, call.name(), "(): log_probs tensor must not be empty, got shape ", str(p.sizes));
        if (p.dtype != DType::Float32 && p.dtype != DType::Float64)
            fail(ErrorKind::NotImplemented, "\"ctc_loss_cpu\" not implemented for '",
                 info(p.dtype).class_name, "': convert with .float()");
        steps = p.sizes[0];
        batch = p.sizes[1];
        classes = p.sizes[2];
        blank = call.integer(blank_at);
        check(blank >= 0 && blank < classes, "blank must be in label range [0, ", classes, "), got ", blank);
        input_lengths = lengths(call, from + 2, "input_lengths");
        target_lengths = lengths(call, from + 3, "target_lengths");
        for (int64_t n : input_lengths) check_length(call, "input_lengths", n, steps);
        int64_t total = 0;
        for (int64_t n : target_lengths) {
            check_length(call, "target_lengths", n, std::numeric_limits<int32_t>::max());
            total += n;
            longest = std::max(longest, n);
        }
        const Tensor& t = target_tensor;
        check(t.ndim() == 1 || t.ndim() == 2, "Expected 1 to 2 dimensions, but got ", t.ndim(),
              "-dimensional tensor for argument #2 'targets' (while checking arguments for ", call.name(),
              ")");
        check_size(call, t, 0, t.ndim() == 1 ? total : batch);
        if (t.ndim() == 2 && t.sizes[1] < longest)
            fail(ErrorKind::Runtime, "Expected tensor to have size at least ", longest,
                 " at dimension 1, but got size ", t.sizes[1],
                 " for argument #2 'targets' (while checking arguments for ", call.name(), ")");
        if (meta) return;
        targets = own_indices(target_tensor);
        const int64_t* labels = targets->numel ? data_of<int64_t>(targets) : nullptr;
        int64_t begin = 0;
        for (int64_t n = 0; n < batch; ++n) {
            if (t.ndim() == 2) begin = n * t.sizes[1];
            first_label.push_back(begin);
            for (int64_t s = 0; s < target_lengths[size_t(n)]; ++s)
                call.check(labels[begin + s] >= 0 && labels[begin + s] < classes, "target ",
                           labels[begin + s], " of sequence ", n, " is out of bounds: there are ", classes,
                           " classes");
            begin += target_lengths[size_t(n)];
        }
        dense_probs = dense(p, p.dtype);
        workspace_each = ctc_workspace(longest);
        workspace = empty({batch, workspace_each}, DType::UInt8);
    }
    CtcSequence sequence(int64_t n, const void* probs, void* alpha, void* work) const {
        const int64_t size = itemsize(log_probs->dtype), width = 2 * longest + 1;
        return {static_cast<const char*>(probs) + n * classes * size,
                batch * classes,
                classes,
                input_lengths[size_t(n)],
                target_lengths[size_t(n)],
                target_data + first_label[size_t(n)],
                blank,
                static_cast<char*>(alpha) + n * steps * width * size,
                width,
                static_cast<char*>(work) + n * workspace_each};
    }
    int64_t work() const { return steps * (2 * longest + 1 + classes); }
    void take_targets() { target_data = targets->numel ? data_of<int64_t>(targets) : nullptr; }

    Tensor* log_probs;
    bool meta;
    int64_t steps, batch, classes, blank, longest = 0, workspace_each = 0;
    std::vector<int64_t> input_lengths, target_lengths, first_label;
    TensorRef targets, dense_probs, workspace;
    const int64_t* target_data = nullptr;

  private:
    std::vector<int64_t> lengths(const Call& call, int param, const char* name) const {
        std::vector<int64_t> found;
        if (call.is_tensor(param)) {
            Tensor& t = call.tensor(param);
            check(is_integral(t.dtype, false), name, " must be integral, got ", info(t.dtype).class_name);
            check(!t.is_meta(), name, " must be on the CPU");
            TensorRef own = own_indices(t);
            if (t.numel) found.assign(data_of<int64_t>(own), data_of<int64_t>(own) + t.numel);
        } else {
            for (int64_t n : call.ints(param)) found.push_back(n);
        }
        check(int64_t(found.size()) == batch, name, " must be of size batch_size: ", batch, ", got ",
              found.size());
        return found;
    }
    static void check_length(const Call& call, const char* name, int64_t n, int64_t most) {
        check(n >= 0, "Expected ", name, " to have value at least 0, but got value ", n,
              " (while checking arguments for ", call.name(), ")");
        check(n <= most, "Expected ", name, " to have value at most ", most, ", but got value ", n,
              " (while checking arguments for ", call.name(), ")");
    }
    static void check_size(const Call& call, const Tensor& t, int dim, int64_t size) {
        check(t.sizes[dim] == size, "Expected tensor to have size ", size, " at dimension ", dim,
              ", but got size ", t.sizes[dim], " for argument #2 'targets' (while checking arguments for ",
              call.name(), ")");
    }
};

// log_probs, targets, input_lengths, target_lengths, blank, zero_infinity
PyObject* ctc_loss(Call& call) {
    Sequences s(call, 0, 4);
    const DType dtype = s.log_probs->dtype;
    const DeviceType device = s.meta ? DeviceType::Meta : DeviceType::Cpu;
    TensorRef loss = empty({s.batch}, dtype, device),
              alpha = empty({s.batch, s.steps, 2 * s.longest + 1}, dtype, device);
    if (s.meta) return call.results({loss, alpha});
    fill(*alpha, Scalar(-INFINITY));  // states beyond a sequence's end
    s.take_targets();
    const void* probs = data_of(s.dense_probs);
    void *a = data_of(alpha), *work = data_of(s.workspace), *out = data_of(loss);
    {
        Unlocked unlocked(s.batch * s.work() > kNnGrain);
        parallel_for(0, s.batch, grain_for(s.work()), [&](int64_t begin, int64_t end) {
            for (int64_t n = begin; n < end; ++n) {
                const double value = ctc_alpha(dtype, s.sequence(n, probs, a, work));
                if (dtype == DType::Float32) static_cast<float*>(out)[n] = float(value);
                else static_cast<double*>(out)[n] = value;
            }
        });
    }
    return call.results({loss, alpha});
}

// grad, log_probs, targets, input_lengths, target_lengths, neg_log_likelihood, log_alpha, blank, zero_infinity
PyObject* ctc_loss_backward(Call& call) {
    Tensor &grad = call.tensor(0), &likelihood = call.tensor(5), &alpha = call.tensor(6);
    Sequences s(call, 1, 7);
    const bool zero_infinity = call.boolean(8);
    const DType dtype = s.log_probs->dtype;
    call.check(grad.numel == s.batch && likelihood.numel == s.batch,
               "expected a gradient and a loss for each of ", s.batch, " sequences, got shapes ",
               str(grad.sizes), " and ", str(likelihood.sizes));
    call.check(alpha.sizes == Dims({s.batch, s.steps, 2 * s.longest + 1}),
               "log_alpha does not have the shape that the forward operator gives");
    if (s.meta) return empty(s.log_probs->sizes, dtype, DeviceType::Meta).release();
    TensorRef out = empty(s.log_probs->sizes, dtype), scales = dense(grad, DType::Float64),
              losses = dense(likelihood, DType::Float64), alphas = dense(alpha, dtype);
    fill(*out, Scalar(0.0));  // steps beyond a sequence's end
    s.take_targets();
    const void* probs = data_of(s.dense_probs);
    const double *scale = data_of<double>(scales), *loss = data_of<double>(losses);
    void *a = data_of(alphas), *work = data_of(s.workspace), *o = data_of(out);
    {
        Unlocked unlocked(s.batch * s.work() > kNnGrain);
        parallel_for(0, s.batch, grain_for(s.work()), [&](int64_t begin, int64_t end) {
            for (int64_t n = begin; n < end; ++n) {
                if (zero_infinity && std::isinf(loss[n])) continue;
                ctc_gradient(dtype, s.sequence(n, probs, a, work), loss[n], scale[n],
                             static_cast<char*>(o) + n * s.classes * itemsize(dtype));
            }
        });
    }
    return out.release();
}

}  // namespace

FLB_OPS({"_ctc_loss", ctc_loss}, {"_ctc_loss_backward", ctc_loss_backward});

}  // namespace flb
