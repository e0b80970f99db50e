// Resizing: which inputs every output takes, and with what weights. The kernels only follow these tables.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "bindings/nn_common.h"
#include "kernels/resize_kernels.h"

namespace flb {
namespace {

enum class Mode : uint8_t { Nearest, NearestExact, Linear, Cubic, Lanczos };

struct Settings {
    Mode mode;
    bool align_corners, antialias;
    // PyTorch's layouts and dimensions differ in how they find the nearest input: whether a size that is kept or doubled
    // settles it whatever the scale, and whether places are computed in float for every dtype.
    bool whole_factors = false, float_places = false;
};

// The entries of one dimension: those of output o are [start[o], start[o + 1]).
template <class T>
struct Entries {
    int64_t in, out;
    std::vector<int64_t> start{0};
    std::vector<int32_t> index;
    std::vector<T> weight;

    Entries(int64_t in, int64_t out, size_t each = 1) : in(in), out(out) {
        start.reserve(size_t(out) + 1);
        index.reserve(size_t(out) * each);
        weight.reserve(size_t(out) * each);
    }
    void add(int64_t i, T w) {  // neighbours at the border fall together
        if (index.size() > size_t(start.back()) && index.back() == i) weight.back() += w;
        else index.push_back(int32_t(i)), weight.push_back(w);
    }
    void close() { start.push_back(int64_t(index.size())); }

