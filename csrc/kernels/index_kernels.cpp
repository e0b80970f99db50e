#include "kernels/index_kernels.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "core/float8.h"
#include "core/interpreter.h"
#include "core/parallel.h"
#include "kernels/select_kernels.h"

namespace flb {

FLB_DEFINE_KERNEL(count_nonzero_bytes);
FLB_DEFINE_KERNEL(compress_elements);
FLB_DEFINE_KERNEL(float_keys);
FLB_DEFINE_KERNEL(keys_not_above);
FLB_DEFINE_KERNEL(least_of_groups);
FLB_DEFINE_KERNEL(count_not_above);
FLB_DEFINE_KERNEL(add_slices);

namespace {

constexpr int64_t kGrain = 32768;

// A stride in bytes. That of a dimension of one element may be any number: it is multiplied without a sign.
int64_t in_bytes(int64_t stride, int64_t width) { return int64_t(uint64_t(stride) * uint64_t(width)); }

// An odometer over `sizes`, moving any number of pointers by their own byte strides.
template <int N>
struct Odometer {
    Odometer(const Dims& sizes, const Dims* const (&strides)[N], const int64_t (&widths)[N])
        : sizes(sizes), index(sizes.size(), 0) {
        for (int k = 0; k < N; ++k) {
            step[k].resize(sizes.size());
            for (int d = 0; d < sizes.size(); ++d) step[k][d] = in_bytes((*strides[k])[d], widths[k]);
        }
    }
    void seek(int64_t position) {
        for (int k = 0; k < N; ++k) offset[k] = 0;
        for (int d = sizes.size() - 1; d >= 0; --d) {
            index[d] = sizes[d] ? position % sizes[d] : 0;
            position = sizes[d] ? position / sizes[d] : 0;
            for (int k = 0; k < N; ++k) offset[k] += index[d] * step[k][d];
        }
    }
    void next() {
        for (int d = sizes.size() - 1; d >= 0; --d) {
            for (int k = 0; k < N; ++k) offset[k] += step[k][d];
            if (++index[d] < sizes[d]) return;
            for (int k = 0; k < N; ++k) offset[k] -= sizes[d] * step[k][d];
            index[d] = 0;
        }
    }
    Dims sizes, index;
    Dims step[N];
    int64_t offset[N] = {};
};

template <class T>
struct IsComplex {
    static constexpr bool value = false;
};
template <class T>
struct IsComplex<Complex<T>> {
    static constexpr bool value = true;
};

template <class T>
T combine(T a, T b, Reduce reduce) {
    if constexpr (std::is_same_v<T, Complex<Half>>) {
        const Complex<float> x(float(a.re), float(a.im)), y(float(b.re), float(b.im));
        return T(combine(x, y, reduce));
    } else if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
        return T(combine(float(a), float(b), reduce));
    } else if constexpr (std::is_same_v<T, bool>) {
        return reduce == Reduce::Add || reduce == Reduce::Max ? a || b
               : reduce == Reduce::Assign                     ? b
                                                              : a && b;
    } else {
        switch (reduce) {
            case Reduce::Assign: return b;
            case Reduce::Add:
                if constexpr (std::is_integral_v<T>)
                    return T(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
                else return a + b;
            case Reduce::Multiply:
                if constexpr (std::is_integral_v<T>) return T(uint64_t(a) * uint64_t(b));
                else return a * b;
            case Reduce::Min:
            case Reduce::Max:
                if constexpr (!IsComplex<T>::value) {
                    if (a != a) return a;
                    if (b != b) return b;
                    return (reduce == Reduce::Min) == (b < a) ? b : a;
                }
                return b;
        }
        return b;
    }
}

Dims without(const Dims& dims, int dim) {
    Dims out = dims;
    out.erase(dim);
    return out;
}

}  // namespace

// ---- index and index_put_ -----------------------------------------------------------------------------------------------------------

Dims IndexPlan::result_shape() const {
    Dims shape = outer_sizes;
    for (int64_t s : index_shape) shape.push_back(s);
    for (int64_t s : inner_sizes) shape.push_back(s);
    return shape;
}

// offsets (+)= where the indices lie, of which negative ones count from the end; false if one is out of bounds.
static bool index_offsets(const int64_t* index, int64_t n, int64_t size, int64_t stride, bool add,
                          int64_t* __restrict offsets) {
    bool inside = true;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t v = index[i], at = v + (v < 0 ? size : 0);
        inside &= uint64_t(at) < uint64_t(size);
        // Without a sign: what is out of bounds may overflow.
        offsets[i] = int64_t(uint64_t(add ? offsets[i] : 0) + uint64_t(at) * uint64_t(stride));
    }
    return inside;
}

