// Operators that draw random numbers: they say in which order the elements of a tensor are filled, and the recipes of
// kernels/random_kernels.h do the drawing. See docs/random.md.
#include <limits>

#include "bindings/factory.h"
#include "kernels/random_kernels.h"

namespace flb {

namespace {

void check_writable(const Call& call, const Tensor& t) {
    call.check(!has_internal_overlap(t),
               "unsupported operation: more than one element of the written-to tensor refers "
               "to a single memory location. Please clone() the tensor before performing the operation.");
}

// A window of `t` whose dimensions lie in the order of memory: sorted by falling stride.
TensorRef in_memory_order(const Tensor& t, const Dims& order) {
    Dims sizes, strides;
    for (int64_t d : order) {
        sizes.push_back(t.sizes[int(d)]);
        strides.push_back(t.strides[int(d)]);
    }
    return from_storage(t.storage, sizes, strides, t.offset, t.dtype);
}
Dims memory_order(const Tensor& t) {
    Dims order;
    for (int d = 0; d < t.ndim(); ++d) {
        int at = order.size();
        while (at > 0 && t.strides[int(order[at - 1])] < t.strides[d]) --at;
        order.insert(at, d);
    }
    return order;
}

// Note [Order of draws]: a tensor is filled in the order of its memory. What is dense is filled where it lies; anything
// else is drawn into a dense temporary in that order and copied.
// draw(pointer, elements)
template <class Draw>
void draw_into(const Call& call, Tensor& t, Draw&& draw) {
    check_writable(call, t);
    if (t.is_meta()) return;
    if (is_non_overlapping_and_dense(t)) {
        draw(kernel_pointer(t), t.numel);
        return;
    }
    TensorRef window = in_memory_order(t, memory_order(t));
    TensorRef dense = empty(window->sizes, t.dtype);
    draw(kernel_pointer(*dense), dense->numel);
    copy_into(*window, *dense);
}

// ---- uniform and normal ---------------------------------------------------------------------------------------------

void uniform_into(const Call& call, Tensor& t, double from, double to, Generator& generator) {
    const DType real = info(t.dtype).real;
    const int parts = is_complex(t.dtype) ? 2 : 1;
    draw_into(call, t,
              [&](void* out, int64_t n) { random::fill_uniform(real, out, n * parts, from, to, generator); });
}
void normal_into(const Call& call, Tensor& t, double mean, double std, Generator& generator) {
    const bool serial = !t.contiguous;
    draw_into(call, t, [&](void* out, int64_t n) {
        random::fill_normal(t.dtype, out, n, mean, std, serial, generator);
    });
}

PyObject* uniform_(Call& call) {  // input, from, to, generator
    uniform_into(call, call.tensor(0), call.real(1), call.real(2), call.generator(3));
    return Py_NewRef(call.args[0]);
}
PyObject* normal_(Call& call) {  // input, mean, std, generator
    normal_into(call, call.tensor(0), call.real(1), call.real(2), call.generator(3));
    return Py_NewRef(call.args[0]);
}

PyObject* rand(Call& call) {  // size, generator, out, dtype ...
    const FactoryOptions o(call, 3, default_dtype());
    TensorRef t = output(call, call.ints(0), o.dtype, o.device);
    uniform_into(call, *t, 0, 1, call.generator(1));
    return o.finish(t);
}
PyObject* randn(Call& call) {
    const FactoryOptions o(call, 3, default_dtype());
    TensorRef t = output(call, call.ints(0), o.dtype, o.device);
    normal_into(call, *t, 0, 1, call.generator(1));
    return o.finish(t);
}
PyObject* rand_like(Call& call) {  // input, generator, dtype ..., memory_format
    const FactoryOptions o(call, 2, call.tensor(0).dtype);
    TensorRef t = empty_like_options(call, o, 2, 7);
    uniform_into(call, *t, 0, 1, call.generator(1));
    return o.finish(t);
}
PyObject* randn_like(Call& call) {
    const FactoryOptions o(call, 2, call.tensor(0).dtype);
    TensorRef t = empty_like_options(call, o, 2, 7);
    normal_into(call, *t, 0, 1, call.generator(1));
    return o.finish(t);
}

// ---- normal with a mean and a standard deviation per element ------------------------------------------------------------

OpHandle mul_op("mul_"), add_op("add_");

void check_std(const Call& call, Tensor& std) {
    call.check(!is_complex(std.dtype), "normal expects standard deviation to be non-complex");
    if (std.is_meta() || !std.numel) return;
    TensorRef converted = cast(std, DType::Float64);
    TensorRef dense = contiguous(*converted);
    const double* values = reinterpret_cast<const double*>(kernel_pointer(*dense));
    bool valid = true;
    for (int64_t i = 0; i < dense->numel; ++i) valid &= values[i] >= 0;
    call.check(valid, "normal expects all elements of std >= 0.0");
}

// Standard normal draws of the broadcast shape, times std, plus mean.
PyObject* normal_of(Call& call, const Dims& sizes, DType dtype, DeviceType device) {
    TensorRef t = output(call, sizes, dtype, device);
    normal_into(call, *t, 0, 1, call.generator(2));
    const GradModeGuard no_grad(false);
    invoke_tensor(mul_op, {t.object(), call.args[1]});
    invoke_tensor(add_op, {t.object(), call.args[0]});
    return t.release();
}
PyObject* normal_tensor_float(Call& call) {  // mean, std, generator, out
    Tensor& mean = call.tensor(0);
    const double std = call.real(1);
    call.check(std >= 0, "normal expects std >= 0.0, but found std ", std);
    // PyTorch fills `out` as it is and adds the mean to that: what it cannot broadcast to is refused.
    if (Tensor* out = call.out()) broadcast_shapes(mean.sizes, out->sizes);
    // The draws have the deviation at once: in half precision a product would be rounded once more.
    TensorRef t = output(call, mean.sizes, mean.dtype, mean.device);
    normal_into(call, *t, 0, std, call.generator(2));
    const GradModeGuard no_grad(false);
    invoke_tensor(add_op, {t.object(), call.args[0]});
    return t.release();
}
PyObject* normal_float_tensor(Call& call) {
    Tensor& std = call.tensor(1);
    check_std(call, std);
    return normal_of(call, std.sizes, std.dtype, std.device);
}
PyObject* normal_tensor_tensor(Call& call) {
    Tensor &mean = call.tensor(0), &std = call.tensor(1);
    check_std(call, std);
    return normal_of(call, broadcast_shapes(mean.sizes, std.sizes), mean.dtype, mean.device);
}
PyObject* normal_float_float(Call& call) {  // mean, std, size, generator, out, dtype ...
    const FactoryOptions o(call, 5, default_dtype());
    TensorRef t = output(call, call.ints(2), o.dtype, o.device);
    normal_into(call, *t, call.real(0), call.real(1), call.generator(3));
    return o.finish(t);
}

// ---- other continuous distributions -----------------------------------------------------------------------------------

template <void (*fill)(DType, void*, int64_t, double, Generator&)>
PyObject* one_parameter(Call& call) {  // input, parameter, generator
    if (fill == random::fill_exponential)
        check(is_floating(call.tensor(0).dtype),
              "Exponential distribution is a continuous probability distribution. dtype "
              "must be a floating point but you specified ",
              info(call.tensor(0).dtype).class_name);
    const double parameter = call.real(1);
    Generator& generator = call.generator(2);
    Tensor& t = call.tensor(0);
    draw_into(call, t, [&](void* out, int64_t n) { fill(t.dtype, out, n, parameter, generator); });
    return Py_NewRef(call.args[0]);
}
template <void (*fill)(DType, void*, int64_t, double, double, Generator&)>
PyObject* two_parameters(Call& call) {  // input, first, second, generator
    const double first = call.real(1), second = call.real(2);
    Generator& generator = call.generator(3);
    Tensor& t = call.tensor(0);
    draw_into(call, t, [&](void* out, int64_t n) { fill(t.dtype, out, n, first, second, generator); });
    return Py_NewRef(call.args[0]);
}

// ---- integers -----------------------------------------------------------------------------------------------------------

void between_into(const Call& call, Tensor& t, int64_t from, int64_t to, Generator& generator) {
    draw_into(call, t, [&](void* out, int64_t n) {
        random::fill_random_between(t.dtype, out, n, from, to, generator);
    });
}
PyObject* random_(Call& call) {  // input, generator
    Tensor& t = call.tensor(0);
    Generator& generator = call.generator(1);
    draw_into(call, t, [&](void* out, int64_t n) { random::fill_random(t.dtype, out, n, generator); });
    return Py_NewRef(call.args[0]);
}
PyObject* random_to(Call& call) {  // input, to, generator
    between_into(call, call.tensor(0), 0, call.integer(1), call.generator(2));
    return Py_NewRef(call.args[0]);
}
PyObject* random_from(Call& call) {  // input, from, to, generator
    Tensor& t = call.tensor(0);
    const int64_t from = call.integer(1);
    Generator& generator = call.generator(3);
    if (!call.none(2)) between_into(call, t, from, call.integer(2), generator);
    else
        draw_into(call, t,
                  [&](void* out, int64_t n) { random::fill_random_from(t.dtype, out, n, from, generator); });
    return Py_NewRef(call.args[0]);
}
// randint: [low,] high, size, generator, out, dtype ...
template <bool has_low>
PyObject* randint(Call& call) {
    const int at = has_low ? 1 : 0;
    const FactoryOptions o(call, at + 4, DType::Int64);
    const int64_t low = has_low ? call.integer(0) : 0, high = call.integer(at);
    TensorRef t = output(call, call.ints(at + 1), o.dtype, o.device);
    between_into(call, *t, low, high, call.generator(at + 2));
    return o.finish(t);
}
template <bool has_low>
PyObject* randint_like(Call& call) {  // input, [low,] high, generator, dtype ..., memory_format
    const int at = has_low ? 2 : 1;
    const FactoryOptions o(call, at + 2, call.tensor(0).dtype);
    const int64_t low = has_low ? call.integer(1) : 0, high = call.integer(at);
    TensorRef t = empty_like_options(call, o, at + 2, at + 7);
    between_into(call, *t, low, high, call.generator(at + 1));
    return o.finish(t);
}
PyObject* randperm(Call& call) {  // n, generator, out, dtype ...
    const FactoryOptions o(call, 3, DType::Int64);
    const int64_t n = call.integer(0);
    check(n >= 0, "Trying to create tensor with negative dimension ", n, ": [", n, "] (randperm)");
    if (is_floating(o.dtype)) {
        const int digits = o.dtype == DType::Float16    ? 11
                           : o.dtype == DType::BFloat16 ? 8
                           : o.dtype == DType::Float32  ? 24
                                                        : 53;
        const int64_t limit = (int64_t(1) << digits) + 1;
        check(n <= limit, "n cannot be greater than ", limit, " for ", info(o.dtype).class_name, " type.");
    } else {
        check(o.dtype == DType::Bool || Scalar(n).fits(o.dtype), "value cannot be converted to type ",
              name_of(o.dtype), " without overflow: n is ", n);
    }
    Generator& generator = call.generator(1);
    TensorRef t = output(call, {n}, o.dtype, o.device);
    draw_into(call, *t,
              [&](void* out, int64_t count) { random::fill_randperm(o.dtype, out, count, generator); });
    return o.finish(t);
}

// ---- bernoulli ------------------------------------------------------------------------------------------------------------

// Probabilities for the elements of t in the order of t's memory.
void bernoulli_each(const Call& call, Tensor& t, Tensor& p, Generator& generator) {
    check_writable(call, t);
    TensorRef expanded = expand_view(p, t.sizes);
    if (t.is_meta()) return;
    const Dims order = memory_order(t);
    TensorRef ordered = t.contiguous ? contiguous(*expanded)
                                     : clone(*in_memory_order(*expanded, order), MemoryFormat::Contiguous);
    const void* probabilities = kernel_pointer(*ordered);
    draw_into(call, t, [&](void* out, int64_t n) {
        random::fill_bernoulli(t.dtype, out, p.dtype, probabilities, n, generator);
    });
}
PyObject* bernoulli_scalar_(Call& call) {  // input, p, generator
    return one_parameter<random::fill_bernoulli>(call);
}
PyObject* bernoulli_tensor_(Call& call) {
    bernoulli_each(call, call.tensor(0), call.tensor(1), call.generator(2));
    return Py_NewRef(call.args[0]);
}
PyObject* bernoulli(Call& call) {  // input, generator, out
    Tensor& p = call.tensor(0);
    TensorRef t = empty(p.sizes, call.out() ? call.out()->dtype : p.dtype, p.device);
    bernoulli_each(call, *t, p, call.generator(1));
    return deliver(call, t);
}
PyObject* bernoulli_p(Call& call) {  // input, p, generator
    Tensor& like = call.tensor(0);
    const double p = call.real(1);
    Generator& generator = call.generator(2);
    TensorRef t = empty(like.sizes, like.dtype, like.device);
    draw_into(call, *t,
              [&](void* out, int64_t n) { random::fill_bernoulli(t->dtype, out, n, p, generator); });
    return t.release();
}

// ---- distributions with a tensor of parameters: drawn in the order of the (contiguous) result ----------------------------

template <void (*sample)(DType, void*, const void*, int64_t, Generator&)>
PyObject* sampled(Call& call) {  // input, generator
    Tensor& input = call.tensor(0);
    Generator& generator = call.generator(1);
    TensorRef t = empty(input.sizes, input.dtype, input.device);
    if (input.is_meta()) return t.release();
    TensorRef dense = contiguous(input);
    sample(t->dtype, kernel_pointer(*t), kernel_pointer(*dense), t->numel, generator);
    return t.release();
}
PyObject* binomial(Call& call) {  // count, prob, generator
    Tensor &count = call.tensor(0), &prob = call.tensor(1);
    call.check(count.dtype == prob.dtype, "Found dtype ", info(prob.dtype).class_name, " but expected ",
               info(count.dtype).class_name);
    const Dims sizes = broadcast_shapes(count.sizes, prob.sizes);
    TensorRef t = empty(sizes, count.dtype, count.device);
    if (count.is_meta()) return t.release();
    TensorRef wide_count = expand_view(count, sizes), wide_prob = expand_view(prob, sizes);
    TensorRef counts = contiguous(*wide_count), probs = contiguous(*wide_prob);
    random::sample_binomial(t->dtype, kernel_pointer(*t), kernel_pointer(*counts), kernel_pointer(*probs),
                            t->numel, call.generator(2));
    return t.release();
}
PyObject* sample_dirichlet(Call& call) {  // input, generator
    Tensor& input = call.tensor(0);
    TensorRef t = empty(input.sizes, input.dtype, input.device);
    if (input.is_meta() || !input.numel) return t.release();
    const int64_t cols = input.size(-1 + (input.ndim() ? input.ndim() : 1));
    TensorRef dense = contiguous(input);
    random::sample_dirichlet(t->dtype, kernel_pointer(*t), kernel_pointer(*dense), input.numel / cols, cols,
                             call.generator(1));
    return t.release();
}
// The weights have one or two dimensions and the number of samples was checked: flambeau/_ops/random.py.
PyObject* multinomial_replacement(Call& call) {  // input, num_samples, generator
    Tensor& input = call.tensor(0);
    const int64_t samples = call.integer(1);
    call.check((input.ndim() == 1 || input.ndim() == 2) && samples >= 0, "prob_dist must be 1 or 2 dim");
    const int64_t cols = input.sizes.back(), rows = input.ndim() == 2 ? input.sizes[0] : 1;
    TensorRef t = empty(input.ndim() == 2 ? Dims{rows, samples} : Dims{samples}, DType::Int64, input.device);
    if (input.is_meta() || !t->numel) return t.release();
    check(cols > 0, "invalid multinomial distribution (sum of probabilities <= 0)");
    TensorRef dense = contiguous(input);
    random::sample_multinomial(input.dtype, reinterpret_cast<int64_t*>(kernel_pointer(*t)),
                               kernel_pointer(*dense), rows, cols, samples, call.generator(2));
    return t.release();
}

}  // namespace

FLB_OPS({"uniform_", uniform_}, {"normal_", normal_}, {"rand", rand}, {"randn", randn},
        {"rand_like", rand_like}, {"randn_like", randn_like}, {"normal.Tensor_float", normal_tensor_float},
        {"normal.float_Tensor", normal_float_tensor}, {"normal.Tensor_Tensor", normal_tensor_tensor},
        {"normal.float_float", normal_float_float}, {"exponential_", one_parameter<random::fill_exponential>},
        {"geometric_", one_parameter<random::fill_geometric>},
        {"cauchy_", two_parameters<random::fill_cauchy>},
        {"log_normal_", two_parameters<random::fill_log_normal>}, {"random_", random_},
        {"random_.to", random_to}, {"random_.from", random_from}, {"randint", randint<false>},
        {"randint.low", randint<true>}, {"randint_like", randint_like<false>},
        {"randint_like.low", randint_like<true>}, {"randperm", randperm},
        {"bernoulli_.float", bernoulli_scalar_}, {"bernoulli_.Tensor", bernoulli_tensor_},
        {"bernoulli", bernoulli}, {"bernoulli.p", bernoulli_p}, {"poisson", sampled<random::sample_poisson>},
        {"_standard_gamma", sampled<random::sample_gamma>}, {"binomial", binomial},
        {"_sample_dirichlet", sample_dirichlet}, {"_multinomial_replacement", multinomial_replacement});

}  // namespace flb