    // The same weights seen from the inputs.
    Entries transposed() const {
        Entries t{out, in};
        std::vector<int64_t> first(size_t(in), INT64_MAX), last(size_t(in), -1);
        for (int64_t o = 0; o < out; ++o)
            for (int64_t e = start[o]; e < start[o + 1]; ++e) {
                first[index[e]] = std::min(first[index[e]], o);
                last[index[e]] = o;
            }
        for (int64_t i = 0; i < in; ++i)
            t.start.push_back(t.start.back() + (last[i] < 0 ? 0 : last[i] - first[i] + 1));
        t.index.resize(size_t(t.start.back()));
        t.weight.assign(size_t(t.start.back()), T(0));
        for (int64_t i = 0; i < in;
             ++i)  // outputs between the first and the last that take nothing have weight 0
            for (int64_t e = t.start[i]; e < t.start[i + 1]; ++e)
                t.index[e] = int32_t(first[i] + e - t.start[i]);
        for (int64_t o = 0; o < out; ++o)
            for (int64_t e = start[o]; e < start[o + 1]; ++e)
                t.weight[t.start[index[e]] + o - first[index[e]]] += weight[e];
        return t;
    }
};

// Keys' cubic convolution kernel near (|x| <= 1) and far (1 < |x| < 2) from 0.
template <class T>
T cubic_near(T x, T a) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
}
template <class T>
T cubic_far(T x, T a) {
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}
template <class T>
T filter(Mode mode, T x) {
    x = std::abs(x);
    if (mode == Mode::Linear) return x < 1 ? 1 - x : T(0);
    if (mode == Mode::Cubic)  // Pillow's coefficient
        return x < 1 ? cubic_near(x, T(-0.5)) : x < 2 ? cubic_far(x, T(-0.5)) : T(0);
    if (x >= 3) return 0;
    if (x == 0) return 1;
    const T angle = T(M_PI) * x;
    return std::sin(angle) / angle * (std::sin(angle / 3) / (angle / 3));
}
constexpr double reach_of(Mode mode) { return mode == Mode::Linear ? 1 : mode == Mode::Cubic ? 2 : 3; }

// Inputs per output; `scale` is the factor that the user gave, 0 for none.
template <class T>
T ratio_of(const Settings& s, int64_t in, int64_t out, double scale) {
    if (s.align_corners) return out > 1 ? T(in - 1) / T(out - 1) : T(0);
    return scale > 0 ? T(1.0 / scale) : T(in) / T(out);
}

template <class T>
Entries<T> interpolating(const Settings& s, int64_t in, int64_t out, double scale) {
    Entries<T> e(in, out, s.mode == Mode::Linear ? 2 : 4);
    const T ratio = ratio_of<T>(s, in, out, scale);
    for (int64_t o = 0; o < out; ++o) {
        // Rounded once, as PyTorch's compiled code does: far from 0 the difference would show.
        T at = s.align_corners ? ratio * T(o) : std::fma(ratio, T(o) + T(0.5), T(-0.5));
        if (s.mode == Mode::Linear) {
            at = std::clamp(at, T(0), T(in));
            const int64_t low = std::min(int64_t(at), in - 1);
            const T high = std::clamp(at - T(low), T(0), T(1));
            e.add(low, 1 - high);
            if (in != out || high != 0) e.add(std::min(low + 1, in - 1), high);
        } else {
            at = std::clamp(at, T(-2), T(in) + 2);
            const T floor = std::floor(at), t = at - floor, a = T(-0.75);
            const T weights[4] = {cubic_far(t + 1, a), cubic_near(t, a), cubic_near(1 - t, a),
                                  cubic_far(2 - t, a)};
            for (int k = 0; k < 4; ++k)
                e.add(std::clamp(int64_t(floor) - 1 + k, int64_t(0), in - 1), weights[k]);
        }
        e.close();
    }
    return e;
}
// A filter that widens where the image shrinks, normalised to 1, as in Pillow.
template <class T>
Entries<T> antialiased(const Settings& s, int64_t in, int64_t out, double scale) {
    Entries<T> e{in, out};
    const T ratio = ratio_of<T>(s, in, out, scale), stretch = std::max(ratio, T(1));
    const T support = T(reach_of(s.mode)) * stretch;
    for (int64_t o = 0; o < out; ++o) {
        const T centre = ratio * (T(o) + T(0.5));
        const T limit = T(in) + 1;
        const int64_t first =
            std::clamp(int64_t(std::clamp(centre - support + T(0.5), T(0), limit)), int64_t(0), in);
        const int64_t last =
            std::clamp(int64_t(std::clamp(centre + support + T(0.5), T(0), limit)), first, in);
        const size_t from = e.weight.size();
        T total = 0;
        for (int64_t i = first; i < last; ++i) {
            const T w = filter(s.mode, (T(i) - centre + T(0.5)) / stretch);
            e.index.push_back(int32_t(i));
            e.weight.push_back(w);
            total += w;
        }
        if (total != 0)
            for (size_t i = from; i < e.weight.size(); ++i) e.weight[i] /= total;
        e.close();
    }
    return e;
}
template <class T>
Entries<T> nearest(const Settings& s, int64_t in, int64_t out, double scale) {
    Entries<T> e{in, out};
    T ratio = ratio_of<T>(s, in, out, scale);
    const T shift = s.mode == Mode::NearestExact ? T(0.5) : T(0);
    if (s.whole_factors && shift == 0 && (out == in || out == 2 * in)) ratio = T(in) / T(out);
    for (int64_t o = 0; o < out; ++o) {
        e.add(std::min(int64_t(std::clamp((T(o) + shift) * ratio, T(0), T(in))), in - 1), T(1));
        e.close();
    }
    return e;
}
template <class T>
Entries<T> identity(int64_t n) {
    Entries<T> e{n, n};
    for (int64_t o = 0; o < n; ++o) {
        e.add(o, T(1));
        e.close();
    }
    return e;
}
template <class T>
Entries<T> entries(const Settings& s, int64_t in, int64_t out, double scale) {
    if (s.mode == Mode::Nearest || s.mode == Mode::NearestExact) {
        if (!s.float_places || std::is_same_v<T, float>) return nearest<T>(s, in, out, scale);
        const Entries<float> e = nearest<float>(s, in, out, scale);
        Entries<T> wider(in, out);
        wider.start = e.start, wider.index = e.index;
        wider.weight.assign(e.weight.begin(), e.weight.end());
        return wider;
    }
    // Dimensions that keep their size are left alone, whatever the scale.
    if (in == out && !s.align_corners && s.mode != Mode::Cubic) scale = 0;
    if (in == out && s.antialias) return identity<T>(in);
    return s.antialias ? antialiased<T>(s, in, out, scale) : interpolating<T>(s, in, out, scale);
}
// Entries as the kernels read them: one column per output, `inner` columns where the elements of a row are spread.
template <class T>
class Axis {
  public:
    Axis(const Call& call, const Entries<T>& e, int64_t spread = 1) {
        int64_t taps = 1, fewest = INT64_MAX;
        bool copies = true;
        for (int64_t o = 0; o < e.out; ++o) {
            const int64_t count = e.start[o + 1] - e.start[o];
            taps = std::max(taps, count);
            fewest = std::min(fewest, count);
            copies &= count == 1 && e.weight[e.start[o]] == T(1);
        }
        const int64_t out = e.out * spread;
        call.check(taps <= (int64_t(1) << 28) / out, "sizes ", e.in, " and ", e.out, " lie too far apart");
        index_.assign(size_t(taps * out), 0);
        weight_.assign(size_t(taps * out), T(0));
        if (fewest < taps) count_.resize(size_t(out));
        for (int64_t o = 0; o < e.out; ++o)
            for (int64_t j = 0; j < spread; ++j) {
                const int64_t count = e.start[o + 1] - e.start[o], at = o * spread + j;
                if (!count_.empty()) count_[at] = int32_t(count);
                for (int64_t k = 0; k < taps; ++k) {
                    // Places without an entry repeat the first one, so that vectors stay close together.
                    const int64_t from = e.start[o] + (k < count ? k : 0);
                    index_[k * out + at] = count ? int32_t(e.index[from] * spread + j) : 0;
                    if (k < count) weight_[k * out + at] = e.weight[from];
                }
            }
        axis = {
            e.in * spread, out, taps, index_.data(), weight_.data(), count_.empty() ? nullptr : count_.data(),
            copies};
    }
    ResizeAxis axis;