IndexPlan plan_index(Tensor& t, const std::vector<TensorRef>& given, const char* op_name) {
    if (int(given.size()) > t.ndim()) {
        int consumed = 0;
        for (const TensorRef& g : given) consumed += g && g->dtype == DType::Bool ? g->ndim() : 1;
        check_as(ErrorKind::Index, consumed <= t.ndim(), "too many indices for tensor of dimension ",
                 t.ndim(), " (got ", consumed, ")");
    }
    // Masks become one index per dimension they span.
    std::vector<TensorRef> indices;
    for (const TensorRef& g : given) {
        if (!g || (g->dtype != DType::Bool && g->dtype != DType::UInt8)) {
            if (g)
                check_as(ErrorKind::Index, is_integral(g->dtype),
                         "tensors used as indices must be long, int, byte or bool tensors, got ",
                         name_of(g->dtype));
            indices.push_back(g);
            continue;
        }
        const int at = int(indices.size());
        check_as(ErrorKind::Index, at + g->ndim() <= t.ndim(), "too many indices for tensor of dimension ",
                 t.ndim());
        for (int d = 0; d < g->ndim(); ++d)
            check_as(ErrorKind::Index, g->sizes[d] == t.sizes[at + d], "The shape of the mask ",
                     str(g->sizes), " at index ", d, " does not match the shape of the indexed tensor ",
                     str(t.sizes), " at index ", at + d);
        TensorRef positions = nonzero(*g);
        for (int d = 0; d < g->ndim(); ++d)
            indices.push_back(make_view(*positions, {positions->sizes[0]}, {positions->strides[0]},
                                        positions->offset + d * positions->strides[1]));
    }
    check_as(ErrorKind::Index, int(indices.size()) <= t.ndim(), "too many indices for tensor of dimension ",
             t.ndim(), " (got ", indices.size(), ")");
    indices.resize(size_t(t.ndim()));

    IndexPlan plan;
    int first = -1, last = -1;
    bool adjacent = true, any = false;
    for (int d = 0; d < t.ndim(); ++d) {
        if (!indices[size_t(d)]) continue;
        if (first < 0) first = d;
        else if (last != d - 1) adjacent = false;
        last = d;
        const Dims& shape = indices[size_t(d)]->sizes;
        try {
            plan.index_shape = any ? broadcast_shapes(plan.index_shape, shape) : shape;
        } catch (const Error&) {
            std::string shapes;
            for (const TensorRef& i : indices)
                if (i) shapes += (shapes.empty() ? "" : ", ") + str(i->sizes);
            fail(ErrorKind::Index,
                 "shape mismatch: indexing tensors could not be broadcast together with shapes ", shapes);
        }
        any = true;
    }
    check_as(ErrorKind::Index, any, op_name, "(): at least one index tensor is needed");
    for (int d = 0; d < t.ndim(); ++d) {
        if (indices[size_t(d)]) continue;
        const bool before = adjacent && d < first;
        (before ? plan.outer_sizes : plan.inner_sizes).push_back(t.sizes[d]);
        (before ? plan.outer_strides : plan.inner_strides).push_back(t.strides[d]);
    }
    const int64_t n = checked_numel(plan.index_shape);
    if (n == 0 || t.is_meta()) return plan;
    plan.offsets.resize(n);
    int64_t* offsets = plan.offsets.data();
    for (int d = first; d <= last; ++d) {
        if (!indices[size_t(d)]) continue;
        check(!indices[size_t(d)]->is_meta(), op_name,
              "(): an index on the meta device cannot index a tensor on the cpu");
        TensorRef wide = cast(*indices[size_t(d)], DType::Int64);
        TensorRef full = contiguous(*expand_view(*wide, plan.index_shape));
        const int64_t* index = reinterpret_cast<const int64_t*>(kernel_pointer(*full));
        const int64_t size = t.sizes[d], stride = t.strides[d];
        std::atomic<bool> outside{false};
        parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
            if (!index_offsets(index + begin, end - begin, size, stride, d != first, offsets + begin))
                outside.store(true, std::memory_order_relaxed);
        });
        if (!outside.load(std::memory_order_relaxed)) continue;
        for (int64_t i = 0; i < n; ++i)
            if (index[i] < -size || index[i] >= size)
                fail(ErrorKind::Index, "index ", index[i], " is out of bounds for dimension ", d,
                     " with size ", size);
        fail(ErrorKind::Index, op_name, "(): an index changed while it was read");
    }
    return plan;
}

