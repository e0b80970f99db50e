// Windows of 3 x 3 in float32 by Winograd's algorithm: 16 multiplications for four outputs instead of 36.
//
// Note [Winograd]: a tile of 2 x 2 outputs reads 4 x 4 inputs. Inputs and weights are transformed to 16 numbers each, which
// are multiplied and summed over channels (16 products of matrices: tiles x channels by channels x outputs), and the 16
// sums are transformed to the four outputs. The transforms add and subtract, and halve weights: with small integers
// everything stays exact. An output depends on the inputs under its window alone, as in the direct sum, and an error is
// bounded by the largest magnitudes there; sums over channels are shorter than direct ones, so that errors are smaller as
// a rule. (Larger tiles, which save more, let an input reach outputs whose windows do not cover it, and lose digits.) Only
// infinities are different: differences make them nan. So where an output is not finite, its image is computed again
// directly.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(winograd_weights);
FLB_DEFINE_KERNEL(winograd_input);
FLB_DEFINE_KERNEL(winograd_output);

namespace {

constexpr int64_t kNumbers = 16;          // of a transformed tile
constexpr int64_t kLeastChannels = 32;    // fewer do not pay for the transforms of tiles,
constexpr int64_t kLeastTiles = 32;       // and fewer of these not for that of the weights
constexpr int64_t kBlockBytes = 1 << 20;  // of transformed tiles, which should stay in the second cache level
constexpr int64_t kLanes = 16;

int64_t tiles_along(int64_t outputs) { return ceil_div(outputs, 2); }

class Winograd {
  public:
    Winograd(const ConvShape& s, bool backward, const ConvImage& source, const void* bias,
             const ConvImage& target)
        : batch_(s.batch),
          sources_(backward ? s.out_channels : s.in_channels),
          targets_(backward ? s.in_channels : s.out_channels),
          source_(source),
          target_(target),
          bias_(static_cast<const float*>(bias)),
          gemm_(gemm_shape(PanelType::F32)) {
        for (int i = 0; i < 2; ++i) {
            from_[i] = (backward ? s.out : s.in)[i + 1];
            to_[i] = (backward ? s.in : s.out)[i + 1];
            before_[i] = backward ? 2 - s.padding[i + 1] : s.padding[i + 1];
            tiles_[i] = tiles_along(to_[i]);
        }
        width_ = round_up(targets_, gemm_.nr);
        weight_step_ = sources_ * width_ + kLanes;
        source_row_ = round_up(sources_, kLanes) + kLanes;
        target_row_ = round_up(targets_, kLanes) + kLanes;
    }

    // weights[number][piece of k][panel][k][target channel]
    void transform_weights(const float* weight, bool backward) {
        float* weights =
            static_cast<float*>(scratch(Scratch::PackedB, size_t(kNumbers * weight_step_) * sizeof(float)));
        weights_ = weights;
        const int64_t source_step = backward ? targets_ * 9 : 9, target_step = backward ? 9 : sources_ * 9;
        const int64_t panels = width_ / gemm_.nr, pieces = ceil_div(sources_, gemm_.kc);
        parallel_for(
            0, pieces * panels, std::max(1, 8192 / (gemm_.kc * gemm_.nr)), [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end; ++t) {
                    const int64_t first = t / panels * gemm_.kc, panel = t % panels;
                    const int64_t depth = std::min(int64_t(gemm_.kc), sources_ - first);
                    const int64_t target = panel * gemm_.nr;
                    winograd_weights({weight + first * source_step + target * target_step, source_step,
                                      target_step, backward, depth,
                                      std::min(int64_t(gemm_.nr), targets_ - target),
                                      weights + first * width_ + panel * depth * gemm_.nr, weight_step_});
                }
            });
    }

    // Returns by image whether an output is not finite.
    std::vector<char> run() const {
        const double work =
            double(batch_ * tiles_[0] * tiles_[1]) * double(kNumbers) * double(sources_) * double(targets_);
        const int64_t threads = work < kParallelProduct ? 1 : num_threads();
        // Where a block is cut does not change its tiles' sums.
        const int64_t tile_bytes = kNumbers * (source_row_ + target_row_) * int64_t(sizeof(float));
        int64_t most = std::clamp(kBlockBytes / tile_bytes, int64_t(48), int64_t(512));
        const int64_t rows = batch_ * tiles_[0];
        if (threads > 1) most = std::clamp(ceil_div(rows * tiles_[1], 2 * threads), int64_t(12), most);
        const int64_t parts = ceil_div(tiles_[1], most), columns = ceil_div(tiles_[1], parts);
        const int64_t at_once = std::max(int64_t(1), most / columns);
        const int64_t blocks = ceil_div(rows, at_once) * parts;
        std::vector<char> not_finite(size_t(batch_), 0);
        parallel_for(0, blocks, threads == 1 ? blocks : 1, [&](int64_t begin, int64_t end) {
            for (int64_t b = begin; b < end; ++b) {
                const int64_t row = b / parts * at_once, column = b % parts * columns;
                block(row, std::min(at_once, rows - row), column, std::min(columns, tiles_[1] - column),
                      not_finite.data());
            }
        });
        return not_finite;
    }

