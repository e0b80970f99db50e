// The gradient of a convolution's weights: a product of gradients and inputs over all positions.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {
namespace {

// The gradient of the weights as a product: gradients (channels, positions) times inputs (positions, part of a window),
// over blocks of whole rows of positions.
class WeightProduct {
  public:
    WeightProduct(DType type, int64_t rows_per_image, int64_t positions)
        : type_(type),
          panel_(conv_panel_type(type)),
          shape_(gemm_shape(panel_)),
          rows_per_image_(rows_per_image),
          positions_(positions),
          block_rows_(std::max(int64_t(1), shape_.kc / std::max(int64_t(1), positions))) {}

    // Packs the gradients of `rows`, which the next products multiply by.
    void packs(const std::vector<ConvRow>& rows, const GemmSide& strides, int64_t groups, int64_t channels) {
        rows_ = &rows;
        const int64_t count = int64_t(rows.size()), size = itemsize(type_), mr = shape_.mr;
        panels_ = ceil_div(channels, mr);
        step_ = groups * panels_ * mr;
        packed_ = static_cast<char*>(scratch(Scratch::Partial, size_t(count * positions_ * step_ * size)));
        const int64_t blocks = ceil_div(count, block_rows_);
        const int64_t grain = std::max(int64_t(1), 65536 / (block_rows_ * positions_ * step_));
        parallel_for(0, blocks * groups, grain * groups, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t) {
                const int64_t group = t % groups, first = t / groups * block_rows_,
                              last = std::min(count, first + block_rows_);
                for (int64_t p = 0; p < panels_; ++p)
                    for (int64_t r = first; r < last;) {
                        // As many rows as lie in one image.
                        const int64_t next = std::min(last, (r / rows_per_image_ + 1) * rows_per_image_);
                        gemm_pack(panel_, type_, true,
                                  static_cast<const char*>(rows[size_t(r)].output) +
                                      (group * channels + p * mr) * strides.stride * size,
                                  strides.stride, strides.k_stride, std::min(mr, channels - p * mr),
                                  (next - r) * positions_,
                                  block(first, last, group) +
                                      (p * (last - first) + r - first) * positions_ * mr * size);
                        r = next;
                    }
            }
        });
    }

    // c[channel, i] += the sum over positions of gradient[channel] * input[run.input + i].
    void add(int64_t group, int64_t channels, const ConvRun& run, int64_t input_step, char* c,
             int64_t ldc) const {
        const int64_t count = int64_t(rows_->size()), size = itemsize(type_);
        char* inputs = static_cast<char*>(
            scratch(Scratch::PackedA, size_t(block_rows_ * positions_ * shape_.nr * size)));
        for (int64_t first = 0; first < count; first += block_rows_) {
            const int64_t last = std::min(count, first + block_rows_);
            for (int64_t r = first; r < last; ++r)
                gemm_pack(panel_, type_, false,
                          static_cast<const char*>((*rows_)[size_t(r)].input) + run.input * size, 1,
                          input_step, run.length, positions_,
                          inputs + (r - first) * positions_ * shape_.nr * size);
            gemm_block(panel_, channels, run.length, (last - first) * positions_, block(first, last, group),
                       inputs, c, ldc, true);
        }
    }

  private:
    // The panels of rows [first, last).
    char* block(int64_t first, int64_t last, int64_t group) const {
        const int64_t in_group = group * panels_ * shape_.mr * (last - first);
        return packed_ + (first * step_ + in_group) * positions_ * itemsize(type_);
    }

    DType type_;
    PanelType panel_;
    GemmShape shape_;
    int64_t rows_per_image_, positions_, block_rows_, panels_ = 0, step_ = 0;
    const std::vector<ConvRow>* rows_ = nullptr;
    char* packed_ = nullptr;
};

}  // namespace