namespace {

// Calls body(outer byte offset, index number, result element offset) over all (outer, index) pairs in [begin, end).
template <class F>
void over_pairs(const IndexPlan& plan, int64_t width, int64_t inner, int64_t begin, int64_t end, F&& body) {
    const int64_t n = plan.offsets.size();
    const Dims* strides[1] = {&plan.outer_strides};
    const int64_t widths[1] = {width};
    Odometer<1> outer(plan.outer_sizes, strides, widths);
    outer.seek(begin / n);
    int64_t b = begin % n;
    for (int64_t k = begin; k < end; ++k) {
        body(outer.offset[0], b, k * inner);
        if (++b == n) {
            b = 0;
            outer.next();
        }
    }
}

struct Inner {
    explicit Inner(const IndexPlan& plan) : numel(checked_numel(plan.inner_sizes)) {
        contiguous = is_contiguous(plan.inner_sizes, plan.inner_strides);
    }
    int64_t numel;
    bool contiguous;
};

}  // namespace

void index_get(Tensor& out, Tensor& in, const IndexPlan& plan) {
    if (out.numel == 0) return;
    const int64_t width = itemsize(in.dtype);
    char* o = kernel_pointer(out);
    const char* base = kernel_pointer(in);
    const Inner inner(plan);
    const int64_t pairs = out.numel / inner.numel;
    const DType dtype = in.dtype;
    Unlocked unlocked(out.numel > kGrain);
    parallel_for(0, pairs, 1 + kGrain / inner.numel, [&](int64_t begin, int64_t end) {
        visit_width(dtype, [&](auto tag) {
            using T = typename decltype(tag)::type;
            if (inner.contiguous && inner.numel == 1) {
                T* to = reinterpret_cast<T*>(o);
                const char* from = base;
                const int64_t* offsets = plan.offsets.data();
                over_pairs(plan, width, 1, begin, end, [=](int64_t outer, int64_t b, int64_t at) {
                    to[at] = *reinterpret_cast<const T*>(from + outer + offsets[b] * int64_t(sizeof(T)));
                });
            } else if (inner.contiguous) {
                over_pairs(plan, width, inner.numel, begin, end, [&](int64_t outer, int64_t b, int64_t at) {
                    std::memcpy(o + at * width, base + outer + plan.offsets[b] * width,
                                size_t(inner.numel * width));
                });
            } else {
                const Dims* strides[1] = {&plan.inner_strides};
                const int64_t widths[1] = {width};
                Odometer<1> walk(plan.inner_sizes, strides, widths);
                over_pairs(plan, width, inner.numel, begin, end, [&](int64_t outer, int64_t b, int64_t at) {
                    const char* source = base + outer + plan.offsets[b] * width;
                    walk.seek(0);
                    for (int64_t i = 0; i < inner.numel; ++i, walk.next())
                        reinterpret_cast<T*>(o)[at + i] =
                            *reinterpret_cast<const T*>(source + walk.offset[0]);
                });
            }
        });
    });
}

