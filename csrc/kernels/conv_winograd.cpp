// Windows of 3 x 3 in float32 by Winograd's algorithm: 16 multiplications for four outputs instead of 36, or 25 where
// the window moves by two.
//
// Note [Winograd]: a tile of 2 x 2 outputs reads 4 x 4 inputs. Inputs and weights are transformed to 16 numbers each, which
// are multiplied and summed over channels (16 products of matrices: tiles x channels by channels x outputs), and the 16
// sums are transformed to the four outputs. The transforms add and subtract, and halve weights: with small integers
// everything stays exact. An output depends on the inputs under its window alone, as in the direct sum, and an error is
// bounded by the largest magnitudes there; sums over channels are shorter than direct ones, so that errors are smaller as
// a rule. (Larger tiles, which save more, let an input reach outputs whose windows do not cover it, and lose digits.) Only
// infinities are different: differences make them nan. So where an output is not finite, its image is computed again
// directly.
//
// A window that moves by two meets even inputs with its first and last tap, and odd ones with its middle tap. Along one
// dimension, the outputs a x0 + b x1 + c x2 and a x2 + b x3 + c x4 are a (x0 - x2) + b x1 and c (x4 - x2) + b x3, both plus
// (a + c) x2: five multiplications instead of six, of which two pairs are summed as they are multiplied. Backwards, two
// outputs of the middle tap are single products, and two of the other taps share one in the same way.
//
// A tile at the edge may have fewer outputs than others: numbers that none of them needs are left out.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_winograd.h"

namespace flb {

FLB_DEFINE_KERNEL(winograd_weights);
FLB_DEFINE_KERNEL(winograd_inputs);
FLB_DEFINE_KERNEL(winograd_outputs_of);

namespace {

constexpr int64_t kLeastChannels = 32;  // fewer do not pay for the transforms of tiles,
constexpr int64_t kLeastTiles = 32;     // and fewer of these not for that of the weights
constexpr double kMostWindows =
    1 << 20;  // their transforms, 25 numbers of each at most, stay in a thread's scratch
constexpr int64_t kBlockBytes = 1 << 20;  // of transformed tiles, which should stay in the second cache level
constexpr int64_t kManyWeights = 2 << 20;
constexpr int64_t kLanes = 16;

WinogradForm form_of(const ConvShape& s, bool backward) {
    return s.stride[1] == 1 ? WinogradForm::Ones : backward ? WinogradForm::TwosBackward : WinogradForm::Twos;
}

class Winograd {
  public:
    Winograd(const ConvShape& s, bool backward, const ConvImage& source, const void* bias,
             const ConvImage& target)
        : form_(form_of(s, backward)),
          scheme_(winograd_scheme(form_)),
          batch_(s.batch),
          sources_(backward ? s.out_channels : s.in_channels),
          targets_(backward ? s.in_channels : s.out_channels),
          source_(source),
          target_(target),
          bias_(static_cast<const float*>(bias)),
          gemm_(gemm_shape(PanelType::F32)) {
        for (int i = 0; i < 2; ++i) {
            from_[i] = (backward ? s.out : s.in)[i + 1];
            to_[i] = (backward ? s.in : s.out)[i + 1];
            const int64_t padding = s.padding[i + 1];
            before_[i] = !backward ? padding : s.stride[1] == 1 ? 2 - padding : -(padding / 2);
            tiles_[i] = winograd_tiles(scheme_, to_[i]);
        }
        width_ = round_up(targets_, gemm_.nr);
        target_row_ = round_up(targets_, kLanes) + kLanes;
        for (int i = 0; i < scheme_.sums; ++i)
            for (int j = 0; j < scheme_.sums; ++j) {
                Sum& sum = sums_[i * scheme_.sums + j];
                sum.depth = scheme_.terms[i] * scheme_.terms[j] * sources_;
                sum.row = round_up(sum.depth, kLanes) + kLanes;
                tile_elements_ += sum.row + target_row_;
            }
        place_weights();
    }

