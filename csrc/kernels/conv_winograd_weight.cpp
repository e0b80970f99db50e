// The gradient of the weights of 3 x 3 windows by Winograd's algorithm.
//
// The sums of Note [Winograd] the other way about: a tile of 2 x 2 gradients meets the 4 x 4 (or 5 x 5) inputs under their
// windows. Both are transformed to numbers, products of numbers are summed over all tiles (outer products of vectors of
// channels), and the sums are transformed to the nine weights. Transforms add and subtract only, and the last one halves.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_winograd.h"

namespace flb {

FLB_DEFINE_KERNEL(winograd_taps);

namespace {

constexpr int64_t kLeastTiles = 64;          // fewer of these do not pay for the transform of the sums
constexpr int64_t kDepth = 256;              // tiles whose numbers of a panel stay in the first cache level
constexpr int64_t kSmallSums = 1 << 20;      // bytes of sums of which every part of the tiles has its own
constexpr int64_t kSmallBlock = 1280 << 10;  // bytes of numbers: about the second cache level,
constexpr int64_t kBlock = 16 << 20;         // and half of the third
constexpr int64_t kLanes = 16;
constexpr int kSums = 4;

class WinogradWeight {
  public:
    WinogradWeight(const ConvShape& s, const ConvImage& input, const ConvImage& grad)
        : twos_(s.stride[1] == 2),
          scheme_(winograd_scheme(twos_ ? WinogradForm::Twos : WinogradForm::Ones)),
          batch_(s.batch),
          in_channels_(s.in_channels),
          out_channels_(s.out_channels),
          input_(input),
          grad_(grad) {
        for (int i = 0; i < 2; ++i) {
            in_[i] = s.in[i + 1];
            out_[i] = s.out[i + 1];
            before_[i] = s.padding[i + 1];
            tiles_[i] = winograd_tiles(scheme_, out_[i]);
        }
        in_row_ = round_up(in_channels_, kLanes) + kLanes;
        out_row_ = round_up(out_channels_, kLanes) + kLanes;
        sum_row_ = round_up(in_channels_, kLanes);
        sum_step_ = out_channels_ * sum_row_ + kLanes;
    }

    // Returns whether the gradient is finite.
    bool run(float* grad_weight) const {
        const int64_t rows = batch_ * tiles_[0], n = scheme_.numbers;
        const int64_t tile_bytes = n * n * (in_row_ + out_row_) * int64_t(sizeof(float));
        const int64_t sums = kSums * kSums * sum_step_;
        // Parts of the rows have sums of their own; they depend on the shape alone.
        const bool small = sums * int64_t(sizeof(float)) <= kSmallSums;
        int64_t parts = 1;
        while (small && parts < 8 && rows * tiles_[1] >= 512 * parts) parts *= 2;
        const int64_t block_bytes = parts > 1 ? kSmallBlock : kBlock;
        const int64_t at_once =
            std::clamp(block_bytes / (tile_bytes * tiles_[1]), int64_t(1), ceil_div(rows, parts));
        float* total = static_cast<float*>(scratch(Scratch::PackedB, size_t(parts * sums) * sizeof(float)));
        parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
            for (int64_t p = begin; p < end; ++p) {
                const int64_t first = rows * p / parts, last = rows * (p + 1) / parts;
                for (int64_t r = first; r < last; r += at_once)
                    block(r, std::min(at_once, last - r), total + p * sums, r > first);
            }
        });
        char finite = 1;
        parallel_for(0, out_channels_, std::max(int64_t(1), 8192 / in_channels_),
                     [&](int64_t begin, int64_t end) {
                         for (int x = 0; x < kSums * kSums; ++x)
                             for (int64_t p = 1; p < parts; ++p) {
                                 float* to = total + x * sum_step_ + begin * sum_row_;
                                 const float* from = to + p * sums;
                                 for (int64_t i = 0; i < (end - begin) * sum_row_; ++i) to[i] += from[i];
                             }
                         if (!winograd_taps(twos_ ? WinogradForm::TwosGradients : WinogradForm::OnesGradients,
                                            total + begin * sum_row_, sum_step_, sum_row_, end - begin,
                                            in_channels_, grad_weight + begin * in_channels_ * 9))
                             __atomic_store_n(&finite, char(0), __ATOMIC_RELAXED);
                     });
        return finite;
    }