void index_put(Tensor& out, Tensor& values, const IndexPlan& plan, bool accumulate) {
    if (values.numel == 0) return;
    const int64_t width = itemsize(out.dtype);
    char* base = kernel_pointer(out);
    const char* v = kernel_pointer(values);
    const Inner inner(plan);
    const int64_t pairs = values.numel / inner.numel;
    const Dims* strides[1] = {&plan.inner_strides};
    const int64_t widths[1] = {width};
    // One thread: repeated indices must add up, or the last one win, the same way every time.
    Unlocked unlocked(values.numel > kGrain);
    const auto run = [&](auto tag, auto add) {
        using T = typename decltype(tag)::type;
        Odometer<1> walk(plan.inner_sizes, strides, widths);
        over_pairs(plan, width, inner.numel, 0, pairs, [&](int64_t outer, int64_t b, int64_t at) {
            char* target = base + outer + plan.offsets[b] * width;
            const T* source = reinterpret_cast<const T*>(v) + at;
            if (inner.contiguous && !accumulate) {
                std::memcpy(target, source, size_t(inner.numel * width));
            } else if (inner.contiguous) {
                T* t = reinterpret_cast<T*>(target);
                for (int64_t i = 0; i < inner.numel; ++i) t[i] = add(t[i], source[i]);
            } else {
                walk.seek(0);
                for (int64_t i = 0; i < inner.numel; ++i, walk.next()) {
                    T* t = reinterpret_cast<T*>(target + walk.offset[0]);
                    *t = accumulate ? add(*t, source[i]) : source[i];
                }
            }
        });
    };
    if (is_stored_only(out.dtype)) {
        // float8 adds in float32 and rounds every sum.
        const DType t = out.dtype;
        const auto add = [t](auto a, auto b) {
            return decltype(a)(encode_float8(t, decode_float8(t, uint8_t(a)) + decode_float8(t, uint8_t(b))));
        };
        return width == 1 ? run(Type<uint8_t>{}, add) : run(Type<uint16_t>{}, add);
    }
    visit(out.dtype, [&](auto tag) { run(tag, [](auto a, auto b) { return combine(a, b, Reduce::Add); }); });
}

int64_t count_true(Tensor& mask) {
    return count_nonzero_bytes(reinterpret_cast<const uint8_t*>(kernel_pointer(mask)), mask.numel);
}

TensorRef select_true(Tensor& t, Tensor& mask) {
    const int64_t n = mask.numel ? count_true(mask) : 0;
    TensorRef out = empty({n}, t.dtype);
    if (n == 0) return out;
    char* o = kernel_pointer(*out);
    const int64_t found =
        compress_elements(int(itemsize(t.dtype)), o, kernel_pointer(t),
                          reinterpret_cast<const uint8_t*>(kernel_pointer(mask)), mask.numel, n);
    // Another thread may have written the mask meanwhile.
    std::memset(o + found * itemsize(t.dtype), 0, size_t(n - found) * itemsize(t.dtype));
    return out;
}

TensorRef nonzero(Tensor& t) {
    TensorRef as_bool = cast(t, DType::Bool);
    TensorRef mask = contiguous(*as_bool);
    const int64_t count = mask->numel ? count_true(*mask) : 0;
    const int n = t.ndim();
    const Dims sizes = t.sizes;
    TensorRef out = empty({count, n}, DType::Int64);
    if (count == 0 || n == 0) return out;
    const uint8_t* m = reinterpret_cast<const uint8_t*>(kernel_pointer(*mask));
    int64_t* o = reinterpret_cast<int64_t*>(kernel_pointer(*out));
    if (n == 1) {
        const int64_t found = compress_elements(8, o, nullptr, m, mask->numel, count);
        std::memset(o + found, 0, size_t(count - found) * 8);
        return out;
    }
    // Row by row of the last dimension, so that the outer position is worked out once a row.
    const int64_t row = sizes[n - 1];
    const int64_t* const end = o + count * n;
    Dims index(n, 0);
    for (int64_t begin = 0; begin < mask->numel; begin += row) {
        for (int64_t j = 0; j < row; ++j) {
            // `end`: another thread may write the mask meanwhile.
            if (!m[begin + j] || o == end) continue;
            for (int d = 0; d < n - 1; ++d) *o++ = index[d];
            *o++ = j;
        }
        for (int d = n - 2; d >= 0; --d) {
            if (++index[d] < sizes[d]) break;
            index[d] = 0;
        }
    }
    return out;
}

// ---- gather and scatter ----------------------------------------------------------------------------------------------------------------

