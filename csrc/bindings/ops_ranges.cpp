// Operators that compute their elements from an index: sequences, the identity matrix, indices of triangles.
#include <cmath>

#include "bindings/factory.h"
#include "core/parallel.h"

namespace flb {

namespace {

// Writes element(i) for every i, in parallel; a destination that is not contiguous gets a copy.
template <class T, class F>
void generate_as(Tensor& t, F&& element) {
    TensorRef dense = t.contiguous ? TensorRef::borrow(&t) : empty(t.sizes, t.dtype);
    T* out = reinterpret_cast<T*>(kernel_pointer(*dense));
    parallel_for(0, dense->numel, 32768, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = element(i);
    });
    if (dense.get() != &t) copy_into(t, *dense);
}

[[noreturn]] void not_implemented(const char* recipe, DType t) {
    flb::fail(ErrorKind::NotImplemented, '"', recipe, "\" not implemented for '", info(t).class_name, "'");
}

template <class T> struct IsComplex : std::false_type {};
template <class T> struct IsComplex<Complex<T>> : std::true_type {};
template <class T> constexpr bool kIsComplex = IsComplex<T>::value;
template <class T> constexpr bool kIsHalf = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;
template <class T>
T from_double(double x) {
    if constexpr (kIsHalf<T>) return T(float(x));
    else return T(x);
}

template <class T>
T from_complex(Complex<double> z) {
    if constexpr (std::is_same_v<T, Complex<Half>>) return T(Half(float(z.re)), Half(float(z.im)));
    else return T(z);
}

// ---- arange and range ---------------------------------------------------------------------------------------------------

double real_value(const Call& call, const Scalar& s) {
    call.check(!s.is_complex(), "value cannot be converted to type double without overflow");
    return s.to_double();
}

struct Progression {
    Scalar start, end, step;
    bool integral;  // counted in 64-bit integers
    void check_direction(const Call& call) const {
        const double a = real_value(call, start), b = real_value(call, end), d = real_value(call, step);
        check(d != 0, "step must be nonzero (", call.name(), ")");
        check(std::isfinite(a) && std::isfinite(b), "unsupported range: ", a, " -> ", b);
        check(d > 0 ? b >= a : b <= a, "upper bound and lower bound inconsistent with step sign: from ", a,
              " to ", b, " in steps of ", d);
    }
};

void fill_progression(const char* recipe, Tensor& t, const Progression& p) {
    if (t.is_meta()) return;
    visit(t.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_same_v<T, bool> || kIsComplex<T>) {
            not_implemented(recipe, t.dtype);
        } else if constexpr (std::is_integral_v<T>) {
            const int64_t start = p.start.to_int(), step = p.step.to_int();
            // Unsigned arithmetic wraps where signed would be undefined.
            generate_as<T>(t, [=](int64_t i) { return T(uint64_t(start) + uint64_t(step) * uint64_t(i)); });
        } else {
            const double start = p.start.to_double(), step = p.step.to_double();
            generate_as<T>(t, [=](int64_t i) { return from_double<T>(start + step * double(i)); });
        }
    });
}

TensorRef sized_output(Call& call, int64_t n, const FactoryOptions& o) {
    Tensor* out = call.out();
    if (!out) return empty({n}, o.dtype, o.device);
    call.check(!has_internal_overlap(*out),
               "unsupported operation: more than one element of the written-to tensor refers to "
               "a single memory location. Please clone() the tensor before performing the operation.");
    if (out->numel != n) {
        if (out->numel)
            warn(join("The number of elements in the out tensor of shape ", str(out->sizes), " is ",
                      out->numel, " which does not match the computed number of elements ", n,
                      ". Note that this may occur as a result of "
                      "rounding error. The out tensor will be resized to a tensor of shape (",
                      n, ",).")
                     .c_str());
        resize(*out, {n});
    }
    return TensorRef::borrow(out);
}

