#include "core/dims.h"

namespace flb {

DimsText::operator std::string() const {
    if (!dims_) return instead_;
    std::string out = "[";
    for (int i = 0; i < dims_->size(); ++i) {
        if (i) out += ", ";
        out += std::to_string((*dims_)[i]);
    }
    return out + "]";
}

int64_t checked_numel(const Dims& sizes) {
    int64_t n = 1;
    bool overflow = false, zero = false;
    for (int64_t s : sizes) {
        check(s >= 0, "Trying to create tensor with negative dimension ", s, ": ", str(sizes));
        zero |= s == 0;
        overflow |= __builtin_mul_overflow(n, s, &n);
    }
    if (zero) return 0;
    check(!overflow, "numel: integer multiplication overflow: a tensor of shape ", str(sizes),
          " is too large");
    return n;
}

int64_t checked_extent_bytes(const Dims& sizes, const Dims& strides, int64_t offset, int itemsize) {
    check(offset >= 0, "Tensor: invalid storage offset ", offset);
    int64_t last = offset;
    for (int i = 0; i < sizes.size(); ++i) {
        if (sizes[i] == 0) return 0;
        int64_t span;
        const bool overflow = __builtin_mul_overflow(sizes[i] - 1, strides[i], &span) ||
                              __builtin_add_overflow(last, span, &last);
        check(!overflow && strides[i] >= 0, "Storage size calculation overflowed with sizes=", str(sizes),
              " and strides=", str(strides));
    }
    int64_t bytes;
    const bool overflow = __builtin_add_overflow(last, int64_t(1), &last) ||
                          __builtin_mul_overflow(last, int64_t(itemsize), &bytes);
    check(!overflow, "Storage size calculation overflowed with sizes=", str(sizes),
          " and strides=", str(strides));
    return bytes;
}

Dims contiguous_strides(const Dims& sizes) {
    Dims strides(sizes.size());
    int64_t stride = 1;
    for (int i = sizes.size() - 1; i >= 0; --i) {
        strides[i] = stride;
        if (__builtin_mul_overflow(stride, sizes[i] > 1 ? sizes[i] : int64_t(1), &stride)) stride = 0;
    }
    return strides;
}

Dims channels_last_strides(const Dims& sizes) {
    const int n = sizes.size();
    Dims strides(n);
    strides[1] = 1;
    int64_t stride = sizes[1] > 1 ? sizes[1] : 1;
    for (int i = n - 1; i >= 2; --i) {
        strides[i] = stride;
        stride = wrapping_mul(stride, sizes[i] > 1 ? sizes[i] : 1);
    }
    strides[0] = stride;
    return strides;
}

Dims broadcast_shapes(const Dims& a, const Dims& b) {
    const int n = a.size() > b.size() ? a.size() : b.size();
    Dims out(n);
    for (int i = n - 1; i >= 0; --i) {
        const int ia = i - (n - a.size()), ib = i - (n - b.size());
        const int64_t sa = ia >= 0 ? a[ia] : 1, sb = ib >= 0 ? b[ib] : 1;
        check(sa == sb || sa == 1 || sb == 1, "The size of tensor a (", sa,
              ") must match the size of tensor b (", sb, ") at non-singleton dimension ", i, " (shapes ",
              str(a), " and ", str(b), ")");
        out[i] = sa == 1 ? sb : sa;
    }
    return out;
}

bool broadcastable_to(const Dims& from, const Dims& to) {
    if (from.size() > to.size()) return false;
    const int shift = to.size() - from.size();
    for (int i = 0; i < from.size(); ++i)
        if (from[i] != 1 && from[i] != to[i + shift]) return false;
    return true;
}

int wrap_dim(int64_t dim, int ndim) {
    const int64_t n = ndim == 0 ? 1 : ndim;
    if (dim < -n || dim >= n)
        fail(ErrorKind::Index, "Dimension out of range (expected to be in range of [", -n, ", ", n - 1,
             "], but got ", dim, ")");
    return int(dim < 0 ? dim + n : dim);
}

Dims infer_size(const Dims& shape, int64_t numel) {
    Dims out = shape;
    int64_t known = 1;
    int unknown = -1;
    bool overflow = false;
    for (int i = 0; i < shape.size(); ++i) {
        if (shape[i] == -1) {
            check(unknown < 0, "only one dimension can be inferred");
            unknown = i;
        } else {
            check(shape[i] >= 0, "invalid shape dimension ", shape[i], " at index ", i, " of shape ",
                  str(shape));
            overflow |= __builtin_mul_overflow(known, shape[i], &known);
        }
    }
    const bool fits = !overflow && (known == numel || (unknown >= 0 && known > 0 && numel % known == 0));
    check(fits, "shape '", str(shape), "' is invalid for input of size ", numel);
    if (unknown >= 0) {
        check(known != 0, "cannot reshape tensor of 0 elements into shape ", str(shape),
              " because the unspecified dimension size -1 can be any value and is ambiguous");
        out[unknown] = numel / known;
    }
    return out;
}

}  // namespace flb
