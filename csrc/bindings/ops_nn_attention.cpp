// Fused attention and its gradient, over heads.
#include "bindings/nn_common.h"
#include "kernels/attention.h"

namespace flb {
namespace {

// The heads of an operand (..., rows, columns), in order: their elements' offsets.
std::vector<int64_t> head_offsets(const Tensor& t) {
    const int lead = t.ndim() - 2;
    std::vector<int64_t> offsets{0};
    for (int d = 0; d < lead; ++d) {
        std::vector<int64_t> next;
        next.reserve(offsets.size() * size_t(t.sizes[d]));
        for (int64_t base : offsets)
            for (int64_t i = 0; i < t.sizes[d]; ++i) next.push_back(base + i * t.strides[d]);
        offsets = std::move(next);
    }
    return offsets;
}

// As it is where the elements of a row are neighbours.
TensorRef with_rows(Tensor& t, DType dtype) {
    TensorRef same = cast(t, dtype);
    return same->strides[same->ndim() - 1] == 1 ? same : clone(*same, MemoryFormat::Contiguous);
}

// An operand as matrices, one per head.
struct Heads {
    explicit Heads(const TensorRef& t) : tensor(t) {
        if (!t) return;
        offsets = head_offsets(*t);
        data = kernel_pointer(*t);
    }
    char* at(int64_t head) const {
        return tensor ? data + offsets[size_t(head)] * itemsize(tensor->dtype) : nullptr;
    }
    AttentionMatrix operator[](int64_t head) const { return {at(head), tensor->strides[tensor->ndim() - 2]}; }
    TensorRef tensor;
    std::vector<int64_t> offsets;
    char* data = nullptr;
};

// query (..., L, E), key (..., S, E), value (..., S, Ev), mask (..., L, S) or null, all with the same leading sizes.
struct Operands {
    Operands(const Call& call, Tensor& query, Tensor& key, Tensor& value, Tensor* mask, bool causal,
             double scale) {
        const int n = query.ndim();
        const auto fits = [&](const Tensor& t) {
            bool same = t.ndim() == n;
            for (int i = 0; same && i < n - 2; ++i) same = t.sizes[i] == query.sizes[i];
            return same;
        };
        call.check(n >= 2 && fits(key) && fits(value) && key.sizes[n - 1] == query.sizes[n - 1] &&
                       key.sizes[n - 2] == value.sizes[n - 2],
                   "query ", str(query.sizes), ", key ", str(key.sizes), " and value ", str(value.sizes),
                   " do not fit each other");
        call.check(
            query.dtype == key.dtype && query.dtype == value.dtype && (!mask || mask->dtype == query.dtype),
            "expects operands of one dtype");
        call.check(!mask || (fits(*mask) && mask->sizes[n - 2] == query.sizes[n - 2] &&
                             mask->sizes[n - 1] == key.sizes[n - 2]),
                   "mask of shape ", mask ? str(mask->sizes) : "", " for query ", str(query.sizes),
                   " and key ", str(key.sizes));
        const DType dtype = compute_dtype(call, query);
        call.check(query.numel && key.numel && value.numel, "expects operands with elements");
        shape = {dtype, query.sizes[n - 2], key.sizes[n - 2], query.sizes[n - 1], value.sizes[n - 1], causal,
                 scale};
        result_sizes = query.sizes;
        result_sizes[n - 1] = value.sizes[n - 1];
        rows = Dims(query.sizes.data(), n - 1);
        meta = query.is_meta() || key.is_meta() || value.is_meta() || (mask && mask->is_meta());
        if (meta) return;
        q = with_rows(query, dtype);
        k = with_rows(key, dtype);
        v = with_rows(value, dtype);
        if (mask) m = cast(*mask, dtype);
    }
    // The matrices of one head.
    AttentionHead head(const Heads& q, const Heads& k, const Heads& v, const Heads& mask, const Heads& out,
                       char* log_sums, int64_t i) const {
        const int n = q.tensor->ndim();
        return {q[i],
                k[i],
                v[i],
                out[i],
                log_sums + i * shape.queries * itemsize(shape.dtype),
                mask.at(i),
                m ? m->strides[n - 2] : 0,
                m ? m->strides[n - 1] : 0};
    }

