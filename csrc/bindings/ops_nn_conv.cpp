// Convolutions as operators: sizes, layouts and errors; the arithmetic is in kernels/conv.cpp.
#include <cstring>

#include "bindings/op.h"
#include "core/interpreter.h"
#include "kernels/conv_kernels.h"

namespace flb {
namespace {

constexpr double kUnlockWork = 1 << 20;

std::string text(const Dims& sizes, int from = 0, const char* between = ", ") {
    std::string out;
    for (int i = from; i < sizes.size(); ++i) out += (i > from ? between : "") + std::to_string(sizes[i]);
    return out;
}

// The settings of `n` spatial dimensions; missing leading ones are 1 and without padding.
struct Settings {
    int n;
    int64_t stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1},
            output_padding[3] = {0, 0, 0};
    int64_t groups;

    Settings(const Call& call, int spatial, int first_param, int output_padding_param, int groups_param)
        : n(spatial) {
        read(call, first_param, "stride", stride);
        read(call, first_param + 1, "padding", padding);
        read(call, first_param + 2, "dilation", dilation);
        if (output_padding_param >= 0) read(call, output_padding_param, "output_padding", output_padding);
        groups = call.integer(groups_param);
        check(groups > 0, "non-positive groups is not supported");
        for (int i = 0; i < 3; ++i) {
            check(stride[i] > 0, "non-positive stride is not supported");
            check(padding[i] >= 0, "negative padding is not supported");
            check(dilation[i] > 0, "dilation should be greater than zero");
            check(output_padding[i] >= 0, "negative output_padding is not supported");
        }
    }