    // By sum: weights[piece of k][panel][k][target channel]
    void transform_weights(const ConvWeights& weight, bool backward) {
        float* weights =
            static_cast<float*>(scratch(Scratch::PackedB, size_t(weight_elements_) * sizeof(float)));
        weights_ = weights;
        const int64_t source_step = weight.stride[!backward], target_step = weight.stride[backward];
        const int64_t panels = width_ / gemm_.nr, some = std::min(sources_, int64_t(gemm_.kc)),
                      parts = ceil_div(sources_, some);
        parallel_for(0, parts * panels, std::max(int64_t(1), 8192 / (some * gemm_.nr)),
                     [&](int64_t begin, int64_t end) {
                         for (int64_t t = begin; t < end; ++t) {
                             const int64_t first = t / panels * some, panel = t % panels,
                                           target = panel * gemm_.nr;
                             WinogradWeights w{};
                             w.weight = static_cast<const float*>(weight.data) + first * source_step +
                                        target * target_step;
                             w.source_step = source_step;
                             w.target_step = target_step;
                             w.tap_step = weight.stride[2];
                             w.turned = backward;
                             w.sources = std::min(some, sources_ - first);
                             w.targets = std::min(int64_t(gemm_.nr), targets_ - target);
                             for (int i = 0; i < scheme_.numbers; ++i)
                                 for (int j = 0; j < scheme_.numbers; ++j) {
                                     const Sum& sum = sum_of(i, j);
                                     const int64_t k = place_of(i, j) * sources_ + first;
                                     const Piece piece = piece_at(sum, k);
                                     w.to[i * scheme_.numbers + j] =
                                         weights + weights_at(sum, piece.begin) +
                                         (panel * piece.depth + k - piece.begin) * gemm_.nr;
                                 }
                             winograd_weights(form_, w);
                         }
                     });
    }