    AttentionShape shape;
    Dims result_sizes, rows;  // of the output, of the log-sums
    bool meta;
    TensorRef q, k, v, m;
};

// Memory of an operand's shape, in its layout where that has rows: what a model does next often undoes a transposition.
TensorRef like(const Tensor& t, const Dims& sizes, DType dtype) {
    if (sizes == t.sizes && is_non_overlapping_and_dense(t)) {
        TensorRef same = empty_like(t, dtype);
        if (same->strides[t.ndim() - 1] == 1) return same;
    }
    return empty(sizes, dtype);
}

PyObject* attention(Call& call) {  // query, key, value, attn_mask, is_causal, scale
    Tensor& query = call.tensor(0);
    const Operands o(call, query, call.tensor(1), call.tensor(2), call.tensor_or_null(3), call.boolean(4),
                     call.real(5));
    if (o.meta)
        return call.results({empty(o.result_sizes, query.dtype, DeviceType::Meta),
                             empty(o.rows, o.shape.dtype, DeviceType::Meta)});
    TensorRef out = like(*o.q, o.result_sizes, o.shape.dtype), log_sums = empty(o.rows, o.shape.dtype);
    const Heads q(o.q), k(o.k), v(o.v), mask(o.m), result(out);
    char* sums = data_of<char>(log_sums);
    const int64_t heads = int64_t(q.offsets.size()), panels = attention_panels(o.shape);
    // Few heads are shared out over threads by panels of queries; those far apart, as the later ones of a causal
    // product have more to do.
    const int64_t wanted = num_threads() == 1 ? 1 : (4 * num_threads() + heads - 1) / heads,
                  step = std::min(panels, wanted);
    const double work =
        double(o.shape.queries) * double(o.shape.keys) * double(o.shape.size + o.shape.value_size);
    {
        Unlocked unlocked(work > kNnGrain);
        parallel_for(0, heads * step, work / double(step) < 1e6 ? 1 + int64_t(1e6 * double(step) / work) : 1,
                     [&](int64_t b, int64_t e) {
                         for (int64_t task = b; task < e; ++task) {
                             const int64_t i = task / step;
                             attention_forward(o.shape, o.head(q, k, v, mask, result, sums, i), task % step,
                                               step);
                         }
                     });
    }
    return call.results({cast(*out, query.dtype), log_sums});
}

PyObject* attention_gradient(Call& call) {
    // grad_output, query, key, value, attn_mask, output, logsumexp, is_causal, scale
    Tensor &grad = call.tensor(0), &query = call.tensor(1), &key = call.tensor(2), &value = call.tensor(3),
           &output = call.tensor(5), &log_sums = call.tensor(6);
    const Operands o(call, query, key, value, call.tensor_or_null(4), call.boolean(7), call.real(8));
    call.check(grad.sizes == o.result_sizes && output.sizes == o.result_sizes, "grad of shape ",
               str(grad.sizes), " and output of shape ", str(output.sizes), ", expected ",
               str(o.result_sizes));
    call.check(log_sums.sizes == o.rows, "log-sums of shape ", str(log_sums.sizes), ", expected ",
               str(o.rows));
    if (o.meta || grad.is_meta() || output.is_meta() || log_sums.is_meta())
        return call.results({empty(query.sizes, query.dtype, DeviceType::Meta),
                             empty(key.sizes, key.dtype, DeviceType::Meta),
                             empty(value.sizes, value.dtype, DeviceType::Meta)});
    const DType dtype = o.shape.dtype;
    TensorRef dq = like(*o.q, query.sizes, dtype), dk = like(*o.k, key.sizes, dtype),
              dv = like(*o.v, value.sizes, dtype);
    const Heads q(o.q), k(o.k), v(o.v), mask(o.m), y(with_rows(output, dtype)), g(with_rows(grad, dtype)),
        gq(dq), gk(dk), gv(dv);
    TensorRef sums = dense(log_sums, dtype);
    char* sums_data = data_of<char>(sums);
    const double work =
        double(o.shape.queries) * double(o.shape.keys) * double(o.shape.size + o.shape.value_size);
    {
        Unlocked unlocked(work > kNnGrain);
        parallel_for(0, int64_t(q.offsets.size()), work < 1e6 ? 1 + int64_t(1e6 / work) : 1,
                     [&](int64_t b, int64_t e) {
                         for (int64_t i = b; i < e; ++i)
                             attention_backward(o.shape, o.head(q, k, v, mask, y, sums_data, i),
                                                {g[i], gq[i], gk[i], gv[i]});
                     });
    }
    return call.results({cast(*dq, query.dtype), cast(*dk, key.dtype), cast(*dv, value.dtype)});
}

}  // namespace

FLB_OPS({"_scaled_dot_product_flash_attention_for_cpu", attention},
        {"_scaled_dot_product_flash_attention_for_cpu_backward", attention_gradient});

}  // namespace flb