  private:
    std::vector<int32_t> index_, count_;
    std::vector<T> weight_;
};

Settings settings(const Call& call, int first) {  // mode, align_corners, antialias
    static constexpr const char* kNames[] = {"nearest", "nearest-exact", "linear", "cubic", "lanczos"};
    const char* name = call.str(first);
    for (int i = 0; i < 5; ++i)
        if (!std::strcmp(name, kNames[i])) {
            const Settings s{Mode(i), call.boolean(first + 1), call.boolean(first + 2)};
            check(s.mode != Mode::Lanczos || s.antialias, "lanczos resizes with antialias=True only");
            return s;
        }
    call.fail(ErrorKind::Value, "unknown mode '", name, "'");
}

// The sizes of the input and the output, and where the batch ends.
struct Problem {
    Settings s;
    Dims sizes;  // of the result
    int n;
    int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1};
    double scale[3] = {0, 0, 0};
    int64_t batch, channels;
    MemoryFormat format;  // of `given`, the tensor that is resized, forward or back
    int64_t outer() const { return format == MemoryFormat::Contiguous ? batch * channels : batch; }
    int64_t inner() const { return format == MemoryFormat::Contiguous ? 1 : channels; }

    Problem(const Call& call, const Tensor& given, const Dims& input, const Dims& output,
            const Settings& settings, const std::vector<double>& scales)
        : s(settings), sizes(input), n(output.size()) {
        call.check(n >= 1 && n <= 3, "resizes one to three dimensions, not ", n);
        call.check(input.size() == n + 2, "It is expected input_size equals to ", n + 2, ", but got size ",
                   input.size());
        call.check(int(scales.size()) == n, "expected ", n, " scales, but got ", scales.size());
        bool positive = true;
        for (int i = 0; i < n; ++i) positive &= input[2 + i] > 0 && output[i] > 0;
        if (!positive) {
            static constexpr const char* kNames[] = {"D: ", "H: ", "W: "};
            std::string from, to;
            for (int i = 0; i < n; ++i) {
                from += (i ? ", " : "") + std::string(kNames[3 - n + i]) + std::to_string(input[2 + i]);
                to += (i ? ", " : "") + std::string(kNames[3 - n + i]) + std::to_string(output[i]);
            }
            check(false, "Input and output sizes should be greater than 0, but got input (", from,
                  ") output (", to, ")");
        }
        check(input[1] != 0 || input[0] == 0, "Non-empty ", n + 2,
              "D data tensor expected but got a tensor with sizes ", str(input));
        batch = input[0], channels = input[1];
        for (int i = 0; i < n; ++i) {
            const int k = 3 - n + i;
            in[k] = input[2 + i], out[k] = output[i], scale[k] = scales[size_t(i)];
            call.check(in[k] < INT32_MAX && out[k] < INT32_MAX, "sizes ", str(input), " are too large");
            sizes[2 + i] = output[i];
        }
        format = given.ndim() == n + 2 ? suggested_format(given) : MemoryFormat::Contiguous;
        const MemoryFormat channels_last = n == 2   ? MemoryFormat::ChannelsLast
                                           : n == 3 ? MemoryFormat::ChannelsLast3d
                                                    : MemoryFormat::Contiguous;
        if (format != channels_last) format = MemoryFormat::Contiguous;
        s.float_places = s.whole_factors =
            n == 2 || (n == 3 && format != MemoryFormat::Contiguous && channels > 3);
    }
};