void product_weight_gradient(DType type, const ConvShape& shape, const ConvImage& input,
                             const ConvImage& grad_output, void* grad_weight) {
    const int64_t nr = conv_panel(type);
    const bool columns = few_channels(shape) || columns_fill_panels(shape, nr);
    const ConvShape s = columns ? columns_shape(shape) : shape;
    const int64_t size = itemsize(type), taps = s.taps();
    const int64_t og = s.out_channels / s.groups, cg = s.in_channels / s.groups;
    const Plan plan = make_plan(s, false, s.in_channels, cg, int64_t(1) << 40);
    const OutputClass& out = plan.outputs[0];
    const Frame& f = plan.frame;
    const Frame gf{{0, 0, 0}, {s.out[0], s.out[1], s.out[2]}, s.out_channels};

    const Source x(input, {s.in[0], s.in[1], s.in[2]}, f, size, columns ? &shape : nullptr, taps == 1);
    const Source g(grad_output, {s.out[0], s.out[1], s.out[2]}, gf, size, nullptr, false);
    // Packed in place where neighbouring positions are one step apart throughout an image.
    const int64_t g_step = grad_output.stride[2];
    const bool g_plain = (s.out[1] == 1 || grad_output.stride[1] == s.out[2] * g_step) &&
                         (s.out[0] == 1 || grad_output.stride[0] == s.out[1] * s.out[2] * g_step);

    // Columns of the result, each summed over all positions by one thread: a panel of a run.
    struct Tile {
        int64_t group;
        ConvRun run;
    };
    std::vector<Tile> tiles;
    for (int64_t group = 0; group < s.groups; ++group)
        for (const ConvRun& run : out.runs)
            for (int64_t i = 0; i < run.length; i += nr)
                tiles.push_back(
                    {group, {run.input + group * cg + i, run.weight + i, std::min(nr, run.length - i)}});
    const int64_t ld = taps * cg;
    const int64_t stored_taps = shape.taps(), stored_in = shape.in_channels / shape.groups;
    char* total = static_cast<char*>(
        stored_taps == 1 ? grad_weight : scratch(Scratch::PackedB, size_t(s.out_channels * ld * size)));
    std::memset(total, 0, size_t(s.out_channels * ld * size));

    // As many images at a time as stay in the cache; the cuts depend on the shape alone.
    const int64_t image_bytes = (f.elements() + gf.elements()) * size;
    const int64_t group_images = std::clamp((int64_t(1) << 20) / std::max(int64_t(1), image_bytes),
                                            int64_t(1), std::max(s.batch, int64_t(1)));
    const DimClass &d = *out.dim[0], &h = *out.dim[1], &w = *out.dim[2];
    const int64_t rows_per_image = d.count * h.count;
    // Written-out windows are much larger than images: a part of one at a time.
    const int64_t parts = columns ? std::clamp(image_bytes / (int64_t(1) << 19), int64_t(1),
                                               std::max(rows_per_image, int64_t(1)))
                                  : 1;
    const int64_t part_rows = ceil_div(rows_per_image, parts);
    char* xs = static_cast<char*>(
        x.direct() ? nullptr
                   : scratch(Scratch::Columns, parts > 1 ? size_t(part_rows * f.stride(1) * size)
                                                         : x.bytes() * size_t(group_images)));
    char* gs = static_cast<char*>(
        g.direct() || g_plain ? nullptr : scratch(Scratch::Product, g.bytes() * size_t(group_images)));
    std::vector<ConvRow> rows;
    WeightProduct product(type, rows_per_image, w.count);
    const int64_t steps = rows_per_image * w.count > 0 ? ceil_div(s.batch, group_images) * parts : 0;
    for (int64_t step = 0; step < steps; ++step) {
        const int64_t n0 = step / parts * group_images, images = std::min(group_images, s.batch - n0);
        const int64_t first_row = step % parts * part_rows,
                      end_row = std::min(first_row + part_rows, rows_per_image);
        if (first_row >= end_row) continue;
        auto fill = [&](const Source& source, const Frame& frame, char* to, int64_t begin_row,
                        int64_t rows_of_it) {
            if (source.direct()) return;
            parallel_for(0, images * rows_of_it, std::max(int64_t(1), 32768 / (frame.stride(1) + 1)),
                         [&](int64_t begin, int64_t end) {
                             for (int64_t t = begin; t < end;) {
                                 const int64_t n = t / rows_of_it, first = begin_row + t % rows_of_it,
                                               last = std::min(begin_row + rows_of_it, first + end - t);
                                 source.fill(n0 + n, to + n * int64_t(source.bytes()), first, last);
                                 t += last - first;
                             }
                         });
        };
        // Only the part's rows have memory.
        char* xs_of_image = xs - (parts > 1 ? first_row * f.stride(1) * size : 0);
        if (parts > 1) fill(x, f, xs_of_image, first_row, end_row - first_row);
        else fill(x, f, xs, 0, x.rows());
        if (!g_plain && first_row == 0) fill(g, gf, gs, 0, g.rows());
        rows.clear();
        for (int64_t n = 0; n < images; ++n) {
            const char* xi = x.direct() ? x.caller_memory(n0 + n) : xs_of_image + n * int64_t(x.bytes());
            const char* gi = g_plain || g.direct() ? g.caller_memory(n0 + n) : gs + n * int64_t(g.bytes());
            for (int64_t r = first_row; r < end_row; ++r)
                rows.push_back(
                    {xi +
                         (r / h.count * d.multiple * x.step(0) + r % h.count * h.multiple * x.step(1)) * size,
                     const_cast<char*>(gi) + r * (g_plain ? w.count * g_step : gf.stride(1)) * size});
        }
        const double work = double(rows.size()) * double(w.count) * double(s.out_channels) * double(ld);
        const int64_t grain = work < kParallelProduct ? int64_t(tiles.size()) : 1;
        const GemmSide grads{nullptr, g_plain ? grad_output.channel_stride : 1,
                             g_plain ? g_step : gf.channels};
        product.packs(rows, grads, s.groups, og);
        parallel_for(0, int64_t(tiles.size()), grain, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t) {
                const Tile& tile = tiles[size_t(t)];
                product.add(tile.group, og, tile.run, w.multiple * x.step(2),
                            total + (tile.group * og * ld + tile.run.weight) * size, ld);
            }
        });
    }

    if (stored_taps == 1) return;
    // Into the weight's own order: [out][in / groups][tap].
    parallel_for(0, s.out_channels, std::max(int64_t(1), 32768 / ld), [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; ++o)
            conv_transpose_copy(int(size), stored_taps, stored_in, total + o * ld * size, stored_in, 1,
                                static_cast<char*>(grad_weight) + o * ld * size, 1, stored_taps);
    });
}

}  // namespace flb
