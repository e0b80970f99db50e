// Rows of a table by index, and the gradient of the table.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/embedding_kernels.h"
#include "kernels/index_kernels.h"

namespace flb {
namespace {

void check_index_dtype(const Call& call, const Tensor& indices) {
    check(indices.dtype == DType::Int64 || indices.dtype == DType::Int32,
          "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
          "but got ",
          "torch.", info(indices.dtype).class_name, "Tensor instead (while checking arguments for ",
          call.name(), ")");
}

PyObject* embedding(Call& call) {  // weight, indices, padding_idx, scale_grad_by_freq, sparse
    Tensor &weight = call.tensor(0), &indices = call.tensor(1);
    check(weight.ndim() == 2, "'weight' must be 2-D");
    check_index_dtype(call, indices);
    Dims sizes = indices.sizes;
    sizes.push_back(weight.sizes[1]);
    if (weight.is_meta() || indices.is_meta()) return empty(sizes, weight.dtype, DeviceType::Meta).release();
    TensorRef ids = own_indices(indices);
    check_indices(*ids, weight.sizes[0], 0, call.name(), false, ErrorKind::Index);
    TensorRef out = empty(sizes, weight.dtype);
    if (out->numel) {
        TensorRef table = contiguous(weight);
        const int64_t width = weight.sizes[1] * itemsize(weight.dtype);
        const char* from = data_of<char>(table);
        char* to = data_of<char>(out);
        const int64_t* at = data_of<int64_t>(ids);
        Unlocked unlocked(out->numel > kNnGrain);
        parallel_for(0, ids->numel, grain_for(weight.sizes[1]), [&](int64_t b, int64_t e) {
            for (int64_t i = b; i < e; ++i) std::memcpy(to + i * width, from + at[i] * width, size_t(width));
        });
    }
    return out.release();
}

// Every thread owns a range of the table's rows and adds to them in the order of the entries, so that the sums do not
// depend on the number of threads.
void add_to_rows(DType dtype, const AddRows& a, void* to, int64_t rows) {
    const bool large = a.entries * a.width > kNnGrain;
    const int64_t threads = large ? num_threads() : 1;
    Unlocked unlocked(large);
    parallel_for(0, rows, (rows + threads - 1) / threads,
                 [&](int64_t b, int64_t e) { add_rows(dtype, a, to, b, e); });
}
// 1 / (how often its row occurs), per entry.
TensorRef frequency_scale(DType dtype, const int64_t* rows, int64_t n, const std::vector<int64_t>& counts) {
    TensorRef scale = empty({n}, dtype);
    for (int64_t i = 0; i < n; ++i) {
        const double share = 1.0 / double(counts[size_t(rows[i])]);
        if (dtype == DType::Float32) data_of<float>(scale)[i] = float(share);
        else data_of<double>(scale)[i] = share;
    }
    return scale;
}

PyObject* embedding_dense_backward(
    Call& call) {  // grad, indices, num_weights, padding_idx, scale_grad_by_freq
    Tensor &grad = call.tensor(0), &indices = call.tensor(1);
    const int64_t rows = call.integer(2), padding = call.integer(3);
    const bool by_frequency = call.boolean(4);
    check_index_dtype(call, indices);
    call.check(rows >= 0, "num_weights must not be negative, got ", rows);
    Dims expected = indices.sizes;
    expected.push_back(grad.ndim() ? grad.sizes[grad.ndim() - 1] : 0);
    call.check(grad.sizes == expected, "grad of shape ", str(grad.sizes), " does not fit indices of shape ",
               str(indices.sizes));
    const int64_t width = expected.back();
    if (grad.is_meta() || indices.is_meta())
        return empty({rows, width}, grad.dtype, DeviceType::Meta).release();
    TensorRef ids = own_indices(indices);
    check_indices(*ids, rows, 0, call.name(), false, ErrorKind::Index);
    const DType dtype = compute_dtype(call, grad);
    TensorRef out = empty({rows, width}, dtype);
    fill(*out, Scalar(0.0));
    if (grad.numel) {
        TensorRef g = dense(grad, dtype);
        const int64_t* at = data_of<int64_t>(ids);
        const int64_t n = ids->numel;
        std::vector<int64_t> counts;
        if (by_frequency) {
            counts.resize(size_t(rows));
            for (int64_t i = 0; i < n; ++i) ++counts[size_t(at[i])];
        }
        TensorRef scale;
        if (by_frequency) scale = frequency_scale(dtype, at, n, counts);
        add_to_rows(dtype, {at, nullptr, data_of(g), data_of(scale), n, width, padding}, data_of(out), rows);
    }
    return cast(*out, grad.dtype).release();
}

// ---- bags ------------------------------------------------------------------------------------------------------------

void check_bags(const Call& call, const Tensor& weight, const Tensor& indices, const Tensor& offsets,
                const Tensor* samples) {
    for (const Tensor* t : {&indices, &offsets})
        check(t->dtype == DType::Int64 || t->dtype == DType::Int32, "Expected tensor for argument #1 '",
              t == &indices ? "indices" : "offsets",
              "' to have one of the following scalar types: Long, Int; but got ", "torch.",
              info(t->dtype).class_name, "Tensor instead (while checking arguments for ", call.name(), ")");
    check(is_floating(weight.dtype),
          "Expected tensor for argument #1 'weight' to have one of the following scalar types: ",
          "Half, BFloat16, Float, Double; but got torch.", info(weight.dtype).class_name,
          "Tensor instead (while checking arguments for ", call.name(), ")");
    call.check(weight.ndim() == 2, "weight has to be a 2D Tensor, but got Tensor of dimension ",
               weight.ndim());
    call.check(indices.ndim() == 1, "input has to be a 1D Tensor, but got Tensor of dimension ",
               indices.ndim());
    call.check(offsets.ndim() == 1, "offsets has to be a 1D Tensor, but got Tensor of dimension ",
               offsets.ndim());
    if (!samples) return;
    check(samples->dtype == weight.dtype,
          "Expected tensor for argument #1 'weight' to have the same type as tensor for ",
          "argument #1 'per_sample_weights'; but type torch.", info(weight.dtype).class_name,
          "Tensor does not equal torch.", info(samples->dtype).class_name,
          "Tensor (while checking arguments for ", call.name(), ")");
    call.check(samples->sizes == indices.sizes, "expected per_sample_weights of shape ", str(indices.sizes),
               ", but got ", str(samples->sizes));
}

// weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, include_last_offset, padding_idx
PyObject* embedding_bag(Call& call) {
    Tensor &weight = call.tensor(0), &indices = call.tensor(1), &offsets = call.tensor(2);
    Tensor* samples = call.tensor_or_null(6);
    check_bags(call, weight, indices, offsets, samples);
    const int64_t mode = call.integer(4), rows = weight.sizes[0], width = weight.sizes[1];
    call.check(mode >= 0 && mode <= 2, "expected a mode of 0 (sum), 1 (mean) or 2 (max), got ", mode);
    call.check(!samples || mode == 0, "per_sample_weights only supported with mode='sum'");
    int64_t padding = call.integer(8);
    check(padding == -1 || (padding >= -rows && padding < rows),
          "padding_idx must be within the number of embeddings, ", -rows, " through ", rows - 1, ", but got ",
          padding);
    if (padding < -1) padding += rows;
    const bool last = call.boolean(7);
    check(!last || offsets.numel > 0, "include_last_offset: number of offset should be at least 1");
    const int64_t bags = offsets.numel - (last ? 1 : 0), n = indices.numel;
    const bool maxima = mode == 2;
    if (weight.is_meta() || indices.is_meta() || offsets.is_meta())
        return call.results({empty({bags, width}, weight.dtype, DeviceType::Meta),
                             empty({n}, DType::Int64, DeviceType::Meta),
                             empty({bags}, DType::Int64, DeviceType::Meta),
                             empty({maxima ? bags : 0, width}, DType::Int64, DeviceType::Meta)});
    TensorRef ids = own_indices(indices), begins = own_indices(offsets);
    const int64_t *at = data_of<int64_t>(ids), *given = data_of<int64_t>(begins);
    const auto check_rows = [&](int64_t begin) {
        for (int64_t i = begin; i < n; ++i)
            call.check(at[i] >= 0 && at[i] < rows, "Index ", i, " of input takes value ", at[i],
                       " which is not in the valid range [0, ", rows, ")");
    };
    std::vector<int64_t> start(given, given + offsets.numel);
    if (!start.empty()) {
        check(start[0] == 0,
              "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
              "position 0. However, got ",
              start[0]);
        check(start.back() <= n, "offsets[-1] can not be greater than input's length ", n,
              " but got offsets[-1] of ", start.back());
        for (size_t i = 1; i < start.size(); ++i)
            call.check(start[i] >= start[i - 1], "offsets must not decrease, but offsets[", i,
                       "] = ", start[i], " follows ", start[i - 1]);
    }
    if (!last) start.push_back(n);
    TensorRef bag_of = empty({n}, DType::Int64), counts = empty({bags}, DType::Int64),
              places = empty({maxima ? bags : 0, width}, DType::Int64);
    int64_t* owner = data_of<int64_t>(bag_of);
    const int64_t in_bags = bags ? start[size_t(bags)] : 0;
    check_rows(in_bags);  // the kernel checks those of bags
    std::fill(owner + in_bags, owner + n, int64_t(-1));
    const DType dtype = compute_dtype(call, weight);
    TensorRef out = empty({bags, width}, dtype);
    std::atomic<bool> outside{false};
    if (bags) {
        TensorRef table = contiguous(weight), factors = dense_or_null(samples, dtype);
        const BagShape shape{data_of(table),   rows,    width,        at, start.data(),
                             data_of(factors), padding, BagMode(mode)};
        void* to = data_of(out);
        int64_t *count = data_of<int64_t>(counts), *place = maxima ? data_of<int64_t>(places) : nullptr;
        const int64_t work = n * width / bags;
        Unlocked unlocked(n * width > kNnGrain);
        parallel_for(0, bags, grain_for(work), [&](int64_t begin, int64_t end) {
            for (int64_t b = begin; b < end; ++b)
                std::fill(owner + shape.start[b], owner + shape.start[b + 1], b);
            if (!bag_rows(weight.dtype, shape, to, count, place, begin, end)) outside.store(true);
        });
    }
    if (outside.load()) check_rows(0);
    return call.results({cast(*out, weight.dtype), bag_of, counts, places});
}

// The gradient of the table. grad, indices, offset2bag, bag_size, max_indices, num_weights, scale_grad_by_freq, mode,
// per_sample_weights, padding_idx
PyObject* embedding_bag_backward(Call& call) {
    Tensor &grad = call.tensor(0), &indices = call.tensor(1), &bag_of = call.tensor(2),
           &sizes = call.tensor(3), &maxima = call.tensor(4);
    const int64_t rows = call.integer(5), mode = call.integer(7), n = indices.numel;
    Tensor* samples = call.tensor_or_null(8);
    call.check(grad.ndim() == 2, "grad has to be a 2D Tensor, got ", str(grad.sizes));
    const int64_t bags = grad.sizes[0], width = grad.sizes[1];
    call.check(rows >= 0 && indices.ndim() == 1 && bag_of.sizes == indices.sizes &&
                   sizes.sizes == Dims{bags} && (mode != 2 || maxima.sizes == grad.sizes) &&
                   (!samples || samples->sizes == indices.sizes),
               "grad of shape ", str(grad.sizes), ", indices of shape ", str(indices.sizes),
               " and what the forward pass left do not fit each other");
    for (const Tensor* t : {&indices, &bag_of, &sizes, &maxima})
        call.check(is_integral(t->dtype), "indices must be integers, got ", name_of(t->dtype));
    if (grad.is_meta() || indices.is_meta())
        return empty({rows, width}, grad.dtype, DeviceType::Meta).release();
    int64_t padding = call.integer(9);
    if (padding < -1) padding += rows;
    const DType dtype = compute_dtype(call, grad);
    TensorRef out = empty({rows, width}, dtype);
    fill(*out, Scalar(0.0));
    TensorRef g = dense(grad, dtype);
    if (mode == 2) {
        TensorRef places = own_indices(maxima), counts = own_indices(sizes);
        check_indices(*places, rows, 0, call.name(), false, ErrorKind::Index);
        const int64_t *at = data_of<int64_t>(places), *count = data_of<int64_t>(counts);
        const auto add = [&](auto tag) {
            using T = typename decltype(tag)::type;
            const T* from = data_of<T>(g);
            T* to = data_of<T>(out);
            for (int64_t b = 0; b < bags; ++b)
                for (int64_t i = 0; count[b] && i < width; ++i)
                    to[at[b * width + i] * width + i] += from[b * width + i];
        };
        if (grad.numel) dtype == DType::Float32 ? add(Type<float>{}) : add(Type<double>{});
        return cast(*out, grad.dtype).release();
    }
    // Entries that count, with the factor of each.
    TensorRef ids = own_indices(indices), owners = own_indices(bag_of), counts = own_indices(sizes);
    TensorRef factors = dense_or_null(samples, dtype);
    check_indices(*ids, rows, 0, call.name(), false, ErrorKind::Index);
    int64_t *at = data_of<int64_t>(ids), *owner = data_of<int64_t>(owners);
    const int64_t* count = data_of<int64_t>(counts);
    const bool by_frequency = call.boolean(6);
    std::vector<int64_t> frequency;
    if (by_frequency) {
        frequency.resize(size_t(rows));
        for (int64_t i = 0; i < n; ++i) ++frequency[size_t(at[i])];
    }
    const bool scaled = by_frequency || mode == 1 || factors;
    TensorRef scale = empty({scaled ? n : 0}, dtype);
    int64_t kept = 0;
    const auto collect = [&](auto tag) {
        using T = typename decltype(tag)::type;
        const T* factor = data_of<T>(factors);
        T* to = data_of<T>(scale);
        for (int64_t i = 0; i < n; ++i) {
            if (at[i] == padding || owner[i] < 0) continue;
            call.check(owner[i] < bags, "offset2bag names bag ", owner[i], " of ", bags);
            T share = factor ? factor[i] : T(1);
            if (mode == 1) share /= T(count[owner[i]]);
            if (by_frequency) share /= T(frequency[size_t(at[i])]);
            if (scaled) to[kept] = share;
            at[kept] = at[i], owner[kept] = owner[i];
            ++kept;
        }
    };
    if (dtype == DType::Float32) collect(Type<float>{});
    else collect(Type<double>{});
    if (kept && width)
        add_to_rows(dtype, {at, owner, data_of(g), scaled ? data_of(scale) : nullptr, kept, width, -1},
                    data_of(out), rows);
    return cast(*out, grad.dtype).release();
}

// Scales the rows that are looked up down to a norm, in place: weight, indices, max_norm, norm_type.
PyObject* embedding_renorm_(Call& call) {
    Tensor &weight = call.tensor(0), &indices = call.tensor(1);
    check(weight.ndim() == 2, "'weight' must be 2-D");
    check_index_dtype(call, indices);
    const double limit = call.real(2), order = call.real(3);
    const DType dtype = compute_dtype(call, weight);
    if (!weight.is_meta() && !indices.is_meta() && indices.numel) {
        TensorRef ids = own_indices(indices);
        check_indices(*ids, weight.sizes[0], 0, call.name(), false, ErrorKind::Index);
        TensorRef table = dense(weight, dtype);  // the weight itself, where it is dense
        int64_t* at = data_of<int64_t>(ids);
        std::sort(at, at + ids->numel);
        const int64_t count = std::unique(at, at + ids->numel) - at, width = weight.sizes[1];
        const auto scale = [&](auto tag) {
            using T = typename decltype(tag)::type;
            for (int64_t i = 0; i < count; ++i) {
                T* row = data_of<T>(table) + at[i] * width;
                double norm = 0;
                for (int64_t k = 0; k < width; ++k) {
                    const double v = std::abs(double(row[k]));
                    norm = std::isinf(order) ? (order > 0 ? std::max(norm, v)
                                                : k       ? std::min(norm, v)
                                                          : v)
                           : order == 2      ? norm + v * v
                           : order == 1      ? norm + v
                           : order == 0      ? norm + (v != 0)
                                             : norm + std::pow(v, order);
                }
                if (order == 2) norm = std::sqrt(norm);
                else if (!std::isinf(order) && order != 1 && order != 0) norm = std::pow(norm, 1 / order);
                if (norm > limit)
                    for (int64_t k = 0; k < width; ++k) row[k] = T(row[k] * (limit / (norm + 1e-7)));
            }
        };
        if (weight.numel) dtype == DType::Float32 ? scale(Type<float>{}) : scale(Type<double>{});
        if (table->storage != weight.storage) copy_into(weight, *table);
    }
    return Py_NewRef(weight.object());
}

}  // namespace

FLB_OPS({"embedding", embedding}, {"embedding_dense_backward", embedding_dense_backward},
        {"_embedding_bag", embedding_bag}, {"_embedding_bag_backward", embedding_bag_backward},
        {"embedding_renorm_", embedding_renorm_});

}  // namespace flb