template <class T>
void run(const Call& call, const Problem& p, const TensorRef& from, const TensorRef& to, bool back) {
    const auto axis_entries = [&](int k) {
        if (k < 3 - p.n) return identity<T>(1);
        Entries<T> e = entries<T>(p.s, p.in[k], p.out[k], p.scale[k]);
        return back ? e.transposed() : e;
    };
    const Entries<T> wide = axis_entries(2);
    const bool spreads =
        p.inner() > 1 && p.inner() < kResizeBlock && std::max(wide.in, wide.out) < INT32_MAX / kResizeBlock;
    const Axis<T> depth(call, axis_entries(0)), height(call, axis_entries(1)),
        width(call, wide, spreads ? p.inner() : 1);
    const ResizeShape shape{depth.axis, height.axis, width.axis, spreads ? 1 : p.inner()};
    const void* in = data_of(from);
    void* out = data_of(to);
    const int64_t rows = p.outer() * shape.depth.out * shape.height.out;
    const bool copies = shape.depth.copies && shape.height.copies && shape.width.copies;
    const int64_t work = (from->numel + to->numel) / rows + 1;
    std::vector<T> tables(copies ? 0 : size_t(shape.plan_size()));
    ResizePlan plan{};
    if (!copies) plan = resize_plan(from->dtype, shape, tables.data());
    Unlocked unlocked(to->numel > kNnGrain);
    parallel_for(0, rows, grain_for(work), [&](int64_t b, int64_t e) {
        if (copies) return resize_nearest(itemsize(from->dtype), shape, in, out, b, e);
        std::vector<T> scratch(size_t(shape.scratch()));
        resize_rows(from->dtype, shape, plan, in, out, scratch.data(), b, e);
    });
}

// ---- uint8 -------------------------------------------------------------------------------------------------------------

