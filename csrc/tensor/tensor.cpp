#include "tensor/tensor.h"

#include <new>

#include "autograd/node.h"
#include "tensor/sparse.h"

namespace flb {

PyTypeObject* TensorType = nullptr;
PyTypeObject* ParameterType = nullptr;

namespace {
DType default_dtype_value = DType::Float32;

// Dead tensors of the exact type, kept for reuse: creating one costs less than a malloc.
constexpr int kMaxFree = 256;
Tensor* free_tensors[kMaxFree];
int free_count = 0;
}  // namespace

bool stored_only_tensors = false;

DType default_dtype() { return default_dtype_value; }
void set_default_dtype(DType dtype) { default_dtype_value = dtype; }

std::string str(Device device) {
    static const char* const names[] = {"cpu", "meta", "cuda", "mps", "xpu", "other"};
    std::string out = names[int(device.type)];
    if (device.index >= 0) out += ":" + std::to_string(int(device.index));
    return out;
}

AutogradMeta& Tensor::ensure_meta() {
    if (!meta) {
        meta = new AutogradMeta();
        // Gradients and hooks can close reference cycles: from here on the collector must see this tensor.
        track_tensor(*this);
    }
    return *meta;
}

void track_tensor(Tensor& t) {
    if (!t.gc_tracked) {
        t.gc_tracked = true;
        if (!PyObject_GC_IsTracked(t.object())) PyObject_GC_Track(t.object());
    }
}

// Fields after the object header, all neutral.
static void construct_fields(Tensor* t) {
    t->dict = nullptr;
    t->weakrefs = nullptr;
    t->storage = nullptr;
    t->own_version = nullptr;
    t->offset = 0;
    t->numel = 0;
    new (&t->sizes) Dims();
    new (&t->strides) Dims();
    t->dtype = DType::Float32;
    t->device = DeviceType::Cpu;
    t->requires_grad_flag = false;
    t->contiguous = true;
    t->inference = false;
    t->gc_tracked = false;
    t->view_kind = ViewKind::Plain;
    t->zero_dim_number = false;
    t->output_nr = 0;
    t->view_version = 0;
    t->base = nullptr;
    t->grad_fn = nullptr;
    t->meta = nullptr;
    t->sparse = nullptr;
    t->wrapped = nullptr;
}

// Of a new tensor.
void set_dtype(Tensor& t, DType dtype) {
    t.dtype = dtype;
    stored_only_tensors |= is_stored_only(dtype);
}

TensorRef new_tensor() {
    Tensor* t;
    if (free_count) {
        t = free_tensors[--free_count];
        PyObject_Init(t->object(), TensorType);  // takes a reference to the heap type, as an allocation does
    } else {
        t = PyObject_GC_New(Tensor, TensorType);
        if (!t) throw Error(ErrorKind::Python, "");
    }
    construct_fields(t);
    t->inference = inference_mode();
    return TensorRef::steal(t);
}

Tensor* construct_subclass(PyTypeObject* type) {
    PyObject* o = type->tp_alloc(type, 0);  // tracked by the collector
    if (!o) throw Error(ErrorKind::Python, "");
    Tensor* t = reinterpret_cast<Tensor*>(o);
    construct_fields(t);
    t->inference = inference_mode();
    t->gc_tracked = true;
    return t;
}

void release_fields(Tensor* t) {
    Py_CLEAR(t->dict);
    if (t->meta) {
        AutogradMeta* meta = t->meta;
        if (meta->retains_grad) drop_retained_gradient(*t);
        t->meta = nullptr;
        if (meta->accumulator) detach_accumulator(meta->accumulator);
        Py_XDECREF(meta->grad);
        Py_XDECREF(meta->hooks);
        Py_XDECREF(meta->post_accumulate);
        delete meta;
    }
    if (t->grad_fn) {
        Node* fn = t->grad_fn;
        t->grad_fn = nullptr;
        Py_DECREF(node_object(fn));
    }
    if (t->wrapped) {
        Wrapped* wrapped = std::exchange(t->wrapped, nullptr);
        Py_DECREF(wrapped->value->object());
        if (wrapped->tangent) Py_DECREF(wrapped->tangent->object());
        delete wrapped;
    }
    if (t->base) {
        Tensor* base = t->base;
        t->base = nullptr;
        Py_DECREF(base->object());
    }
    if (t->own_version) {
        release_version(t->own_version);
        t->own_version = nullptr;
    }
    if (t->storage) {
        release(t->storage);
        t->storage = nullptr;
    }
    if (t->sparse) drop_parts(*t);
    t->sizes.~Dims();
    t->strides.~Dims();
    new (&t->sizes) Dims();
    new (&t->strides) Dims();
}

static void finish_dealloc(Tensor* t) {
    release_fields(t);
    PyTypeObject* type = Py_TYPE(t->object());
    if (type == TensorType && free_count < kMaxFree) free_tensors[free_count++] = t;
    else PyObject_GC_Del(t);
    Py_DECREF(type);
}
static void dealloc_tensor(PyObject* self) {
    Tensor* t = reinterpret_cast<Tensor*>(self);
    if (PyObject_GC_IsTracked(self)) PyObject_GC_UnTrack(self);
    if (t->weakrefs) PyObject_ClearWeakRefs(self);
    if (t->meta) {
        // A gradient can have a gradient, and so on: a long chain must not use up the stack.
        Py_TRASHCAN_BEGIN(self, dealloc_tensor) finish_dealloc(t);
        Py_TRASHCAN_END return;
    }
    finish_dealloc(t);
}
destructor tensor_dealloc = dealloc_tensor;

// ---- making tensors -----------------------------------------------------------------------------------------------

static void finish(Tensor& t) {
    t.numel = checked_numel(t.sizes);
    t.contiguous = is_contiguous(t.sizes, t.strides);
}

static void check_ndim(const Dims& sizes) {
    check(sizes.size() <= kMaxDims, "a tensor has at most ", kMaxDims, " dimensions, got ", sizes.size());
}

TensorRef empty(const Dims& sizes, DType dtype, DeviceType device) {
    check_ndim(sizes);
    const int64_t numel = checked_numel(sizes);
    int64_t nbytes;
    check(!__builtin_mul_overflow(numel, int64_t(itemsize(dtype)), &nbytes),
          "Storage size calculation overflowed with sizes=", str(sizes));
    Storage* storage = new_storage(size_t(nbytes), device);
    TensorRef t = new_tensor();
    t->storage = storage;
    t->numel = numel;
    t->sizes = sizes;
    t->strides = contiguous_strides(sizes);
    set_dtype(*t, dtype);
    t->device = device;
    return t;
}

TensorRef empty_strided(const Dims& sizes, const Dims& strides, DType dtype, DeviceType device) {
    check_ndim(sizes);
    check(sizes.size() == strides.size(), "mismatch in length of strides and shape: ", str(sizes), " and ",
          str(strides));
    for (int64_t s : strides)
        check(s >= 0, "empty_strided(): strides must not be negative, got ", str(strides));
    const int64_t numel = checked_numel(sizes);
    const int64_t nbytes = checked_extent_bytes(sizes, strides, 0, itemsize(dtype));
    Storage* storage = new_storage(size_t(nbytes), device);
    TensorRef t = new_tensor();
    t->storage = storage;
    t->numel = numel;
    t->sizes = sizes;
    t->strides = strides;
    set_dtype(*t, dtype);
    t->device = device;
    t->contiguous = is_contiguous(sizes, strides);
    return t;
}

TensorRef empty_format(const Dims& sizes, DType dtype, DeviceType device, MemoryFormat format) {
    if (format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d) {
        const int n = format == MemoryFormat::ChannelsLast ? 4 : 5;
        check(sizes.size() == n, "required rank ", n, " tensor to use channels_last", n == 5 ? "_3d" : "",
              " format, got shape ", str(sizes));
        checked_numel(sizes);
        return empty_strided(sizes, channels_last_strides(sizes), dtype, device);
    }
    return empty(sizes, dtype, device);
}

TensorRef empty_like(const Tensor& like, DType dtype) {
    if (like.contiguous) return empty(like.sizes, dtype, like.device);
    if (is_non_overlapping_and_dense(like))
        return empty_strided(like.sizes, like.strides, dtype, like.device);
    // Not dense: keep the order of the strides.
    const int n = like.ndim();
    Dims order(n);
    for (int i = 0; i < n; ++i) order[i] = i;
    for (int i = 1; i < n; ++i)
        for (int j = i; j > 0; --j) {
            const int64_t a = like.strides[order[j - 1]], b = like.strides[order[j]];
            const bool swap =
                a != 0 && b != 0 && (a < b || (a == b && like.sizes[order[j - 1]] < like.sizes[order[j]]));
            if (!swap) break;
            std::swap(order[j - 1], order[j]);
        }
    Dims strides(n);
    int64_t stride = 1;
    for (int i = n - 1; i >= 0; --i) {
        strides[order[i]] = stride;
        stride *= like.sizes[order[i]] > 1 ? like.sizes[order[i]] : 1;
    }
    return empty_strided(like.sizes, strides, dtype, like.device);
}

TensorRef scalar_tensor(const Scalar& value, DType dtype, DeviceType device) {
    TensorRef t = empty({}, dtype, device);
    if (device != DeviceType::Meta) value.store(dtype, t->storage->data);
    return t;
}

static void check_window(const Storage& storage, const Dims& sizes, const Dims& strides, int64_t offset,
                         DType dtype) {
    check(sizes.size() == strides.size(), "mismatch in length of strides and shape: ", str(sizes), " and ",
          str(strides));
    check_ndim(sizes);
    checked_numel(sizes);
    const int64_t needed = checked_extent_bytes(sizes, strides, offset, itemsize(dtype));
    check(uint64_t(needed) <= storage.nbytes, "setStorage: sizes ", str(sizes), ", strides ", str(strides),
          ", storage offset ", offset, ", and itemsize ", itemsize(dtype), " requiring a storage size of ",
          needed, " are out of bounds for storage of size ", storage.nbytes);
}

TensorRef from_storage(Storage* storage, const Dims& sizes, const Dims& strides, int64_t offset,
                       DType dtype) {
    check_window(*storage, sizes, strides, offset, dtype);
    TensorRef t = new_tensor();
    retain(storage);
    t->storage = storage;
    t->sizes = sizes;
    t->strides = strides;
    t->offset = offset;
    set_dtype(*t, dtype);
    t->device = storage->device;
    finish(*t);
    return t;
}

TensorRef make_view_dtype(Tensor& of, const Dims& sizes, const Dims& strides, int64_t offset, DType dtype) {
    if (of.sparse) fail_no_memory(of);
    TensorRef t = from_storage(of.storage, sizes, strides, offset, dtype);
    if (of.own_version) {
        t->own_version = of.own_version;
        ++of.own_version->references;
    }
    t->inference = of.inference;
    if (!of.inference) {
        Tensor* base = of.base ? of.base : &of;
        Py_INCREF(base->object());
        t->base = base;
        t->view_kind = of.base && of.view_kind != ViewKind::Plain ? of.view_kind
                       : grad_mode()                              ? ViewKind::Plain
                                                                  : ViewKind::NoGrad;
        t->view_version = version_value_if_any(*t);
    }
    return t;
}

TensorRef make_view(Tensor& of, const Dims& sizes, const Dims& strides, int64_t offset) {
    return make_view_dtype(of, sizes, strides, offset, of.dtype);
}

TensorRef shallow_copy(Tensor& of) {
    TensorRef t = window_copy(of);
    if (__builtin_expect(of.wrapped != nullptr, 0)) {
        t->wrapped = new Wrapped(*of.wrapped);
        Py_INCREF(t->wrapped->value->object());
        if (t->wrapped->tangent) Py_INCREF(t->wrapped->tangent->object());
    }
    return t;
}

TensorRef window_copy(Tensor& of) {
    TensorRef t = new_tensor();
    retain(of.storage);
    t->storage = of.storage;
    if (of.own_version) {
        t->own_version = of.own_version;
        ++of.own_version->references;
    }
    t->offset = of.offset;
    t->numel = of.numel;
    t->sizes = of.sizes;
    t->strides = of.strides;
    t->dtype = of.dtype;
    t->device = of.device;
    t->contiguous = of.contiguous;
    t->inference = of.inference;
    if (of.sparse) set_parts(*t, *of.sparse);
    return t;
}

void set_window(Tensor& t, const Dims& sizes, const Dims& strides, int64_t offset) {
    if (t.sparse) fail_no_memory(t);
    check_window(*t.storage, sizes, strides, offset, t.dtype);
    t.sizes = sizes;
    t.strides = strides;
    t.offset = offset;
    finish(t);
}

void set_storage(Tensor& t, Storage* storage) {
    retain(storage);
    Storage* old = std::exchange(t.storage, storage);
    t.device = storage->device;
    release_when_unused(old);
}

void resize(Tensor& t, const Dims& sizes, MemoryFormat format) {
    check_ndim(sizes);
    if (t.sizes == sizes && format == MemoryFormat::Contiguous) return;
    checked_numel(sizes);
    Dims strides = format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d
                       ? channels_last_strides(sizes)
                       : contiguous_strides(sizes);
    const int64_t needed = checked_extent_bytes(sizes, strides, t.offset, itemsize(t.dtype));
    if (uint64_t(needed) > t.storage->nbytes) resize_storage(t.storage, size_t(needed));
    set_window(t, sizes, strides, t.offset);
}

// ---- looking at tensors -------------------------------------------------------------------------------------------

bool is_contiguous(const Dims& sizes, const Dims& strides) {
    int64_t expected = 1;
    for (int i = sizes.size() - 1; i >= 0; --i) {
        if (sizes[i] == 0) return true;
        if (sizes[i] == 1) continue;
        if (strides[i] != expected) {
            for (int j = i - 1; j >= 0; --j)
                if (sizes[j] == 0) return true;
            return false;
        }
        expected = wrapping_mul(expected, sizes[i]);
    }
    return true;
}

bool is_contiguous(const Tensor& t, MemoryFormat format) {
    if (format == MemoryFormat::Contiguous || format == MemoryFormat::Preserve) return t.contiguous;
    const int n = format == MemoryFormat::ChannelsLast ? 4 : 5;
    if (t.ndim() != n) return false;
    if (t.numel == 0) return true;
    const Dims want = channels_last_strides(t.sizes);
    for (int i = 0; i < n; ++i)
        if (t.sizes[i] != 1 && t.strides[i] != want[i]) return false;
    return true;
}

// Dimensions of size > 1, innermost stride first; false when two strides tie at sizes above 1 with stride 0.
static int sorted_dims(const Tensor& t, int* order) {
    int n = 0;
    for (int i = 0; i < t.ndim(); ++i)
        if (t.sizes[i] != 1) {
            int j = n++;
            for (; j > 0 && t.strides[order[j - 1]] > t.strides[i]; --j) order[j] = order[j - 1];
            order[j] = i;
        }
    return n;
}

bool is_non_overlapping_and_dense(const Tensor& t) {
    if (t.contiguous) return true;
    int order[kMaxDims];
    const int n = sorted_dims(t, order);
    int64_t expected = 1;
    for (int i = 0; i < n; ++i) {
        if (t.strides[order[i]] != expected) return false;
        expected *= t.sizes[order[i]];
    }
    return true;
}

bool has_internal_overlap(const Tensor& t) {
    if (t.contiguous || t.numel <= 1) return false;
    // Like PyTorch, only the certain case counts: a dimension that repeats one element.
    for (int i = 0; i < t.ndim(); ++i)
        if (t.sizes[i] > 1 && t.strides[i] == 0) return true;
    return false;
}

MemoryFormat suggested_format(const Tensor& t) {
    const auto looks_like = [&](int n) {
        if (t.ndim() != n || t.strides[1] == 0) return false;
        // Channels innermost, then from the last spatial dimension outwards; each stride at least spans the last.
        int64_t least = 0;
        const int order5[] = {1, 4, 3, 2, 0}, order4[] = {1, 3, 2, 0};
        const int* order = n == 5 ? order5 : order4;
        for (int k = 0; k < n; ++k) {
            const int d = order[k];
            if (t.sizes[d] == 0 || t.strides[d] < least) return false;
            if (d == 0 && least == t.strides[1]) return false;  // all of size one: ambiguous, contiguous wins
            least = wrapping_mul(t.strides[d], t.sizes[d] > 1 ? t.sizes[d] : 1);
        }
        return true;
    };
    if (looks_like(4)) return MemoryFormat::ChannelsLast;
    if (looks_like(5)) return MemoryFormat::ChannelsLast3d;
    return MemoryFormat::Contiguous;
}

[[noreturn, gnu::cold]] static void fail_without_data(const Tensor& t) {
    check(!t.is_batched(), "vmap: a tensor of shape ", str(t.sizes),
          " stands for one example of a batch here, and has no data of its own: what was called needs the "
          "elements. "
          "Use operators on tensors instead, or call it outside of vmap");
    check(t.is_meta(), "a tensor of shape ", str(t.sizes), " escaped from vmap: its elements cannot be read");
    fail(ErrorKind::NotImplemented,
         "Cannot copy out of meta tensor; no data! A kernel needs data, and a meta tensor has only a shape");
}

char* kernel_pointer(const Tensor& t) {
    const Storage& s = *t.storage;
    if (__builtin_expect(s.device == DeviceType::Meta, 0)) fail_without_data(t);
    if (t.numel == 0) return nullptr;
    const int64_t size = itemsize(t.dtype);
    int64_t last = t.offset;
    if (t.contiguous) {
        last += t.numel - 1;
    } else {
        for (int i = 0; i < t.ndim(); ++i) last += (t.sizes[i] - 1) * t.strides[i];
    }
    // No overflow here: the window was proved in 64 bits when it was made, and only the storage can have changed. A sparse
    // tensor, whose storage has no bytes and whose strides are 0, fails here.
    const bool proved = uint64_t(last + 1) * uint64_t(size) <= s.nbytes;
    if (!proved && t.sparse) fail_no_memory(t);
    check(proved, "a tensor of shape ", str(t.sizes), ", strides ", str(t.strides), " and storage offset ",
          t.offset, " is out of bounds for storage of size ", s.nbytes,
          " (the storage was resized after the tensor was made)");
    return static_cast<char*>(s.data) + t.offset * size;
}

bool view_strides(const Tensor& t, const Dims& shape, Dims* strides) {
    strides->resize(shape.size());
    if (t.numel == 0) {
        *strides = t.sizes == shape ? t.strides : contiguous_strides(shape);
        return true;
    }
    if (t.contiguous) {
        *strides = contiguous_strides(shape);
        return true;
    }
    // Walk both shapes from the back, one maximal run of mergeable input dimensions at a time.
    int out = shape.size() - 1;
    int64_t run_stride = t.ndim() ? t.strides.back() : 1, run_numel = 1, out_numel = 1;
    for (int d = t.ndim() - 1; d >= 0; --d) {
        run_numel *= t.sizes[d];
        const bool run_ends =
            d == 0 || (t.sizes[d - 1] != 1 && t.strides[d - 1] != wrapping_mul(run_numel, run_stride));
        if (!run_ends) continue;
        while (out >= 0 && (out_numel < run_numel || shape[out] == 1)) {
            (*strides)[out] = wrapping_mul(out_numel, run_stride);
            out_numel *= shape[out];
            --out;
        }
        if (out_numel != run_numel) return false;
        if (d > 0) {
            run_stride = t.strides[d - 1];
            run_numel = out_numel = 1;
        }
    }
    return out == -1;
}

void release_version(Version* version) {
    if (--version->references == 0) {
        Py_XDECREF(static_cast<PyObject*>(version->writer.code));
        delete version;
    }
}

Version& version_of(Tensor& t) {
    if (t.own_version) return *t.own_version;
    if (!t.storage->version) t.storage->version = new Version();
    return *t.storage->version;
}

uint32_t version_value_if_any(const Tensor& t) {
    const Version* v = t.own_version ? t.own_version : t.storage->version;
    return v ? v->value : 0;
}

void bump_version(Tensor& t, const char* writer_name) {
    if (t.inference) return;
    Version& v = version_of(t);
    ++v.value;
    v.writer_name = writer_name;
    Site site = capture_site();
    PyObject* old = static_cast<PyObject*>(v.writer.code);
    v.writer = site;
    Py_XDECREF(old);
}

}  // namespace flb
