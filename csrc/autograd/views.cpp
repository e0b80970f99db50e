// Histories of tensors: leaves and their accumulators, in-place writes, and views that share memory with a base.
//
// Note [Views and in-place writes]: a view knows its base, which is never a view itself. An in-place write to a view
// gives the *base* a new history: a CopySlices node, which sends the gradient of the written window through the
// operator and the rest to the base's earlier history. The history of every view of that base is then stale, which its
// `view_version` shows, and grad_fn_of makes it anew: an as_strided of the base.
#include <cstring>

#include "autograd/node.h"
#include "bindings/op.h"
#include "bindings/types.h"

namespace flb {

// A node that shall give a tensor its gradient knows the tensor by address only: before the tensor takes another history,
// or dies, the node must forget it. `meta->retains_grad` stays.
static void forget_retaining(Tensor& t) {
    if (!t.meta || !t.meta->retains_grad || !t.grad_fn || !t.grad_fn->hooks || !t.grad_fn->hooks->outputs)
        return;
    OutputHooks& hooks = t.grad_fn->hooks->outputs[t.output_nr];
    if (hooks.retains_grad == &t) hooks.retains_grad = nullptr;
}

// ---- histories --------------------------------------------------------------------------------------------------------

void set_history(Tensor& t, Node* node, int output_nr) {
    forget_retaining(t);
    Py_INCREF(node_object(node));
    Node* old = t.grad_fn;
    t.grad_fn = node;
    t.output_nr = uint32_t(output_nr);
    t.requires_grad_flag = false;
    if (t.base) t.view_version = version_value_if_any(t);
    if (old) Py_DECREF(node_object(old));
}

Edge gradient_edge(Tensor& t) {
    if (t.base) grad_fn_of(t);  // renews a stale history
    if (t.grad_fn) {
        Py_INCREF(node_object(t.grad_fn));
        return {t.grad_fn, t.output_nr};
    }
    if (t.requires_grad_flag) return {accumulator_of(t), 0};
    return {};
}

bool Tensor::view_has_history() { return grad_fn_of(*this) != nullptr; }

static OpHandle as_strided("as_strided");
static OpHandle view_as_real("view_as_real");
static OpHandle view_as_complex("view_as_complex");

// `of` seen through the window that `view` has on its base, by differentiable operators. `of` has base's geometry.
static TensorRef view_window(Tensor& of, const Tensor& base, const Tensor& view) {
    const auto window = [](Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset) {
        ObjectRef py_sizes = ObjectRef::steal(size_object(sizes)),
                  py_strides = ObjectRef::steal(size_object(strides));
        ObjectRef py_offset = ObjectRef::steal(checked_object(PyLong_FromLongLong(offset)));
        return invoke_tensor(as_strided, {t.object(), py_sizes.get(), py_strides.get(), py_offset.get()});
    };
    const int64_t unit = itemsize(view.dtype);
    const int64_t shift = base.offset * itemsize(base.dtype) - of.offset * itemsize(of.dtype);
    if (view.dtype == base.dtype) return window(of, view.sizes, view.strides, view.offset - shift / unit);
    if (is_complex(base.dtype) && view.dtype == info(base.dtype).real) {
        TensorRef real = invoke_tensor(view_as_real, {of.object()});
        return window(*real, view.sizes, view.strides, view.offset - shift / unit);
    }
    if (is_complex(view.dtype) && base.dtype == info(view.dtype).real) {
        Dims sizes = view.sizes, strides = view.strides;
        for (int64_t& s : strides) s *= 2;
        sizes.push_back(2);
        strides.push_back(1);
        TensorRef pairs = window(of, sizes, strides, 2 * view.offset - shift / itemsize(base.dtype));
        return invoke_tensor(view_as_complex, {pairs.object()});
    }
    fail(ErrorKind::Runtime, "a view of dtype ", name_of(view.dtype), " of a base of dtype ",
         name_of(base.dtype),
         " has no derivative after an in-place write to one of them. Work on a clone() instead");
}

namespace {

std::string producer_name(Tensor& t) {
    if (!t.grad_fn) return "the operator";
    std::string name = node_name(t.grad_fn);
    const size_t suffix = name.rfind("Backward");
    if (suffix != std::string::npos && suffix) name.resize(suffix);
    return name;
}

// The write that made the view ambiguous is either to itself (`indirect` false) or to its base.
[[noreturn, gnu::cold]] void fail_view_write(Tensor& t, bool indirect) {
    const char* what = indirect ? " and its base or another view of its base has been modified inplace"
                                : " and is being modified inplace";
    std::string message;
    const char* mode = t.view_kind == ViewKind::Inference ? "inference" : "no_grad";
    const bool by_mode = t.view_kind == ViewKind::Inference || t.view_kind == ViewKind::NoGrad;
    if (t.grad_fn)
        message = join("Output ", t.output_nr, " of ", producer_name(t), " is a view",
                       by_mode ? join(" of a view which was created in ", mode, " mode") : "", what, ". ");
    else message = join("A view was created in ", mode, " mode", what, " with grad mode enabled. ");
    switch (t.view_kind) {
        case ViewKind::MultiOutput:
            message +=
                "This view is the output of a function that returns multiple views. Such functions do not "
                "allow the "
                "output views to be modified inplace. You should replace the inplace operation by an "
                "out-of-place one.";
            break;
        case ViewKind::CustomFunction:
            message +=
                "This view was created inside a custom Function (or because an input was returned as-is) and "
                "the "
                "autograd logic to handle view+inplace would override the custom backward associated with "
                "the custom "
                "Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by "
                "cloning "
                "the output of the custom Function.";
            break;
        case ViewKind::Inference:
            message +=
                "Inference-mode views cannot be written where gradients are recorded. Clone the view first.";
            break;
        default:
            message +=
                "Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify "
                "your code by "
                "moving both the view and the inplace either both inside the no_grad block (if you don't "
                "want the "
                "inplace to be tracked) or both outside (if you want the inplace to be tracked).";
    }
    fail(ErrorKind::Runtime, message);
}

}  // namespace

Node* grad_fn_of(Tensor& t) {
    if (!t.base || !is_differentiable(t.dtype) || version_value_if_any(t) == t.view_version) return t.grad_fn;
    if (!t.base->requires_grad()) return t.grad_fn;
    if (t.requires_grad_flag) return t.grad_fn;  // a leaf by its own wish
    if (t.view_kind != ViewKind::Plain) fail_view_write(t, true);
    GradModeGuard recording(true);
    TensorRef again = view_window(*t.base, *t.base, t);
    if (again->grad_fn) set_history(t, again->grad_fn, int(again->output_nr));
    if (t.meta && t.meta->retains_grad) {
        t.meta->retains_grad = false;
        retain_gradient(t);
    }
    return t.grad_fn;
}

void mark_multi_output_view(Tensor& t) {
    if (t.view_kind == ViewKind::Plain) t.view_kind = ViewKind::MultiOutput;
}

// ---- in-place writes ---------------------------------------------------------------------------------------------------

void check_inplace(Tensor& t, bool recorded) {
    if (__builtin_expect(t.inference, 0))
        check(inference_mode(),
              "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a "
              "clone to get a normal tensor before doing inplace update.See "
              "https://github.com/pytorch/rfcs/pull/17 for "
              "more details.");
    if (!modes.grad) return;
    if (recorded && t.base && t.view_kind != ViewKind::Plain) fail_view_write(t, false);
    if (t.requires_grad()) {
        if (t.base) {
            if (t.view_kind != ViewKind::Plain) fail_view_write(t, false);
            check(!(t.base->requires_grad_flag && t.base->is_leaf()),
                  "a view of a leaf Variable that requires grad is being used in an in-place operation.");
        }
        check(!t.is_leaf(), "a leaf Variable that requires grad is being used in an in-place operation.");
    }
}

namespace {

void apply_copy_slices(Node* n, TensorRef* in, TensorRef* out);

// The geometry of the base and of the view that was written: tensors without history, data or gradient, so that the
// node keeps no memory alive.
struct SliceGeometry {
    TensorRef base, view;
};
void destroy_geometry(Node* n) {
    delete static_cast<SliceGeometry*>(n->data);
    n->data = nullptr;
}
void release_inner(Node* n) {
    if (n->payload) release_saved(reinterpret_cast<Node*>(n->payload));
}
const NodeKind kCopySlices = {"CopySlices", "CopySlices", apply_copy_slices, destroy_geometry, release_inner};

TensorRef geometry_of(const Tensor& t) {
    TensorRef g = empty_strided(t.sizes, t.strides, t.dtype, DeviceType::Meta);
    g->offset = t.offset;
    return g;
}

OpHandle copy_("copy_");
OpHandle clone_op("clone");

// A copy of `grad` with base's geometry. Inside a transform the copy is made of what is to be written to it, `like`, so that
// it is a batch where that is one.
TensorRef writable_gradient(const TensorRef& grad, const Tensor& base, TensorRef like = {}) {
    static OpHandle new_empty_strided("new_empty_strided");
    ObjectRef sizes = ObjectRef::steal(size_object(base.sizes)),
              strides = ObjectRef::steal(size_object(base.strides));
    TensorRef copy = invoke_tensor(new_empty_strided, {(like ? like : grad).object(), sizes.get(),
                                                       strides.get(), dtype_object(base.dtype)});
    return invoke_tensor(copy_, {copy.object(), grad.object()});
}

// The gradient of the base splits: the window goes through the inner operator, what lies outside stays.
void apply_copy_slices(Node* n, TensorRef* in, TensorRef* out) {
    if (!in[0]) return;
    Node* inner = reinterpret_cast<Node*>(n->payload);
    if (!inner) fail_released();
    const SliceGeometry& g = *static_cast<SliceGeometry*>(n->data);
    const bool by_operators = grad_mode() || modes.transforms;
    TensorRef result = by_operators
                           ? writable_gradient(in[0], *g.base)
                           : empty_strided(g.base->sizes, g.base->strides, g.base->dtype, in[0]->device);
    TensorRef window, grad_window;
    const auto native_window = [&] {
        const int64_t shift = g.base->offset * itemsize(g.base->dtype) / itemsize(g.view->dtype);
        return make_view_dtype(*result, g.view->sizes, g.view->strides, g.view->offset - shift,
                               g.view->dtype);
    };
    if (by_operators) {
        window = view_window(*result, *g.base, *g.view);
        grad_window = invoke_tensor(clone_op, {window.object()});
    } else {
        copy_into(*result, *in[0]);
        window = native_window();
        grad_window = clone(*window, MemoryFormat::Contiguous);
    }
    std::vector<TensorRef> inner_out(size_t(inner->num_edges));
    inner->kind->apply(inner, &grad_window, inner_out.data());
    if (inner->num_edges && n->edges[0].node) {
        TensorRef kept = inner_out[0];
        if (!kept) kept = zeros_for(inner->outputs[0]);
        if (by_operators) {
            if (kept->wrapped) result = writable_gradient(result, *g.base, kept);
            window = view_window(*result, *g.base, *g.view);
            invoke_tensor(copy_, {window.object(), kept.object()});
        } else {
            kept = fit_gradient(kept, inner->outputs[0], inner, 0);
            copy_into(*window, *kept);
        }
        out[0] = std::move(result);
    }
    for (int i = 1; i < n->num_edges; ++i) out[i] = std::move(inner_out[size_t(i)]);
}

}  // namespace

void rebase_history(Tensor& t, Node* node, int output_nr) {
    if (!t.base) {
        Node* old = t.grad_fn;
        Py_XINCREF(node_object(old));
        const bool retains = t.meta && t.meta->retains_grad;
        if (retains) drop_retained_gradient(t);
        set_history(t, node, output_nr);
        if (retains) retain_gradient(t);
        Py_XDECREF(node_object(old));
        return;
    }
    Tensor& base = *t.base;
    check(node->num_outputs == 1, "an in-place operator that returns several tensors cannot write to a view");
    Ref<Node> slices = Ref<Node>::steal(new_node(&kCopySlices, node->num_edges ? node->num_edges : 1, 0, 1));
    slices->edges[0] = gradient_edge(base);
    for (int i = 1; i < node->num_edges; ++i) {
        slices->edges[i] = node->edges[i];
        Py_XINCREF(node_object(node->edges[i].node));
    }
    Py_INCREF(node_object(node));
    slices->payload = node_object(node);
    slices->data = new SliceGeometry{geometry_of(base), geometry_of(t)};
    slices->site = node->site;
    Py_XINCREF(static_cast<PyObject*>(slices->site.code));
    set_output_meta(slices.get(), 0, base);
    rebase_history(base, slices.get(), 0);
    // The view's own history is now stale; it is made anew when somebody looks.
    forget_retaining(t);
    Node* old = t.grad_fn;
    t.grad_fn = nullptr;
    t.requires_grad_flag = false;
    t.view_version = version_value_if_any(t) - 1;
    Py_XDECREF(node_object(old));
}

void detach_inplace(Tensor& t) {
    check(!t.base,
          "Can't detach views in-place. Use detach() instead. (Gradients that are views into a larger "
          "buffer, as "
          "distributed training makes them, can't be detached in-place either.)");
    drop_retained_gradient(t);
    Node* old = t.grad_fn;
    t.grad_fn = nullptr;
    t.output_nr = 0;
    t.requires_grad_flag = false;
    Py_XDECREF(node_object(old));
}

// ---- leaves --------------------------------------------------------------------------------------------------------------

void set_requires_grad(Tensor& t, bool value) {
    check(value || t.is_leaf(),
          "you can only change requires_grad flags of leaf variables. If you want to use a computed "
          "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    check(!value || is_differentiable(t.dtype), "only Tensors of floating point dtype can require gradients");
    check(!value || !t.inference || inference_mode(),
          "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
    if (t.is_leaf()) t.requires_grad_flag = value;
}

void assign_grad(Tensor& t, PyObject* value) {
    if (!value || value == Py_None) {
        if (t.meta) Py_CLEAR(t.meta->grad);
        return;
    }
    check_as(ErrorKind::Type, is_tensor(value),
             "assigned grad expected to be a Tensor or None but got grad of type ", Py_TYPE(value)->tp_name);
    Tensor& grad = *reinterpret_cast<Tensor*>(value);
    check(&grad != &t, "can't assign Variable as its own grad");
    check(grad.dtype == t.dtype, "attempting to assign a gradient with dtype '", name_of(grad.dtype),
          "' to a tensor with grad_dtype '", info(t.dtype).class_name,
          "'. The gradient must match the tensor's grad_dtype "
          "(defaults to the tensor's dtype): convert it first");
    check(grad.device == t.device,
          "attempting to assign a gradient located on device with a type that differs from the "
          "tensor's. Move it first");
    check(grad.sizes == t.sizes, "attempting to assign a gradient of size '", str(grad.sizes),
          "' to a tensor of size '", str(t.sizes),
          "'. Please ensure that the gradient and the tensor are the same size");
    AutogradMeta& meta = t.ensure_meta();
    PyObject* old = meta.grad;
    Py_INCREF(value);
    meta.grad = value;
    Py_XDECREF(old);
}

// ---- retained gradients ---------------------------------------------------------------------------------------------------

void retain_gradient(Tensor& t) {
    check(t.requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
    if (t.is_leaf()) return;
    Node* fn = grad_fn_of(t);
    AutogradMeta& meta = t.ensure_meta();
    if (meta.retains_grad) return;
    ensure_output_hooks(fn, int(t.output_nr)).retains_grad = &t;
    meta.retains_grad = true;
}

void drop_retained_gradient(Tensor& t) {
    if (!t.meta || !t.meta->retains_grad) return;
    forget_retaining(t);
    t.meta->retains_grad = false;
}

}  // namespace flb