int64_t checked_length(double length) {
    check(length >= 0 && length < 0x1p63, "invalid size, possible overflow? (", length, " elements)");
    return int64_t(length);
}

int64_t arange_length(const Progression& p, DType dtype) {
    if (dtype != DType::Int64)
        return checked_length(std::ceil((p.end.to_double() - p.start.to_double()) / p.step.to_double()));
    const int64_t start = p.start.to_int(), end = p.end.to_int(), step = p.step.to_int();
    check_as(ErrorKind::Value, step != 0, "step must be nonzero");
    // The distance of two 64-bit integers needs 65 bits.
    const __int128 distance = __int128(end) - start,
                   size = step > 0 ? (distance + step - 1) / step : (distance + step + 1) / step;
    check(size >= 0 && size <= INT64_MAX, "invalid size, possible overflow?");
    return int64_t(size);
}

// [start,] end, [step,] out, dtype ...: `from` and `by` are parameters or -1.
template <int from, int to, int by>
PyObject* arange(Call& call) {
    constexpr int first = (by >= 0 ? by : to) + 1;
    Progression p{from >= 0 ? call.scalar(from) : Scalar(int64_t(0)), call.scalar(to),
                  by >= 0 ? call.scalar(by) : Scalar(int64_t(1)), true};
    p.integral = p.start.is_integral() && p.end.is_integral() && p.step.is_integral();
    const FactoryOptions o(call, first + 1, p.integral ? DType::Int64 : default_dtype());
    p.check_direction(call);
    if (o.dtype == DType::Bool || is_complex(o.dtype)) not_implemented("arange_cpu", o.dtype);
    TensorRef t = sized_output(call, arange_length(p, o.dtype), o);
    fill_progression("arange_cpu", *t, p);
    return o.finish(t);
}

PyObject* range(Call& call) {  // start, end, step, out, dtype ...
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is "
        "inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).");
    Progression p{call.scalar(0), call.scalar(1), call.scalar(2), false};
    const FactoryOptions o(call, 4, default_dtype());
    p.check_direction(call);
    if (o.dtype == DType::Bool || is_complex(o.dtype)) not_implemented("range_cpu", o.dtype);
    const double length = std::floor((p.end.to_double() - p.start.to_double()) / p.step.to_double()) + 1;
    TensorRef t = sized_output(call, checked_length(length), o);
    fill_progression("range_cpu", *t, p);
    return o.finish(t);
}

// ---- linspace and logspace ----------------------------------------------------------------------------------------------

Scalar end_of(const Call& call, int i, const char* which) {
    if (call.is_tensor(i))
        call.check(call.tensor(i).ndim() == 0, call.name(),
                   " only supports 0-dimensional start and end tensors, but got ", which, " with ",
                   call.tensor(i).ndim(), " dimension(s).");
    return call.scalar(i);
}

// Both halves count from their own end, so that the sequence is symmetric and ends exactly.
template <class Step, class T>
Step on_line(Step start, Step end, Step step, int64_t i, int64_t n) {
    return i < n / 2 ? start + step * Step(i) : end - step * Step(n - i - 1);
}

struct Line {
    Scalar start, end;
    int64_t steps;
};

template <class T, class F>
void generate_line(Tensor& t, const Line& line, F&& map) {
    const int64_t n = line.steps;
    const auto divisor = double(n > 1 ? n - 1 : 1);
    if constexpr (kIsComplex<T>) {
        using C = Complex<double>;
        const C a = line.start.to_complex(), b = line.end.to_complex();
        const C step((b.re - a.re) / divisor, (b.im - a.im) / divisor);
        generate_as<T>(t, [=](int64_t i) {
            const C z(on_line<double, T>(a.re, b.re, step.re, i, n),
                      on_line<double, T>(a.im, b.im, step.im, i, n));
            return map(n == 1 ? a : z);
        });
    } else if constexpr (std::is_integral_v<T>) {
        const double a = double(T(line.start.to_int())), b = double(T(line.end.to_int())),
                     step = (b - a) / divisor;
        generate_as<T>(t, [=](int64_t i) { return map(n == 1 ? a : on_line<double, T>(a, b, step, i, n)); });
    } else {
        using W = std::conditional_t<kIsHalf<T>, float, T>;
        const W a = W(from_double<T>(line.start.to_double())), b = W(from_double<T>(line.end.to_double()));
        const W step = W(from_double<T>(double((b - a) / W(divisor))));
        generate_as<T>(t, [=](int64_t i) { return map(n == 1 ? a : on_line<W, T>(a, b, step, i, n)); });
    }
}

