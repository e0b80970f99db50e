// Sampling at the places of a grid, and its gradient.
#include "bindings/nn_common.h"
#include "kernels/grid_kernels.h"

namespace flb {
namespace {

// input, grid and what follows from `first` on: interpolation mode, padding mode, align_corners.
GridShape grid_shape(const Call& call, const Tensor& input, const Tensor& grid, int first) {
    const auto require = [](bool condition, const auto&... parts) {
        check(condition, "grid_sampler(): ", parts...);
    };
    const auto sizes = [&] {
        return "but got input with sizes " + str(input.sizes) + " and grid with sizes " + str(grid.sizes);
    };
    require(input.ndim() > 0 && grid.ndim() > 0 && input.sizes[0] == grid.sizes[0],
            "expected grid and input to have same batch size, ", sizes());
    require((input.ndim() == 4 || input.ndim() == 5) && input.ndim() == grid.ndim(),
            "expected 4D or 5D input and ", "grid with same number of dimensions, ", sizes());
    const int n = input.ndim() - 2;
    require(grid.sizes[n + 1] == n, "expected grid to have size ", n,
            " in last dimension, but got grid with sizes ", str(grid.sizes));
    for (int i = 2; i < n + 2; ++i)
        require(input.sizes[i] > 0,
                "expected input to have non-empty spatial dimensions, but input has sizes ", str(input.sizes),
                " with dimension ", i, " being empty");
    check(input.dtype == grid.dtype, "expected scalar type ", info(input.dtype).class_name, " but found ",
          info(grid.dtype).class_name);
    const int64_t mode = call.integer(first), padding = call.integer(first + 1);
    require(mode >= 0 && mode <= 2,
            "expected an interpolation mode of 0 (bilinear), 1 (nearest) or 2 (bicubic), got ", mode);
    require(padding >= 0 && padding <= 2,
            "expected a padding mode of 0 (zeros), 1 (border) or 2 (reflection), got ", padding);
    require(mode != GridShape::Bicubic || n == 2, "bicubic interpolation only supports 4D input");
    GridShape s{};
    s.batch = input.sizes[0], s.channels = input.sizes[1], s.pixels = 1;
    for (int i = 0; i < 3; ++i) s.size[i] = i < n ? input.sizes[n + 1 - i] : 1;
    for (int i = 1; i <= n; ++i) s.pixels *= grid.sizes[i];
    s.dims = n;
    s.mode = GridShape::Mode(mode);
    s.padding = GridShape::Padding(padding);
    s.align_corners = call.boolean(first + 2);
    int64_t elements = 1;
    for (int i = 0; i < n; ++i)
        require(!__builtin_mul_overflow(elements, input.sizes[2 + i], &elements) && elements < INT32_MAX,
                "planes of size ", str(input.sizes), " are too large");
    return s;
}
Dims output_sizes(const Tensor& input, const Tensor& grid) {
    Dims sizes = grid.sizes;
    for (int i = sizes.size() - 1; i > 1; --i) sizes[i] = grid.sizes[i - 1];
    sizes[1] = input.sizes[1];
    return sizes;
}

PyObject* grid_sampler(Call& call) {  // input, grid, interpolation_mode, padding_mode, align_corners
    Tensor &input = call.tensor(0), &grid = call.tensor(1);
    const GridShape s = grid_shape(call, input, grid, 2);
    const DType dtype = compute_dtype(call, input);
    const Dims sizes = output_sizes(input, grid);
    checked_numel(sizes);
    if (input.is_meta() || grid.is_meta()) return empty(sizes, input.dtype, DeviceType::Meta).release();
    TensorRef out = empty(sizes, dtype);
    if (out->numel) {
        TensorRef x = dense(input, dtype), g = dense(grid, dtype);
        const void *in = data_of(x), *places = data_of(g);
        void* to = data_of(out);
        Unlocked unlocked(out->numel > kNnGrain);
        parallel_for(0, s.batch * s.tiles(), grain_for(GridShape::kTile * s.channels * 8),
                     [&](int64_t b, int64_t e) { grid_sample(dtype, s, in, places, to, b, e); });
    }
    return cast(*out, input.dtype).release();
}

// grad_output, input, grid, interpolation_mode, padding_mode, align_corners, which gradients are wanted: input, grid
PyObject* grid_sampler_backward(Call& call) {
    Tensor &grad = call.tensor(0), &input = call.tensor(1), &grid = call.tensor(2);
    const GridShape s = grid_shape(call, input, grid, 3);
    const Dims sizes = output_sizes(input, grid);
    call.check(grad.sizes == sizes, "grad of shape ", str(grad.sizes), " does not fit an output of size ",
               str(sizes));
    const DType dtype = compute_dtype(call, input);
    if (grad.is_meta() || input.is_meta() || grid.is_meta())
        return call.results({empty(input.sizes, input.dtype, DeviceType::Meta),
                             empty(grid.sizes, grid.dtype, DeviceType::Meta)});
    TensorRef grad_in = empty(input.sizes, dtype), grad_grid = empty(grid.sizes, dtype);
    fill(*grad_in, Scalar(0.0));
    fill(*grad_grid, Scalar(0.0));
    if (grad.numel) {
        TensorRef g = dense(grad, dtype), x = dense(input, dtype), at = dense(grid, dtype);
        const void *from = data_of(g), *in = data_of(x), *places = data_of(at);
        void *to = data_of(grad_in), *to_grid = data_of(grad_grid);
        Unlocked unlocked(grad.numel > kNnGrain);
        if (call.boolean(6))
            parallel_for(
                0, s.batch * s.channel_blocks(), grain_for(s.pixels * GridShape::kChannels),
                [&](int64_t b, int64_t e) { grid_sample_input_gradient(dtype, s, from, places, to, b, e); });
        if (call.boolean(7) && s.mode != GridShape::Nearest)
            parallel_for(0, s.batch * s.tiles(), grain_for(GridShape::kTile * s.channels * 8),
                         [&](int64_t b, int64_t e) {
                             grid_sample_grid_gradient(dtype, s, from, in, places, to_grid, b, e);
                         });
    }
    return call.results({cast(*grad_in, input.dtype), cast(*grad_grid, grid.dtype)});
}

}  // namespace

FLB_OPS({"grid_sampler_2d", grid_sampler}, {"grid_sampler_3d", grid_sampler},
        {"_grid_sampler_backward", grid_sampler_backward});

}  // namespace flb