  private:
    // Rows of tiles, counted over images, by some of their columns.
    void block(int64_t first, int64_t rows, int64_t column, int64_t columns, char* not_finite) const {
        if (columns <= 0) return;
        const int64_t tiles = rows * columns;
        const int64_t source_step = tiles * source_row_ + kLanes, target_step = tiles * target_row_ + kLanes;
        float* inputs = static_cast<float*>(
            scratch(Scratch::Partial, size_t(kNumbers * (source_step + target_step)) * sizeof(float)));
        float* sums = inputs + kNumbers * source_step;
        over_images(first, rows, [&](int64_t n, int64_t row, int64_t count, int64_t done) {
            const int64_t width = 2 * columns + 2;
            float* frame = area(n, 2 * row - before_[0], 2 * column - before_[1], 2 * count + 2, width);
            for (int64_t i = 0; i < count; ++i)
                winograd_input({frame + 2 * i * width * sources_, width * sources_, sources_, 2, 2 * columns},
                               sources_, inputs + (done + i) * columns * source_row_, source_row_,
                               source_step);
        });
        for (int64_t x = 0; x < kNumbers; ++x)
            for (int64_t k = 0; k < sources_; k += gemm_.kc)
                gemm_blocks(PanelType::F32, {tiles, targets_, std::min(int64_t(gemm_.kc), sources_ - k),
                                             inputs + x * source_step + k, source_row_,
                                             weights_ + x * weight_step_ + k * width_, 0,
                                             sums + x * target_step, target_row_, k > 0});
        over_images(first, rows, [&](int64_t n, int64_t row, int64_t count, int64_t done) {
            const int64_t out_rows = std::min(2 * count, to_[0] - 2 * row),
                          out_columns = std::min(2 * columns, to_[1] - 2 * column);
            float* to = static_cast<float*>(target_.data) + n * target_.batch_stride +
                        2 * row * target_.stride[1] + 2 * column * target_.stride[2];
            const bool direct = target_.channel_stride == 1;
            float* out =
                direct ? to
                       : static_cast<float*>(scratch(
                             Scratch::Product, size_t(out_rows * out_columns * targets_) * sizeof(float)));
            const int64_t out_row = direct ? target_.stride[1] : out_columns * targets_,
                          out_step = direct ? target_.stride[2] : targets_;
            bool finite = true;
            for (int64_t i = 0; i < count; ++i)
                finite &= winograd_output(sums + (done + i) * columns * target_row_, target_row_, target_step,
                                          targets_, bias_,
                                          {out + 2 * i * out_row, out_row, out_step,
                                           std::min(int64_t(2), out_rows - 2 * i), out_columns});
            if (!finite) __atomic_store_n(not_finite + n, char(1), __ATOMIC_RELAXED);
            if (direct) return;
            // Whole dense rows go back in one piece.
            const bool dense = out_columns == to_[1] && target_.stride[1] == to_[1] * target_.stride[2];
            const int64_t step = dense ? out_rows : 1;
            for (int64_t r = 0; r < out_rows; r += step)
                conv_transpose_copy(sizeof(float), step * out_columns, targets_, out + r * out_row, targets_,
                                    1, to + r * target_.stride[1], target_.stride[2], target_.channel_stride);
        });
    }

    // Calls f(image, first row of tiles, count, how many came before).
    template <class F>
    void over_images(int64_t first, int64_t rows, F&& f) const {
        for (int64_t done = 0; done < rows;) {
            const int64_t n = (first + done) / tiles_[0], row = (first + done) % tiles_[0];
            const int64_t count = std::min(rows - done, tiles_[0] - row);
            f(n, row, count, done);
            done += count;
        }
    }

    // Part of an image, zeros where there is none, as [row][column][channel].
    float* area(int64_t n, int64_t row, int64_t column, int64_t rows, int64_t columns) const {
        ConvImage part = image_at(source_, n, sizeof(float));
        const int64_t top = std::max(int64_t(0), row), left = std::max(int64_t(0), column);
        const int64_t sizes[3] = {1, std::max(int64_t(0), from_[0] - top),
                                  std::max(int64_t(0), from_[1] - left)};
        if (sizes[1] && sizes[2])
            part.data = static_cast<float*>(part.data) + top * part.stride[1] + left * part.stride[2];
        const Frame frame{{0, top - row, left - column}, {1, rows, columns}, sources_};
        char* to = static_cast<char*>(scratch(Scratch::Columns, size_t(frame.elements()) * sizeof(float)));
        fill_frame(part, sizes, frame, sizeof(float), to, 0, rows);
        return reinterpret_cast<float*>(to);
    }

    int64_t batch_, sources_, targets_;
    int64_t from_[2], to_[2], before_[2], tiles_[2];
    ConvImage source_, target_;
    const float* bias_;
    GemmShape gemm_;
    int64_t width_, weight_step_, source_row_, target_row_;
    const float* weights_ = nullptr;
};

}  // namespace

bool has_winograd(DType type, const ConvShape& s, bool backward) {
    if (type != DType::Float32 || s.groups != 1 || std::min(s.in_channels, s.out_channels) < kLeastChannels)
        return false;
    if (s.in[0] != 1 || s.out[0] != 1 || s.kernel[0] != 1 || s.padding[0] != 0) return false;
    for (int i = 1; i < 3; ++i)
        if (s.kernel[i] != 3 || s.stride[i] != 1 || s.dilation[i] != 1) return false;
    const auto& to = backward ? s.in : s.out;
    return double(s.batch) * double(tiles_along(to[1])) * double(tiles_along(to[2])) >= double(kLeastTiles);
}

void winograd_outputs(const ConvShape& s, bool backward, const ConvImage& source, const void* weight,
                      const void* bias, const ConvImage& target) {
    Winograd w(s, backward, source, bias, target);
    w.transform_weights(static_cast<const float*>(weight), backward);
    const std::vector<char> not_finite = w.run();
    ConvShape one = s;
    one.batch = 1;
    for (int64_t n = 0; n < s.batch; ++n)
        if (not_finite[size_t(n)])
            gather_outputs(DType::Float32, one, backward, image_at(source, n, sizeof(float)), weight, bias,
                           image_at(target, n, sizeof(float)));
}

}  // namespace flb
