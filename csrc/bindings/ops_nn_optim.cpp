// One step of an optimizer over lists of tensors: the memory of all of them is cut into pieces that threads take.
#include <cmath>
#include <vector>

#include "bindings/nn_common.h"
#include "bindings/types.h"
#include "kernels/nn_kernels.h"

namespace flb {
namespace {

constexpr int kMaxLists = 5;
constexpr int64_t kPiece = 1 << 15;

// Parameter, gradient and state of one step. Tensors that the kernels cannot take as they are (strided, or of half
// precision) are worked on as copies, which `finish` writes back.
class StepLists {
  public:
    // lists[0] and all from lists[2] on are written; lists[1] is read. A null list is absent.
    StepLists(Call& call, std::initializer_list<int> params) : call_(call) {
        for (int p : params) {
            lists_.push_back(call.tensors(p));
            names_.push_back(PyUnicode_AsUTF8((*call.op->params)[size_t(p)].name));
        }
        const size_t n = lists_[0].size();
        for (size_t k = 0; k < lists_.size(); ++k) {
            if (lists_[k].empty() && k > 1) continue;
            call.check(lists_[k].size() == n, "expected ", n, " tensors in ", names_[k], ", got ",
                       lists_[k].size());
            for (size_t i = 0; i < n; ++i) check_tensor(k, i);
        }
    }
    size_t size() const { return lists_[0].size(); }

    // update(i, dtype, pointers, begin, end) for pieces of every parameter.
    template <class F>
    void run(F update) {
        struct Item {
            DType dtype;
            int64_t numel;
            void* data[kMaxLists];
        };
        std::vector<Item> items(size());
        std::vector<std::pair<uint32_t, int64_t>> pieces;
        int64_t total = 0;
        for (size_t i = 0; i < size(); ++i) {
            const Tensor& param = *lists_[0][i];
            items[i] = {param.dtype == DType::Float64 ? DType::Float64 : DType::Float32, param.numel, {}};
            for (size_t k = 0; k < lists_.size(); ++k)
                if (!lists_[k].empty() && param.numel)
                    items[i].data[k] = dense_data(*lists_[k][i], items[i].dtype, k != 1);
            for (int64_t at = 0; at < param.numel; at += kPiece) pieces.push_back({uint32_t(i), at});
            total += param.numel;
        }
        {
            Unlocked unlocked(total > kNnGrain);
            parallel_for(0, int64_t(pieces.size()), total < 2 * kPiece ? int64_t(pieces.size()) : 1,
                         [&](int64_t b, int64_t e) {
                             for (int64_t j = b; j < e; ++j) {
                                 const auto [i, at] = pieces[size_t(j)];
                                 update(i, items[i].dtype, items[i].data, at,
                                        std::min(items[i].numel, at + kPiece));
                             }
                         });
        }
        for (const auto& [to, from] : copies_) copy_into(*to, *from);
        for (size_t k = 0; k < lists_.size(); ++k)
            if (k != 1)
                for (Tensor* t : lists_[k]) bump_version(*t, call_.name());
    }

  private:
    void check_tensor(size_t k, size_t i) {
        const Tensor &param = *lists_[0][i], *t = lists_[k][i];
        call_.check(t, names_[k], "[", i, "] is None");
        call_.check(t->sizes == param.sizes, names_[k], "[", i, "] has shape ", str(t->sizes),
                    ", the parameter ", str(param.sizes));
        call_.check(is_floating(t->dtype), names_[k], "[", i, "] must be of floating point, got ",
                    name_of(t->dtype));
        call_.check(!t->is_meta(), names_[k], "[", i, "] is on the meta device");
        call_.check(k == 1 || !has_internal_overlap(*t), names_[k], "[", i,
                    "] has elements that share memory; clone it first");
    }
    void* dense_data(Tensor& t, DType dtype, bool written) {
        if (written && t.storage->read_only) own_memory(t.storage);
        if (t.contiguous && t.dtype == dtype) return kernel_pointer(t);
        TensorRef copy = dense(t, dtype);
        if (written) copies_.push_back({&t, copy});
        else kept_.push_back(copy);
        return kernel_pointer(*copy);
    }

    Call& call_;
    std::vector<std::vector<Tensor*>> lists_;
    std::vector<const char*> names_;
    std::vector<std::pair<Tensor*, TensorRef>> copies_;
    std::vector<TensorRef> kept_;
};

PyObject* sgd_step(
    Call& call) {  // params, grads, buffers, lr, momentum, dampening, weight_decay, nesterov, maximize
    const SgdStep step{call.real(3), call.real(4),    call.real(5),
                       call.real(6), call.boolean(7), call.boolean(8)};
    StepLists lists(call, {0, 1, 2});
    lists.run([&](size_t, DType dtype, void** d, int64_t b, int64_t e) {
        sgd_update(dtype, step, d[0], d[1], d[2], b, e);
    });
    Py_RETURN_NONE;
}

// params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
PyObject* adam_step(Call& call) {
    StepLists lists(call, {0, 1, 2, 3, 4});
    const std::vector<Tensor*> counts = call.tensors(5);
    call.check(counts.size() == lists.size(), "expected ", lists.size(), " step counts, got ", counts.size());
    for (Tensor* t : counts)
        call.check(t && t->numel == 1 && !t->is_meta(), "a step count must be a tensor of one element");
    std::vector<AdamStep> steps;
    for (Tensor* t : counts) {
        const double step = item(*t).to_double() + 1;
        const double beta1 = call.real(7), beta2 = call.real(8);
        steps.push_back({call.real(6), beta1, beta2, call.real(9), call.real(10), call.boolean(11),
                         call.boolean(12), 1 - std::pow(beta1, step), std::sqrt(1 - std::pow(beta2, step))});
        fill(*t, Scalar(step));
        bump_version(*t, call.name());
    }
    lists.run([&](size_t i, DType dtype, void** d, int64_t b, int64_t e) {
        adam_update(dtype, steps[i], d[0], d[1], d[2], d[3], d[4], b, e);
    });
    Py_RETURN_NONE;
}

}  // namespace

FLB_OPS({"sgd_step", sgd_step}, {"adam_step", adam_step});

}  // namespace flb