  private:
    // sums (+)= the products of the tiles of these rows.
    void block(int64_t first, int64_t rows, float* sums, bool accumulate) const {
        const int n = scheme_.numbers;
        const WinogradRows cut(scheme_, out_[0], first, rows);
        const int64_t columns = tiles_[1];
        int64_t wide[kWinogradNumbers];
        for (int i = 0; i < n; ++i) wide[i] = winograd_tiles(scheme_, out_[1], i);
        const int64_t in_step = rows * columns * in_row_ + kLanes,
                      out_step = rows * columns * out_row_ + kLanes;
        float* inputs = static_cast<float*>(
            scratch(Scratch::Partial, size_t(n * n * (in_step + out_step)) * sizeof(float)));
        float* grads = inputs + n * n * in_step;
        const int64_t grain =
            std::max(int64_t(1), 65536 / (columns * (in_channels_ + out_channels_) * n * n));
        parallel_for(first, first + rows, grain, [&](int64_t begin, int64_t end) {
            WinogradRows(scheme_, out_[0], begin, end - begin)
                .over_images([&](int64_t image, int64_t row, int64_t count, int64_t at) {
                    const int64_t advance = scheme_.advance;
                    transform(twos_ ? WinogradForm::Twos : WinogradForm::Ones, advance, scheme_.reads, input_,
                              in_, in_channels_, image, advance * row - before_[0], -before_[1], count, at,
                              cut, wide, inputs, in_step, in_row_);
                    transform(twos_ ? WinogradForm::TwosGradients : WinogradForm::OnesGradients, 2, 2, grad_,
                              out_, out_channels_, image, 2 * row, 0, count, at, cut, wide, grads, out_step,
                              out_row_);
                });
        });
        // Channels of outputs are shared out as well as sums, and outermost: some sums have more numbers than others.
        const int64_t shares = ceil_div(out_channels_, 96), some = ceil_div(out_channels_, shares);
        parallel_for(0, kSums * kSums * shares, 1, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; ++t) {
                const int sum = int(t % (kSums * kSums));
                const int64_t from = t / (kSums * kSums) * some;
                if (from >= out_channels_) continue;
                bool more = accumulate;
                for (int i = 0; i < n; ++i)
                    for (int j = 0; j < n; ++j) {
                        if (sum_of(i) * kSums + sum_of(j) != sum) continue;
                        const int64_t depth = cut.count(i) * wide[j], x = i * n + j;
                        for (int64_t k = 0; k < depth; k += kDepth) {
                            outer_products({std::min(some, out_channels_ - from), sum_row_, 1,
                                            std::min(kDepth, depth - k),
                                            grads + x * out_step + k * out_row_ + from, 0, out_row_,
                                            inputs + x * in_step + k * in_row_, 0, in_row_,
                                            sums + sum * sum_step_ + from * sum_row_, sum_row_, more});
                            more = true;
                        }
                    }
                if (!more)
                    std::fill_n(sums + sum * sum_step_ + from * sum_row_,
                                std::min(some, out_channels_ - from) * sum_row_, 0.0f);
            }
        });
    }

    // The scheme sums pairs of products that the gradient of the weights sums in other pairs.
    int sum_of(int number) const { return std::min(number, kSums - 1); }

    void transform(WinogradForm form, int64_t advance, int64_t reads, const ConvImage& image,
                   const int64_t (&sizes)[2], int64_t channels, int64_t n, int64_t row, int64_t column,
                   int64_t count, int64_t at, const WinogradRows& cut,
                   const int64_t (&wide)[kWinogradNumbers], float* to, int64_t to_step,
                   int64_t to_row) const {
        const int64_t columns = tiles_[1], width = advance * (columns - 1) + reads;
        const float* frame =
            winograd_area(image, sizes, channels, n, row, column, advance * (count - 1) + reads, width);
        WinogradInputs w{};
        w.row = width * channels;
        w.step = channels;
        w.tiles = columns;
        w.last = out_[1] - 2 * (columns - 1);
        w.channels = channels;
        for (int64_t r = 0; r < count; ++r) {
            w.from = frame + r * advance * w.row;
            for (int i = 0; i < scheme_.numbers; ++i)
                for (int j = 0; j < scheme_.numbers; ++j) {
                    const int x = i * scheme_.numbers + j;
                    w.to[x] = {cut.has(i, at + r)
                                   ? to + x * to_step + cut.before(i, at + r) * wide[j] * to_row
                                   : nullptr,
                               to_row};
                }
            winograd_inputs(form, w);
        }
    }

    bool twos_;
    WinogradScheme scheme_;
    int64_t batch_, in_channels_, out_channels_;
    int64_t in_[2], out_[2], before_[2], tiles_[2];
    ConvImage input_, grad_;
    int64_t in_row_, out_row_, sum_row_, sum_step_;
};

}  // namespace

bool has_winograd_weight(DType type, const ConvShape& s) {
    if (!winograd_shape(type, s)) return false;
    return double(s.batch) * double(ceil_div(s.out[1], 2)) * double(ceil_div(s.out[2], 2)) >=
           double(kLeastTiles);
}

void winograd_weight_gradient(const ConvShape& s, const ConvImage& input, const ConvImage& grad_output,
                              void* grad_weight) {
    const WinogradWeight w(s, input, grad_output);
    if (!w.run(static_cast<float*>(grad_weight)))
        product_weight_gradient(DType::Float32, s, input, grad_output, grad_weight);
}

}  // namespace flb