void check_indices(Tensor& index, int64_t size, int dim, const char* op_name, bool wrap, ErrorKind kind) {
    if (index.numel == 0) return;
    TensorRef wide = cast(index, DType::Int64);
    TensorRef dense = contiguous(*wide);
    const int64_t* v = reinterpret_cast<const int64_t*>(kernel_pointer(*dense));
    const int64_t low = wrap ? -size : 0;
    std::atomic<bool> outside{false};
    parallel_for(0, dense->numel, kGrain, [&](int64_t begin, int64_t end) {
        bool bad = false;
        for (int64_t i = begin; i < end; ++i)
            bad |= uint64_t(v[i]) - uint64_t(low) >= uint64_t(size) - uint64_t(low);
        if (bad) outside.store(true, std::memory_order_relaxed);
    });
    if (!outside.load(std::memory_order_relaxed)) return;
    int64_t smallest = v[0], largest = v[0];
    for (int64_t i = 1; i < dense->numel; ++i) {
        smallest = v[i] < smallest ? v[i] : smallest;
        largest = v[i] > largest ? v[i] : largest;
    }
    const int64_t bad = smallest < low ? smallest : largest;
    fail(kind, op_name, "(): index ", bad, " is out of bounds for dimension ", dim, " with size ", size,
         " (index out of range in self)");
}

namespace {

// One walk for both directions: for every index position, the element of `dense` (index's own shape, or a
// repeated value) and the element of `along` that the index names. Positions were checked before; they are looked at
// once more because another thread, or another process, may have written the index since. Sizes and strides are the
// walk's own, see [Memory in use].
struct IndexWalk {
    IndexWalk(Tensor& index, int dim, const Tensor& along, const Dims& dense, int64_t width)
        : ids(reinterpret_cast<const int64_t*>(kernel_pointer(index))),
          size(along.size(dim)),
          width(width),
          sizes(index.sizes),
          index_strides(index.strides),
          along_strides(along.strides),
          dense_strides(dense),
          numel(index.numel) {
        const int n = sizes.size();
        // Zero-dimensional tensors go with an index of one dimension and one element.
        for (Dims* d : {&along_strides, &dense_strides})
            if (d->size() < n) *d = Dims(n, 0);
        if (n) along_strides[dim] = 0;
    }

    template <class F>
    void run(int64_t begin, int64_t end, F&& body) const {
        const Dims* strides[3] = {&along_strides, &dense_strides, &index_strides};
        const int64_t widths[3] = {width, width, 1};
        Odometer<3> walk(sizes, strides, widths);
        walk.seek(begin);
        for (int64_t i = begin; i < end; ++i, walk.next()) {
            const int64_t id = ids[walk.offset[2]];
            if (__builtin_expect(uint64_t(id) < uint64_t(size), 1)) body(walk.offset[0], walk.offset[1], id);
        }
    }

    const int64_t* ids;
    int64_t size, width;
    Dims sizes, index_strides, along_strides, dense_strides;
    int64_t numel;
};

}  // namespace

void gather(Tensor& out, Tensor& in, int dim, Tensor& index) {
    if (index.numel == 0) return;
    const int64_t width = itemsize(in.dtype), stride = in_bytes(in.stride(dim), width);
    char* o = kernel_pointer(out);
    const char* a = kernel_pointer(in);
    const IndexWalk walk(index, dim, in, out.strides, width);
    const DType dtype = in.dtype;
    Unlocked unlocked(walk.numel > kGrain);
    parallel_for(0, walk.numel, kGrain, [&](int64_t begin, int64_t end) {
        visit_width(dtype, [&](auto tag) {
            using T = typename decltype(tag)::type;
            walk.run(begin, end, [&](int64_t from, int64_t to, int64_t id) {
                *reinterpret_cast<T*>(o + to) = *reinterpret_cast<const T*>(a + from + id * stride);
            });
        });
    });
}

void scatter(Tensor& out, int dim, Tensor& index, Tensor* src, const Scalar* value, Reduce reduce,
             Tensor* counts) {
    if (index.numel == 0) return;
    const int64_t width = itemsize(out.dtype), stride = in_bytes(out.stride(dim), width);
    char* o = kernel_pointer(out);
    const char* s = src ? kernel_pointer(*src) : nullptr;
    int64_t* c = counts ? reinterpret_cast<int64_t*>(kernel_pointer(*counts)) : nullptr;
    const IndexWalk walk(index, dim, out, src ? src->strides : Dims(index.ndim(), 0), width);
    const DType dtype = out.dtype;
    Unlocked unlocked(walk.numel > kGrain);
    visit(dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        alignas(16) char fixed[16] = {};
        if (value) value->store(dtype, fixed);
        walk.run(0, walk.numel, [&](int64_t to, int64_t from, int64_t id) {
            const int64_t at = to + id * stride;
            T* target = reinterpret_cast<T*>(o + at);
            *target = combine(*target, *reinterpret_cast<const T*>(src ? s + from : fixed), reduce);
            if (c) ++c[at / width];
        });
    });
}

