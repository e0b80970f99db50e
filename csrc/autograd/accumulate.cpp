// AccumulateGrad: the node at which a leaf's gradient arrives.
#include <utility>

#include "autograd/node.h"
#include "bindings/op.h"
#include "kernels/pointwise.h"
#include "tensor/sparse.h"

namespace flb {

namespace {

OpHandle add_into_op("add_");
OpHandle clone_op("clone");

// A gradient becomes `.grad` as it is when nobody else holds it and it lies in memory like the leaf.
bool can_take(const TensorRef& grad, const Tensor& leaf) {
    if (Py_REFCNT(grad.object()) != 1 || grad->storage->references != 1 || grad->base || grad->grad_fn)
        return false;
    if (!is_non_overlapping_and_dense(leaf)) return grad->contiguous;
    if (grad->contiguous && leaf.contiguous) return true;
    for (int i = 0; i < leaf.ndim(); ++i)
        if (leaf.sizes[i] > 1 && grad->strides[i] != leaf.strides[i]) return false;
    return true;
}

// The same of a sparse gradient: its values are nobody else's.
bool can_take_parts(const TensorRef& grad) {
    return Py_REFCNT(grad.object()) == 1 && !grad->grad_fn &&
           grad->sparse->values->storage->references == 1 && grad->sparse->indices->storage->references == 1;
}

void apply_accumulate(Node* n, TensorRef* in, TensorRef*) {
    if (!in[0] || !n->payload) return;
    Tensor& leaf = *reinterpret_cast<Tensor*>(n->payload);
    AutogradMeta& meta = leaf.ensure_meta();
    TensorRef incoming = std::move(in[0]);
    if (!meta.grad) {
        if (grad_mode() || incoming->wrapped || (incoming->sparse && !can_take_parts(incoming))) {
            incoming = invoke_tensor(clone_op, {incoming.object()});
        } else if (!incoming->sparse && !can_take(incoming, leaf)) {
            const bool dense = is_non_overlapping_and_dense(leaf);
            TensorRef copy = dense
                                 ? empty_strided(leaf.sizes, leaf.strides, incoming->dtype, incoming->device)
                                 : empty(leaf.sizes, incoming->dtype, incoming->device);
            if (!copy->is_meta()) copy_into(*copy, *incoming);
            incoming = std::move(copy);
        }
        PyObject* old = std::exchange(meta.grad, incoming.release());
        Py_XDECREF(old);
        return;
    }
    // Held: another thread may set `.grad` while this one adds.
    const TensorRef grad = TensorRef::borrow(meta.grad);
    if (grad_mode() || incoming->wrapped || grad->wrapped || (grad->sparse && !incoming->sparse)) {
        TensorRef sum = add_gradients(grad, incoming);
        PyObject* old = std::exchange(meta.grad, sum.release());
        Py_XDECREF(old);
        return;
    }
    if (grad->is_meta()) return;
    if (incoming->sparse) {
        invoke_tensor(add_into_op, {grad.object(), incoming.object()});
        return;
    }
    if (grad->storage->read_only) own_memory(grad->storage);
    add_into(*grad, *incoming);
    bump_version(*grad, "accumulating a gradient");
}

void destroy_accumulate(Node* n) {
    if (!n->payload) return;
    Tensor& leaf = *reinterpret_cast<Tensor*>(n->payload);
    if (leaf.meta && leaf.meta->accumulator == n) leaf.meta->accumulator = nullptr;
}

}  // namespace

const NodeKind kAccumulateGrad = {"AccumulateGrad", "torch::autograd::AccumulateGrad", apply_accumulate,
                                  destroy_accumulate, nullptr};

Node* accumulator_of(Tensor& leaf) {
    AutogradMeta& meta = leaf.ensure_meta();
    if (meta.accumulator) {
        Py_INCREF(node_object(meta.accumulator));
    } else {
        Node* n = new_node(&kAccumulateGrad, 0, 0, 1);
        n->sequence = UINT64_MAX;  // runs as soon as it can, which frees memory early
        Py_INCREF(leaf.object());
        n->payload = leaf.object();
        meta.accumulator = n;
    }
    set_output_meta(meta.accumulator, 0, leaf);
    return meta.accumulator;
}

void detach_accumulator(Node* accumulator) {
    // The leaf dies although its accumulator lives: only the cycle collector does that.
    accumulator->payload = nullptr;
}

}  // namespace flb