template <bool logarithmic>
PyObject* line(Call& call) {  // start, end, steps, [base,] out, dtype ...
    constexpr int first = logarithmic ? 4 : 3;
    const Line l{end_of(call, 0, "start"), end_of(call, 1, "end"), call.integer(2)};
    const bool complex = l.start.is_complex() || l.end.is_complex();
    const FactoryOptions o(call, first + 1, complex ? default_complex_dtype() : default_dtype());
    check(l.steps >= 0, "number of steps must be non-negative, got ", l.steps);
    call.check(!complex || is_complex(o.dtype), "inferred dtype ", name_of(default_complex_dtype()),
               " can't be safely cast to passed dtype ", name_of(o.dtype));
    TensorRef t = sized_output(call, l.steps, o);
    if (t->is_meta()) return o.finish(t);
    const double base = logarithmic ? call.real(3) : 0;
    visit(o.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_same_v<T, bool>) {
            not_implemented(logarithmic ? "logspace_cpu" : "linspace_cpu", o.dtype);
        } else if constexpr (!logarithmic) {
            generate_line<T>(*t, l, [](auto x) {
                if constexpr (kIsComplex<T>) return from_complex<T>(x);
                else return from_double<T>(double(x));
            });
        } else if constexpr (kIsComplex<T>) {
            const double modulus = std::log(std::fabs(base)), argument = base < 0 ? M_PI : 0.0;
            generate_line<T>(*t, l, [=](Complex<double> z) {
                const double r = std::exp(z.re * modulus - z.im * argument),
                             phi = z.im * modulus + z.re * argument;
                return from_complex<T>({r * std::cos(phi), r * std::sin(phi)});
            });
        } else {
            generate_line<T>(*t, l, [=](auto x) { return from_double<T>(std::pow(base, double(x))); });
        }
    });
    return o.finish(t);
}

// ---- matrices -------------------------------------------------------------------------------------------------------------

template <bool has_m>
PyObject* eye(Call& call) {  // n, [m,] out, dtype ...
    const FactoryOptions o(call, has_m ? 3 : 2, default_dtype());
    const int64_t n = call.integer(0), m = has_m && !call.none(1) ? call.integer(1) : n;
    check(n >= 0, "n must be greater or equal to 0, got ", n);
    check(m >= 0, "m must be greater or equal to 0, got ", m);
    if (is_stored_only(o.dtype) && !is_float8(o.dtype)) not_implemented("eye", o.dtype);
    TensorRef t = output(call, {n, m}, o.dtype, o.device);
    fill(*t, Scalar(int64_t(0)));
    const int64_t diagonal = n < m ? n : m;
    if (!t->is_meta() && diagonal) {
        TensorRef ones =
            from_storage(t->storage, {diagonal}, {t->strides[0] + t->strides[1]}, t->offset, o.dtype);
        fill(*ones, Scalar(int64_t(1)));
    }
    return o.finish(t);
}