// ---- whole slices ---------------------------------------------------------------------------------------------------------------------------

void index_select(Tensor& out, Tensor& in, int dim, Tensor& index) {
    if (out.numel == 0) return;
    IndexPlan plan;
    for (int d = 0; d < in.ndim(); ++d) {
        if (d == dim) continue;
        (d < dim ? plan.outer_sizes : plan.inner_sizes).push_back(in.sizes[d]);
        (d < dim ? plan.outer_strides : plan.inner_strides).push_back(in.strides[d]);
    }
    plan.index_shape = {index.numel};
    TensorRef wide = cast(index, DType::Int64);
    TensorRef dense = contiguous(*wide);
    const int64_t* ids = reinterpret_cast<const int64_t*>(kernel_pointer(*dense));
    plan.offsets.resize(dense->numel);
    int64_t* offsets = plan.offsets.data();
    const int64_t stride = in.stride(dim), size = in.size(dim);
    for (int64_t i = 0; i < dense->numel; ++i) {
        if (uint64_t(ids[i]) >= uint64_t(size))
            fail(ErrorKind::Index, "index_select(): index ", ids[i], " is out of bounds for dimension ", dim,
                 " with size ", size);
        offsets[i] = ids[i] * stride;
    }
    index_get(out, in, plan);
}

void index_write(Tensor& out, int dim, Tensor& index, Tensor& src, Reduce reduce, Tensor* counts) {
    if (src.numel == 0) return;
    TensorRef wide = cast(index, DType::Int64);
    TensorRef dense = contiguous(*wide);
    const int64_t* ids = reinterpret_cast<const int64_t*>(kernel_pointer(*dense));
    const int64_t width = itemsize(out.dtype);
    char* o = kernel_pointer(out);
    const char* s = kernel_pointer(src);
    int64_t* c = counts ? reinterpret_cast<int64_t*>(kernel_pointer(*counts)) : nullptr;
    const bool scalar = out.ndim() == 0;
    const Dims sizes = scalar ? Dims() : without(src.sizes, dim);
    const Dims out_strides = scalar ? Dims() : without(out.strides, dim),
               src_strides = scalar ? Dims() : without(src.strides, dim);
    const int64_t slice = checked_numel(sizes);
    const bool flat = is_contiguous(sizes, out_strides) && is_contiguous(sizes, src_strides);
    // A zero-dimensional source is one element for every index.
    const int64_t count = dense->numel, limit = out.size(dim), out_step = in_bytes(out.stride(dim), width);
    const int64_t src_step = src.ndim() ? in_bytes(src.stride(dim), width) : 0;
    const DType dtype = out.dtype;
    Unlocked unlocked(src.numel > kGrain);
    if (flat && !c && reduce == Reduce::Add &&
        add_slices(dtype, o, out_step / width, limit, ids, count, s, src_step / width, slice))
        return;
    visit(dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        const Dims* strides[2] = {&out_strides, &src_strides};
        const int64_t widths[2] = {width, width};
        Odometer<2> walk(sizes, strides, widths);
        for (int64_t i = 0; i < count; ++i) {
            const int64_t id = ids[i];
            if (uint64_t(id) >= uint64_t(limit)) continue;  // checked before; written since by another thread
            char* target = o + id * out_step;
            const char* source = s + i * src_step;
            if (flat && !c) {
                T* t = reinterpret_cast<T*>(target);
                const T* v = reinterpret_cast<const T*>(source);
                for (int64_t k = 0; k < slice; ++k) t[k] = combine(t[k], v[k], reduce);
                continue;
            }
            walk.seek(0);
            for (int64_t k = 0; k < slice; ++k, walk.next()) {
                T* t = reinterpret_cast<T*>(target + walk.offset[0]);
                *t = combine(*t, *reinterpret_cast<const T*>(source + walk.offset[1]), reduce);
                if (c) ++c[(target - o + walk.offset[0]) / width];
            }
        }
    });
}

}  // namespace flb