  private:
    void read(const Call& call, int param, const char* what, int64_t (&to)[3]) const {
        const Dims values = call.ints(param);
        check(values.size() == 1 || values.size() == n, "expected ", what,
              " to be a single integer value or a list of ", n,
              " values to match the convolution dimensions, but got ", what, "=[", text(values), "]");
        for (int i = 0; i < n; ++i) {
            const int64_t v = values[values.size() == 1 ? 0 : i];
            check(v < int64_t(1) << 31, call.name(), "(): ", what, "=", v, " is too large");
            to[3 - n + i] = v;
        }
    }
};

// Spatial sizes of a tensor (batch, channels, ...) or of a weight, missing leading ones being 1.
void spatial(const Dims& sizes, int64_t (&to)[3]) {
    const int n = sizes.size() - 2;
    for (int i = 0; i < 3; ++i) to[i] = i < 3 - n ? 1 : sizes[2 + i - (3 - n)];
}

ConvImage image_of(const Tensor& t) {
    ConvImage image{t.numel ? kernel_pointer(t) : nullptr, t.strides[0], t.strides[1], {0, 0, 0}};
    const int n = t.ndim() - 2;
    for (int i = 0; i < n; ++i) image.stride[3 - n + i] = t.strides[2 + i];
    return image;
}

double work_of(const ConvShape& s) {
    return double(s.batch) * double(s.out[0] * s.out[1] * s.out[2]) * double(s.out_channels) *
           double(s.in_channels / s.groups * s.taps());
}

// bfloat16 and float16 are computed in float32. Small volumes are summed in double, as their many taps cancel: it takes less
// time than the call does.
constexpr double kSmallVolume = 1 << 19;
DType compute_type(DType type, const ConvShape& s, int spatial) {
    const bool small = type == DType::Float32 && spatial == 3 && work_of(s) <= kSmallVolume;
    return small || type == DType::Float64 ? DType::Float64 : DType::Float32;
}

void check_tensors(const Call& call, const Tensor& input, const Tensor& weight, const Tensor* bias,
                   bool transposed, int64_t groups) {
    const int n = input.ndim() - 2;
    call.check(n >= 1 && n <= 3,
               "expected an input of 3 to 5 dimensions (batch, channels, ...), but got size [",
               text(input.sizes), "]");
    check(weight.ndim() >= 3, "weight should have at least three dimensions, but got weight of size [",
          text(weight.sizes), "]");
    call.check(weight.ndim() == input.ndim(), "expected weight with ", input.ndim(),
               " dimensions for input of size [", text(input.sizes), "], but got weight of size [",
               text(weight.sizes), "]");
    if (input.dtype != weight.dtype)
        call.fail(ErrorKind::Runtime, "Input type (", name_of(input.dtype), ") and weight type (",
                  name_of(weight.dtype), ") should be the same");
    if (bias && bias->dtype != input.dtype)
        call.fail(ErrorKind::Runtime, "Input type (", name_of(input.dtype), ") and bias type (",
                  name_of(bias->dtype), ") should be the same");
    if (!is_floating(input.dtype))
        fail(ErrorKind::NotImplemented, "\"convolution\" not implemented for '", info(input.dtype).class_name,
             "'");
    check(weight.sizes[0] >= groups, "Given groups=", groups, ", expected weight to be at least ", groups,
          " at dimension 0, but got weight of size [", text(weight.sizes), "] instead");
    check(weight.sizes[0] % groups == 0, "Given groups=", groups, ", expected weight to be divisible by ",
          groups, " at dimension 0, but got weight of size [", text(weight.sizes), "] instead");
    const int64_t expected = transposed ? weight.sizes[0] : weight.sizes[1] * groups;
    check(input.sizes[1] == expected,
          transposed ? "Given transposed=" : "Given groups=", transposed ? 1 : groups, ", weight of size [",
          text(weight.sizes), "], expected input[", text(input.sizes), "] to have ", expected,
          " channels, but got ", input.sizes[1], " channels instead");
    const int64_t channels = transposed ? weight.sizes[1] * groups : weight.sizes[0];
    if (bias)
        check(bias->ndim() == 1 && bias->sizes[0] == channels, "Given weight of size [", text(weight.sizes),
              "], expected bias to be 1-dimensional with ", channels, " elements, but got bias of size [",
              text(bias->sizes), "] instead");
    for (int i = 2; i < weight.ndim(); ++i)
        check(weight.sizes[i] > 0,
              "convolution: kernel size should be greater than zero, but got weight of size [",
              text(weight.sizes), "]");
}

void set_output_sizes(const Call& call, ConvShape& s, int n) {
    for (int i = 0; i < 3; ++i) {
        const int64_t reach = s.dilation[i] * (s.kernel[i] - 1) + 1, padded = s.in[i] + 2 * s.padding[i];
        if (reach > padded) {
            Dims padded_sizes, kernel;
            for (int k = 3 - n; k < 3; ++k) {
                padded_sizes.push_back(s.in[k] + 2 * s.padding[k]);
                kernel.push_back(s.dilation[k] * (s.kernel[k] - 1) + 1);
            }
            fail(ErrorKind::Runtime, "Calculated padded input size per channel: (",
                 text(padded_sizes, 0, " x "), "). Kernel size: (", text(kernel, 0, " x "),
                 "). Kernel size can't be greater than actual input size");
        }
        s.out[i] = (padded - reach) / s.stride[i] + 1;
    }
}

TensorRef empty_result(const Tensor& input, const Tensor& weight, int64_t channels, const int64_t (&sizes)[3],
                       DType type) {
    const int n = input.ndim() - 2;
    Dims all{input.sizes[0], channels};
    for (int i = 3 - n; i < 3; ++i) all.push_back(sizes[i]);
    const MemoryFormat last = n == 2 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d;
    const bool channels_last =
        n >= 2 && (suggested_format(input) == last || suggested_format(weight) == last);
    return empty_format(all, type, input.device, channels_last ? last : MemoryFormat::Contiguous);
}

ConvShape shape_of(const Settings& settings, const Tensor& weight) {
    ConvShape s{};
    s.groups = settings.groups;
    s.out_channels = weight.sizes[0];
    s.in_channels = weight.sizes[1] * settings.groups;
    spatial(weight.sizes, s.kernel);
    for (int i = 0; i < 3; ++i) {
        s.stride[i] = settings.stride[i];
        s.padding[i] = settings.padding[i];
        s.dilation[i] = settings.dilation[i];
    }
    return s;
}

// The result where the sums run over no channels.
void fill_with_bias(Tensor& out, Tensor* bias) {
    Dims sizes(out.ndim(), 1);
    sizes[1] = out.sizes[1];
    TensorRef value = empty(sizes, out.dtype);
    const size_t bytes = size_t(value->numel) * info(out.dtype).itemsize;
    if (bias)
        std::memcpy(kernel_pointer(*value), kernel_pointer(*contiguous(*cast(*bias, out.dtype))), bytes);
    else std::memset(kernel_pointer(*value), 0, bytes);
    copy_into(out, *value);
}

// input, weight, bias, stride, padding, dilation, transposed, output_padding, groups
PyObject* convolution(Call& call) {
    Tensor &input = call.tensor(0), &weight = call.tensor(1);
    Tensor* bias = call.tensor_or_null(2);
    const bool transposed = call.boolean(6);
    const int n = input.ndim() - 2;
    call.check(n >= 1 && n <= 3,
               "expected an input of 3 to 5 dimensions (batch, channels, ...), but got size [",
               text(input.sizes), "]");
    const Settings settings(call, n, 3, 7, 8);
    check_tensors(call, input, weight, bias, transposed, settings.groups);
    ConvShape s = shape_of(settings, weight);
    s.batch = input.sizes[0];
    if (transposed) {
        spatial(input.sizes, s.out);
        for (int i = 0; i < 3; ++i) {
            check(i < 3 - n || s.out[i] > 0,
                  "convolution: expected non-zero spatial sizes, but got input of size [", text(input.sizes),
                  "]");
            const int64_t extra = settings.output_padding[i];
            check(extra == 0 || extra < s.stride[i] || extra < s.dilation[i],
                  "output padding must be smaller than either ",
                  "stride or dilation, but got output_padding: ", extra, ", stride: ", s.stride[i],
                  ", dilation: ", s.dilation[i]);
            check(s.out[i] < int64_t(1) << 31 && s.kernel[i] < int64_t(1) << 31,
                  "convolution: sizes are too large");
            s.in[i] = (s.out[i] - 1) * s.stride[i] - 2 * s.padding[i] + s.dilation[i] * (s.kernel[i] - 1) +
                      1 + extra;
        }
        Dims sizes;
        for (int i = 3 - n; i < 3; ++i) sizes.push_back(s.in[i]);
        for (int64_t v : sizes)
            check(v > 0 || (v == 0 && s.batch == 0), "Given input size per channel: (",
                  text(input.sizes, 2, " x "), "). Calculated output size per ", "channel: (",
                  text(sizes, 0, " x "), "). Output size is too small");
    } else {
        spatial(input.sizes, s.in);
        set_output_sizes(call, s, n);
    }
    const DType type = compute_type(input.dtype, s, n);
    TensorRef out = transposed ? empty_result(input, weight, s.in_channels, s.in, type)
                               : empty_result(input, weight, s.out_channels, s.out, type);
    if (!out->is_meta() && out->numel && !weight.numel) {
        fill_with_bias(*out, bias);
    } else if (!out->is_meta() && out->numel) {
        TensorRef x = cast(input, type), w = cast(weight, type), b;
        // Taps one step apart from each other need no copy where strides do not matter.
        const int64_t tap = w->strides[w->ndim() - 1];
        if (n != 2 || w->strides[2] != w->sizes[3] * tap || !takes_any_weights(type, s, transposed))
            w = contiguous(*w);
        if (bias) b = contiguous(*cast(*bias, type));
        const ConvWeights weights{w->numel ? kernel_pointer(*w) : nullptr,
                                  {w->strides[0], w->strides[1], w->strides[w->ndim() - 1]}};
        const void* biases = b ? kernel_pointer(*b) : nullptr;
        const ConvImage from = image_of(*x), to = image_of(*out);
        Unlocked unlocked(work_of(s) > kUnlockWork);
        if (transposed) conv_input_gradient(type, s, from, weights, biases, to);
        else conv_forward(type, s, from, weights, biases, to);
    }
    return cast(*out, input.dtype).release();
}

// input, grad_output, weight_size, stride, padding, dilation, groups
PyObject* convolution_weight(Call& call) {
    Tensor &input = call.tensor(0), &grad = call.tensor(1);
    const Dims weight_size = call.ints(2);
    const int n = input.ndim() - 2;
    call.check(n >= 1 && n <= 3 && grad.ndim() == input.ndim() && weight_size.size() == input.ndim(),
               "expected an input, a gradient and a weight size of the same 3 to 5 dimensions");
    const Settings settings(call, n, 3, -1, 6);
    TensorRef weight = empty(weight_size, input.dtype, DeviceType::Meta);
    check_tensors(call, input, *weight, nullptr, false, settings.groups);
    ConvShape s = shape_of(settings, *weight);
    s.batch = input.sizes[0];
    spatial(input.sizes, s.in);
    set_output_sizes(call, s, n);
    int64_t given[3];
    spatial(grad.sizes, given);
    // Fewer outputs than fit are fine: the transpose may have an output padding as large as the stride.
    call.check(grad.dtype == input.dtype && grad.sizes[0] == s.batch && grad.sizes[1] == s.out_channels &&
                   given[0] <= s.out[0] && given[1] <= s.out[1] && given[2] <= s.out[2],
               "the gradient of size [", text(grad.sizes), "] does not fit the convolution of input [",
               text(input.sizes), "] with weight [", text(weight_size), "]");
    for (int i = 0; i < 3; ++i) s.out[i] = given[i];
    const DType type = compute_type(input.dtype, s, n);
    TensorRef out = empty(weight_size, type, input.device);
    if (!out->is_meta() && out->numel) {
        TensorRef x = cast(input, type), g = cast(grad, type);
        void* to = kernel_pointer(*out);
        const ConvImage from = image_of(*x), grads = image_of(*g);
        Unlocked unlocked(work_of(s) > kUnlockWork);
        conv_weight_gradient(type, s, from, grads, to);
    }
    return cast(*out, input.dtype).release();
}

}  // namespace

FLB_OPS({"convolution", convolution}, {"_convolution_weight", convolution_weight});

}  // namespace flb