// Fixed-point weights with as many bits as keep the largest in 16.
struct ByteAxis {
    ByteAxis(const Call& call, const Entries<double>& e, bool needed) {
        double largest = 0;
        for (double w : e.weight) largest = std::max(largest, w);
        while (bits < 22 && int(0.5 + largest * (1 << (bits + 1))) < 1 << 15) ++bits;
        Entries<int32_t> fixed(e.in, e.out);
        fixed.start = e.start, fixed.index = e.index;
        for (double w : e.weight) {
            const double scaled = w * (1 << bits);
            fixed.weight.push_back(int32_t(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
        }
        table.emplace_back(call, fixed);
        axis = table[0].axis;
        axis.copies = !needed;
    }
    int bits = 0;
    ResizeAxis axis;

  private:
    std::vector<Axis<int32_t>> table;
};
// Linear and cubic interpolation are filters of fixed width here, with positions past the border moved to it.
Entries<double> byte_entries(const Settings& s, int64_t in, int64_t out, double scale) {
    if (s.antialias) return antialiased<double>(s, in, out, scale);
    return interpolating<double>(s, in, out, scale);
}
void run_bytes(const Call& call, const Problem& p, const TensorRef& from, const TensorRef& to) {
    const ByteAxis height(call, byte_entries(p.s, p.in[1], p.out[1], p.scale[1]), p.in[1] != p.out[1]),
        width(call, byte_entries(p.s, p.in[2], p.out[2], p.scale[2]), p.in[2] != p.out[2]);
    const ResizeBytes shape{height.axis, width.axis, height.bits, width.bits, p.inner()};
    const uint8_t* in = data_of<uint8_t>(from);
    uint8_t* out = data_of<uint8_t>(to);
    Unlocked unlocked(to->numel > kNnGrain);
    parallel_for(0, p.outer(), grain_for(from->numel / p.outer()), [&](int64_t b, int64_t e) {
        std::vector<uint8_t> scratch(size_t(p.in[1] * p.out[2] * p.inner()));
        resize_bytes(shape, in, out, scratch.data(), b, e);
    });
}

// ---- operators -----------------------------------------------------------------------------------------------------------

[[noreturn]] void unsupported(const Call& call, const Tensor& t) {
    fail(ErrorKind::NotImplemented, "\"", call.name(), "\" not implemented for '", info(t.dtype).class_name,
         "': it takes floating point tensors, and uint8 in the modes nearest, bilinear and bicubic; convert "
         "with "
         ".float()");
}

PyObject* resize_op(Call& call) {  // input, output_size, mode, align_corners, antialias, scales
    Tensor& t = call.tensor(0);
    const Settings s = settings(call, 2);
    const Problem p(call, t, t.sizes, call.ints(1), s, call.reals(5));
    const bool copies = s.mode == Mode::Nearest || s.mode == Mode::NearestExact;
    const bool bytes = t.dtype == DType::UInt8 && (copies || p.n == 2);
    if (!is_floating(t.dtype) && !bytes) unsupported(call, t);
    if (t.is_meta()) return empty_format(p.sizes, t.dtype, t.device, p.format).release();
    const DType dtype = copies || bytes ? t.dtype : compute_dtype(call, t);
    TensorRef out = empty_format(p.sizes, dtype, DeviceType::Cpu, p.format);
    if (out->numel) {
        TensorRef x = dense_in(t, dtype, p.format);
        if (bytes && !copies) run_bytes(call, p, x, out);
        else if (dtype == DType::Float64) run<double>(call, p, x, out, false);
        else run<float>(call, p, x, out, false);
    }
    return cast(*out, t.dtype).release();
}

PyObject* resize_backward_op(Call& call) {  // grad_output, input_size, mode, align_corners, antialias, scales
    Tensor& grad = call.tensor(0);
    const Dims input = call.ints(1);
    checked_numel(input);
    const std::vector<double> scales = call.reals(5);
    call.check(grad.ndim() >= 3 && grad.ndim() == input.size(), "grad of shape ", str(grad.sizes),
               " does not fit an input of size ", str(input));
    const Dims output(grad.sizes.data() + 2, grad.ndim() - 2);
    const Problem p(call, grad, input, output, settings(call, 2), scales);
    call.check(p.sizes == grad.sizes, "grad of shape ", str(grad.sizes), " does not fit an input of size ",
               str(input));
    const DType dtype = compute_dtype(call, grad);
    if (grad.is_meta()) return empty_format(input, grad.dtype, grad.device, p.format).release();
    TensorRef out = empty_format(input, dtype, DeviceType::Cpu, p.format);
    if (out->numel) {
        TensorRef g = dense_in(grad, dtype, p.format);
        if (dtype == DType::Float64) run<double>(call, p, g, out, true);
        else run<float>(call, p, g, out, true);
    }
    return cast(*out, grad.dtype).release();
}

}  // namespace

FLB_OPS({"_resize", resize_op}, {"_resize_backward", resize_backward_op});

}  // namespace flb