PyObject* empty_permuted(Call& call) {  // size, physical_layout, dtype ...
    const FactoryOptions o(call, 2, default_dtype());
    const Dims size = call.ints(0), order = call.ints(1);
    const int n = size.size();
    call.check(
        order.size() == n,
        "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = ", n,
        " is not equal to len(physical_layout) = ", order.size());
    call.check(n <= kMaxDims, "a tensor has at most ", kMaxDims, " dimensions, got ", n);
    uint64_t seen = 0;
    Dims physical;
    for (int i = 0; i < n; ++i) {
        call.check(order[i] >= 0 && order[i] < n, "Dimension out of range (expected to be between 0 and ",
                   n - 1, ", but got ", order[i], " at index ", i, ")");
        call.check(!(seen >> order[i] & 1), "Duplicate dim not allowed");
        seen |= uint64_t(1) << order[i];
        physical.push_back(size[int(order[i])]);
    }
    checked_numel(size);
    const Dims dense = contiguous_strides(physical);
    Dims strides(n);
    for (int i = 0; i < n; ++i) strides[int(order[i])] = dense[i];
    return o.finish(empty_strided(size, strides, o.dtype, o.device));
}

// The sum over r in [0, rows) of r + shift limited to [0, cols], without a walk over the rows: there may be 2^60 of them.
int64_t limited_sum(int64_t rows, int64_t cols, int64_t shift) {
    __int128 sum = 0;
    const __int128 grows_from = shift < 0 ? -__int128(shift) : 0, full_from = __int128(cols) - shift;
    const __int128 first = grows_from < rows ? grows_from : rows;
    const __int128 last = full_from < first ? first : full_from < rows ? full_from : rows;
    sum += (last - first) * (first + shift + last - 1 + shift) / 2;
    sum += (rows - last) * cols;
    return int64_t(sum);
}

// Rows and columns of the elements on and below (or above) a diagonal, in the order of the rows.
template <bool lower>
PyObject* triangle_indices(Call& call) {  // row, col, offset, dtype ...
    const FactoryOptions o(call, 3, DType::Int64);
    const int64_t rows = call.integer(0), cols = call.integer(1), offset = call.integer(2);
    check(rows >= 0, "row must be non-negative, got", rows);
    check(cols >= 0, "col must be non-negative, got", cols);
    if (!is_integral(o.dtype)) not_implemented(lower ? "tril_indices" : "triu_indices", o.dtype);
    checked_numel({rows, cols});
    // Columns [begin, end) of a row: those up to (from) row + offset. An offset beyond the matrix counts as its edge.
    const int64_t shift = offset > cols ? cols : offset < -rows ? -rows : offset;
    const auto edge = [=](int64_t row) {
        const int64_t c = row + shift + (lower ? 1 : 0);
        return c < 0 ? 0 : c > cols ? cols : c;
    };
    const int64_t before = limited_sum(rows, cols, shift + (lower ? 1 : 0));
    const int64_t count = lower ? before : rows * cols - before;
    TensorRef t = empty({2, count}, o.dtype, o.device);
    if (t->is_meta() || !count) return o.finish(t);
    visit(o.dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            T* row = reinterpret_cast<T*>(kernel_pointer(*t));
            T* col = row + count;
            // Rows without elements, of which there may be very many, are above these or below.
            const int64_t begin = lower && shift < 0 ? -shift : 0;
            const int64_t end = !lower && shift > cols - rows ? cols - shift : rows;
            for (int64_t r = begin; r < end; ++r)
                for (int64_t c = lower ? 0 : edge(r), end = lower ? edge(r) : cols; c < end; ++c)
                    *row++ = T(r), *col++ = T(c);
        }
    });
    return o.finish(t);
}

}  // namespace

FLB_OPS({"arange.end", arange<-1, 0, -1>}, {"arange", arange<0, 1, 2>}, {"range", range},
        {"linspace", line<false>}, {"logspace", line<true>}, {"eye", eye<false>}, {"eye.m", eye<true>},
        {"empty_permuted", empty_permuted}, {"tril_indices", triangle_indices<true>},
        {"triu_indices", triangle_indices<false>});

}  // namespace flb
