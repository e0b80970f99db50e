// Copies, casts and fills, which everything else is made of.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/interpreter.h"
#include "core/parallel.h"
#include "kernels/block_moves.h"
#include "kernels/iterator.h"
#include "kernels/strided.h"
#include "tensor/tensor.h"

namespace flb {

namespace {

// Of results: up to the first they stay in the cache, from the second on they will not be there when they are read.
constexpr int64_t kConvertedBytes = int64_t(1) << 20, kStreamedBytes = int64_t(8) << 20;
constexpr int64_t kConvertGrain = 32768;

// n elements of one value: the first few, and copies of these.
template <class T>
void repeat(char* out, T value, int64_t n) {
    constexpr int64_t kPattern = 2048 / int64_t(sizeof(T));
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    bool equal = true;
    for (size_t i = 1; i < sizeof(T); ++i) equal &= bytes[i] == bytes[0];
    if (equal) {
        if (n > 0) std::memset(out, bytes[0], size_t(n) * sizeof(T));
        return;
    }
    T* o = reinterpret_cast<T*>(out);
    for (int64_t i = 0; i < n && i < kPattern; ++i) o[i] = value;
    for (int64_t i = kPattern; i < n; i += kPattern)
        std::memcpy(o + i, o, size_t(std::min(kPattern, n - i)) * sizeof(T));
}

template <class T>
void copy_loop(char* const* data, const int64_t* strides, int64_t n, const void*) {
    const int64_t so = strides[0], si = strides[1];
    if (so == sizeof(T) && si == sizeof(T)) {
        std::memmove(data[0], data[1], size_t(n) * sizeof(T));
        return;
    }
    char* out = data[0];
    const char* in = data[1];
    if (so == sizeof(T) && si == 0) {
        repeat(out, *reinterpret_cast<const T*>(in), n);
        return;
    }
    if (so == sizeof(T)) return gather_elements(int(sizeof(T)), out, in, si, n);
    for (int64_t i = 0; i < n; ++i, out += so, in += si)
        *reinterpret_cast<T*>(out) = *reinterpret_cast<const T*>(in);
}

Loop copy_loop_of(DType t) {
    return visit_width(t, [](auto tag) -> Loop { return copy_loop<typename decltype(tag)::type>; });
}

// Arrays are converted from one to the other, without the iterator's block between them, or with one that is written past
// the cache.
bool convert_directly(Tensor& out, Tensor& in) {
    const int64_t to_size = itemsize(out.dtype), from_size = itemsize(in.dtype), bytes = out.numel * to_size;
    const bool streams = bytes >= kStreamedBytes;
    if (out.dtype == in.dtype || !out.contiguous || !in.contiguous || out.sizes != in.sizes ||
        (bytes > kConvertedBytes && !streams))
        return false;
    char* to = kernel_pointer(out);
    const char* from = kernel_pointer(in);
    if (streams && (reinterpret_cast<uintptr_t>(to) % 64 || to == from)) return false;
    const CastLoop convert = find_cast(out.dtype, in.dtype);
    const bool halves = in.dtype == DType::Float32 && out.dtype == DType::Float16;
    constexpr int64_t kBlock = 1024;  // elements
    Unlocked unlocked(out.numel > kConvertGrain);
    parallel_for(0, out.numel, kConvertGrain, [&](int64_t begin, int64_t end) {
        if (!streams) return convert(to + begin * to_size, from + begin * from_size, end - begin);
        alignas(64) char block[kBlock * 16];
        for (int64_t i = begin; i < end && !halves; i += kBlock) {
            const int64_t count = std::min(kBlock, end - i);
            convert(block, from + i * from_size, count);
            stream_block(to + i * to_size, block, count * to_size);
        }
        if (halves)
            stream_halves(to + begin * to_size, reinterpret_cast<const float*>(from) + begin, end - begin);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    });
    return true;
}

}  // namespace

void copy_into(Tensor& out, Tensor& in) {
    if (out.is_meta() || in.is_meta()) {
        check_as(ErrorKind::NotImplemented, out.is_meta(), "Cannot copy out of meta tensor; no data!");
        return;
    }
    if (is_stored_only(out.dtype) || is_stored_only(in.dtype)) find_cast(out.dtype, in.dtype);
    if (&out == &in || out.numel == 0) return;
    // A source that overlaps its destination is read whole first.
    TensorRef held;
    Tensor* source = &in;
    if (out.storage == in.storage &&
        !(out.offset == in.offset && out.strides == in.strides && out.dtype == in.dtype)) {
        held = clone(in);
        source = held.get();
    }
    if (convert_directly(out, *source) || copy_transposed(out, *source)) return;
    Iterator it(out.sizes);
    it.output(out, out.dtype);
    it.input(*source, out.dtype);
    it.run(copy_loop_of(out.dtype), nullptr, true);
}

void fill(Tensor& out, const Scalar& value) {
    if (out.is_meta() || out.numel == 0) return;
    alignas(16) char bytes[16] = {};
    // Zero bytes are zero in every dtype, also in those that have no numbers here.
    const bool zero = value.is_integral() && value.to_int() == 0;
    if (!zero || !is_stored_only(out.dtype)) value.store(out.dtype, bytes);
    if (out.contiguous && out.numel <= 4096) {
        char* data[2] = {kernel_pointer(out), bytes};
        const int64_t strides[2] = {itemsize(out.dtype), 0};
        copy_loop_of(out.dtype)(data, strides, out.numel, nullptr);
        return;
    }
    Iterator it(out.sizes);
    it.output(out, out.dtype);
    it.scalar(value, out.dtype);
    it.run(copy_loop_of(out.dtype), nullptr, true);
}

TensorRef contiguous(Tensor& t) {
    if (t.contiguous) return TensorRef::borrow(&t);
    return clone(t, MemoryFormat::Contiguous);
}

TensorRef cast(Tensor& t, DType dtype) {
    if (t.dtype == dtype) return TensorRef::borrow(&t);
    TensorRef out = empty_like(t, dtype);
    copy_into(*out, t);
    return out;
}

TensorRef clone(Tensor& t, MemoryFormat format) {
    TensorRef out = format == MemoryFormat::Preserve ? empty_like(t, t.dtype)
                                                     : empty_format(t.sizes, t.dtype, t.device, format);
    if (t.numel && !t.is_meta()) {
        Iterator it(out->sizes);
        if (copy_transposed(*out, t)) return out;
        it.output(*out, t.dtype);
        it.input(t, t.dtype);
        it.run(copy_loop_of(t.dtype), nullptr, true);
    }
    return out;
}

TensorRef private_copy(Tensor& t, DType dtype) {
    TensorRef out = empty(t.sizes, dtype, t.device);
    copy_into(*out, t);
    return out;
}

Scalar item(Tensor& t) {
    check(t.numel == 1, "a Tensor with ", t.numel, " elements cannot be converted to Scalar");
    if (__builtin_expect(t.wrapped != nullptr, 0)) {
        check(!t.is_batched(),
              "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling "
              ".item() on a "
              "Tensor: it has a value per example. Rewrite it with operators, or call it outside of vmap");
        return item(*t.wrapped->value);
    }
    check(!t.is_meta(), "Tensor.item() cannot be called on meta tensors");
    return Scalar::load(t.dtype, kernel_pointer(t));
}

TensorRef expand_view(Tensor& t, const Dims& sizes) {
    const int n = sizes.size(), shift = n - t.ndim();
    check(shift >= 0, "expand(", str(t.sizes), ", size=", str(sizes), "): the number of sizes provided (", n,
          ") must be greater or equal to the number of dimensions in the tensor (", t.ndim(), ")");
    Dims out(n), strides(n);
    for (int i = 0; i < n; ++i) {
        const int d = i - shift;
        const int64_t want = sizes[i];
        if (d < 0) {
            check(want >= 0, "The expanded size of the tensor (", want,
                  ") isn't allowed in a leading, non-existing dimension ", i);
            out[i] = want;
            strides[i] = 0;
        } else if (want == -1 || want == t.sizes[d]) {
            out[i] = t.sizes[d];
            strides[i] = t.strides[d];
        } else {
            check(t.sizes[d] == 1 && want >= 0, "The expanded size of the tensor (", want,
                  ") must match the existing size (", t.sizes[d], ") at non-singleton dimension ", i,
                  ".  Target sizes: ", str(sizes), ".  Tensor sizes: ", str(t.sizes));
            out[i] = want;
            strides[i] = 0;
        }
    }
    return make_view(t, out, strides, t.offset);
}

}  // namespace flb