    // Returns by image whether an output is not finite.
    std::vector<char> run() const {
        const double work = double(batch_ * tiles_[0] * tiles_[1]) *
                            double(scheme_.numbers * scheme_.numbers * sources_) * double(targets_);
        const int64_t threads = work < kParallelProduct ? 1 : num_threads();
        // Where a block is cut does not change its tiles' sums.
        const int64_t tile_bytes = tile_elements_ * int64_t(sizeof(float));
        // Many weights are read again for every block, from further away: then blocks are as large as a number's tiles fit.
        const bool many = weight_elements_ * int64_t(sizeof(float)) > kManyWeights;
        int64_t most = many ? 128 : std::clamp(kBlockBytes / tile_bytes, int64_t(48), int64_t(512));
        const int64_t rows = batch_ * tiles_[0];
        if (threads > 1)
            most = std::clamp(ceil_div(rows * tiles_[1], (many ? 1 : 2) * threads), int64_t(12), most);
        const int64_t parts = ceil_div(tiles_[1], most), columns = ceil_div(tiles_[1], parts);
        // As many blocks for every thread, of nearly equal size.
        const int64_t cuts = round_up(ceil_div(rows, std::max(int64_t(1), most / columns)), threads);
        const int64_t at_once = std::max(int64_t(1), ceil_div(rows, std::max(int64_t(1), cuts)));
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
    // A sum's numbers lie side by side, as one stretch of k.
    struct Sum {
        int64_t depth, row;  // row: from one tile to the next
        int64_t weights[4];  // by place: where a number's begin
    };
    struct Piece {
        int64_t begin, depth;
    };
    const Sum& sum_of(int i, int j) const { return sums_[scheme_.sum[i] * scheme_.sums + scheme_.sum[j]]; }
    Sum& sum_of(int i, int j) { return sums_[scheme_.sum[i] * scheme_.sums + scheme_.sum[j]]; }
    int64_t place_of(int i, int j) const {
        return scheme_.place[i] * scheme_.terms[scheme_.sum[j]] + scheme_.place[j];
    }
    // Numbers that are multiplied apart from each other share weights that are the same: those of a middle tap.
    void place_weights() {
        const int n = scheme_.numbers;
        const bool apart = 2 * sources_ > gemm_.kc;
        for (int i = 0; i < n; ++i)
            for (int j = 0; j < n; ++j) {
                const int same_i = std::min(i, 3), same_j = std::min(j, 3);
                if (apart && (same_i != i || same_j != j)) {
                    sum_of(i, j).weights[place_of(i, j)] =
                        sum_of(same_i, same_j).weights[place_of(same_i, same_j)];
                } else if (apart || place_of(i, j) == 0) {
                    Sum& sum = sum_of(i, j);
                    const int64_t depth = apart ? sources_ : sum.depth;
                    sum.weights[place_of(i, j)] = weight_elements_;
                    for (int64_t p = 1; !apart && p * sources_ < depth; ++p)
                        sum.weights[p] = weight_elements_ + p * sources_ * width_;
                    weight_elements_ += depth * width_ + kLanes;
                }
            }
    }
    int64_t weights_at(const Sum& sum, int64_t k) const {
        return sum.weights[k / sources_] + k % sources_ * width_;
    }

    // The steps of k that are multiplied at once: some whole numbers, or part of one.
    Piece piece_at(const Sum& sum, int64_t k) const {
        if (sources_ <= gemm_.kc) {
            const int64_t most = gemm_.kc / sources_ * sources_, begin = k / most * most;
            return {begin, std::min(most, sum.depth - begin)};
        }
        const int64_t done = k % sources_ / gemm_.kc * gemm_.kc;
        return {k / sources_ * sources_ + done, std::min(int64_t(gemm_.kc), sources_ - done)};
    }

    // Rows of tiles, counted over images, by some of their columns.
    void block(int64_t first, int64_t rows, int64_t column, int64_t columns, char* not_finite) const {
        if (columns <= 0) return;
        const int n = scheme_.numbers, m = scheme_.sums;
        const int64_t out_columns = std::min(scheme_.outputs * columns, to_[1] - scheme_.outputs * column);
        const WinogradRows cut(scheme_, to_[0], first, rows);
        int64_t wide[kWinogradNumbers];
        int of_sum[kWinogradNumbers] = {};  // a number of each
        for (int i = 0; i < n; ++i) {
            wide[i] = winograd_tiles(scheme_, out_columns, i);
            of_sum[scheme_.sum[i]] = i;
        }
        // Tiles that are left out may be read as if they were there.
        const int64_t tiles = rows * columns;
        float* memory = static_cast<float*>(
            scratch(Scratch::Partial, size_t(tiles * tile_elements_ + 2 * m * m * kLanes) * sizeof(float)));
        float *inputs[kWinogradNumbers * kWinogradNumbers], *outputs[kWinogradNumbers * kWinogradNumbers];
        for (int x = 0; x < m * m; ++x) {
            inputs[x] = memory;
            memory += tiles * sums_[x].row + kLanes;
        }
        for (int x = 0; x < m * m; ++x) {
            outputs[x] = memory;
            memory += tiles * target_row_ + kLanes;
        }
        cut.over_images([&](int64_t image, int64_t row, int64_t count, int64_t at) {
            const int64_t width = scheme_.advance * (columns - 1) + scheme_.reads;
            float* frame = winograd_area(source_, from_, sources_, image, scheme_.advance * row - before_[0],
                                         scheme_.advance * column - before_[1],
                                         scheme_.advance * (count - 1) + scheme_.reads, width);
            WinogradInputs w{};
            w.row = width * sources_;
            w.step = sources_;
            w.tiles = columns;
            w.last = out_columns - scheme_.outputs * (columns - 1);
            w.channels = sources_;
            for (int64_t r = 0; r < count; ++r) {
                w.from = frame + r * scheme_.advance * w.row;
                for (int i = 0; i < n; ++i)
                    for (int j = 0; j < n; ++j) {
                        const Sum& sum = sum_of(i, j);
                        WinogradTarget& to = w.to[i * n + j];
                        to.row = sum.row;
                        to.data = cut.has(i, at + r) ? inputs[&sum - sums_] + place_of(i, j) * sources_ +
                                                           cut.before(i, at + r) * wide[j] * sum.row
                                                     : nullptr;
                    }
                winograd_inputs(form_, w);
            }
        });
        for (int i = 0; i < m; ++i)
            for (int j = 0; j < m; ++j) {
                const int x = i * m + j;
                const Sum& sum = sums_[x];
                const int64_t count = cut.count(of_sum[i]) * wide[of_sum[j]];
                for (int64_t k = 0; count > 0 && k < sum.depth;) {
                    const Piece piece = piece_at(sum, k);
                    gemm_blocks(PanelType::F32,
                                {count, targets_, piece.depth, inputs[x] + k, sum.row,
                                 weights_ + weights_at(sum, k), 0, outputs[x], target_row_, k > 0});
                    k += piece.depth;
                }
            }
        cut.over_images([&](int64_t image, int64_t row, int64_t count, int64_t at) {
            const int64_t out_rows = std::min(scheme_.outputs * count, to_[0] - scheme_.outputs * row);
            float* to = static_cast<float*>(target_.data) + image * target_.batch_stride +
                        scheme_.outputs * (row * target_.stride[1] + column * target_.stride[2]);
            const bool direct = target_.channel_stride == 1;
            float* out =
                direct ? to
                       : static_cast<float*>(scratch(
                             Scratch::Product, size_t(out_rows * out_columns * targets_) * sizeof(float)));
            WinogradOutputs w{};
            w.from_row = target_row_;
            w.channels = targets_;
            w.bias = bias_;
            w.row = direct ? target_.stride[1] : out_columns * targets_;
            w.step = direct ? target_.stride[2] : targets_;
            w.columns = out_columns;
            bool finite = true;
            for (int64_t r = 0; r < count; ++r) {
                for (int i = 0; i < m; ++i)
                    for (int j = 0; j < m; ++j)
                        w.from[i * m + j] = outputs[i * m + j] +
                                            cut.before(of_sum[i], at + r) * wide[of_sum[j]] * target_row_;
                w.to = out + r * scheme_.outputs * w.row;
                w.rows = std::min(int64_t(scheme_.outputs), out_rows - r * scheme_.outputs);
                finite &= winograd_outputs_of(form_, w);
            }
            if (!finite) __atomic_store_n(not_finite + image, char(1), __ATOMIC_RELAXED);
            if (direct) return;
            // Whole dense rows go back in one piece.
            const bool dense = out_columns == to_[1] && target_.stride[1] == to_[1] * target_.stride[2];
            const int64_t step = dense ? out_rows : 1;
            for (int64_t r = 0; r < out_rows; r += step)
                conv_transpose_copy(sizeof(float), step * out_columns, targets_, out + r * w.row, targets_, 1,
                                    to + r * target_.stride[1], target_.stride[2], target_.channel_stride);
        });
    }

    WinogradForm form_;
    WinogradScheme scheme_;
    int64_t batch_, sources_, targets_;
    int64_t from_[2], to_[2], before_[2], tiles_[2];
    ConvImage source_, target_;
    const float* bias_;
    GemmShape gemm_;
    Sum sums_[kWinogradNumbers * kWinogradNumbers];
    int64_t width_, target_row_, weight_elements_ = 0, tile_elements_ = 0;
    const float* weights_ = nullptr;
};

}  // namespace

float* winograd_area(const ConvImage& image, const int64_t (&sizes)[2], int64_t channels, int64_t n,
                     int64_t row, int64_t column, int64_t rows, int64_t columns) {
    ConvImage part = image_at(image, n, sizeof(float));
    const int64_t top = std::max(int64_t(0), row), left = std::max(int64_t(0), column);
    const int64_t there[3] = {1, std::max(int64_t(0), sizes[0] - top), std::max(int64_t(0), sizes[1] - left)};
    if (there[1] && there[2])
        part.data = static_cast<float*>(part.data) + top * part.stride[1] + left * part.stride[2];
    const Frame frame{{0, top - row, left - column}, {1, rows, columns}, channels};
    char* to = static_cast<char*>(scratch(Scratch::Columns, size_t(frame.elements()) * sizeof(float)));
    fill_frame(part, there, frame, sizeof(float), to, 0, rows);
    return reinterpret_cast<float*>(to);
}

bool winograd_shape(DType type, const ConvShape& s) {
    if (type != DType::Float32 || s.groups != 1 || std::min(s.in_channels, s.out_channels) < kLeastChannels ||
        double(s.in_channels) * double(s.out_channels) > kMostWindows)
        return false;
    if (s.in[0] != 1 || s.out[0] != 1 || s.kernel[0] != 1 || s.padding[0] != 0) return false;
    for (int i = 1; i < 3; ++i)
        if (s.kernel[i] != 3 || s.stride[i] > 2 || s.stride[i] != s.stride[1] || s.dilation[i] != 1)
            return false;
    return true;
}

bool has_winograd(DType type, const ConvShape& s, bool backward) {
    if (!winograd_shape(type, s)) return false;
    // Backwards by two, tiles begin with an output of the middle tap.
    if (backward && s.stride[1] == 2 && (s.padding[1] % 2 == 0 || s.padding[2] % 2 == 0)) return false;
    const auto& to = backward ? s.in : s.out;
    const WinogradScheme scheme = winograd_scheme(form_of(s, backward));
    return double(s.batch) * double(winograd_tiles(scheme, to[1])) * double(winograd_tiles(scheme, to[2])) >=
           double(kLeastTiles);
}

void winograd_outputs(const ConvShape& s, bool backward, const ConvImage& source, const ConvWeights& weight,
                      const void* bias, const ConvImage& target) {
    Winograd w(s, backward, source, bias, target);
    w.transform_weights(weight, backward);
    const std::vector<char> not_finite = w.run();
    if (std::find(not_finite.begin(), not_finite.end(), char(1)) == not_finite.end()) return;
    std::vector<float> dense(size_t(s.out_channels * s.in_channels * 9));
    for (int64_t o = 0, i = 0; o < s.out_channels; ++o)
        for (int64_t c = 0; c < s.in_channels; ++c)
            for (int64_t t = 0; t < 9; ++t)
                dense[size_t(i++)] = static_cast<const float*>(
                    weight.data)[o * weight.stride[0] + c * weight.stride[1] + t * weight.stride[2]];
    ConvShape one = s;
    one.batch = 1;
    for (int64_t n = 0; n < s.batch; ++n)
        if (not_finite[size_t(n)])
            gather_outputs(DType::Float32, one, backward, image_at(source, n, sizeof(float)), dense.data(),
                           bias, image_at(target, n, sizeof(float)));
}

}  // namespace flb
