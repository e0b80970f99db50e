// Depthwise convolutions with vectors of channels, over images whose channels are neighbours. Padding is not written
// out: a row of outputs falls into stretches whose windows meet the same taps.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_depthwise_row);
FLB_DEFINE_KERNEL(conv_depthwise_weight);
FLB_DEFINE_KERNEL(conv_depthwise_tiles);
FLB_DEFINE_KERNEL(conv_depthwise_tiles_weight);

bool is_depthwise(const ConvShape& s) {
    return s.groups > 1 && s.groups == s.in_channels && s.groups == s.out_channels;
}

namespace {

// Outputs [begin, end) of a class of one dimension, and the taps that fall inside the input.
struct Stretch {
    int64_t begin, end;
    std::vector<DimClass::Tap> taps;
};

std::vector<Stretch> stretches_of(const DimClass& c, int64_t inputs) {
    std::vector<int64_t> cuts{0, c.count};
    for (const DimClass::Tap& t : c.taps) {
        cuts.push_back(
            std::clamp(ceil_div(std::max(int64_t(0), -t.offset), c.multiple), int64_t(0), c.count));
        cuts.push_back(
            std::clamp(ceil_div(std::max(int64_t(0), inputs - t.offset), c.multiple), int64_t(0), c.count));
    }
    std::sort(cuts.begin(), cuts.end());
    std::vector<Stretch> stretches;
    for (size_t i = 1; i < cuts.size(); ++i) {
        if (cuts[i] == cuts[i - 1]) continue;
        Stretch s{cuts[i - 1], cuts[i], {}};
        for (const DimClass::Tap& t : c.taps) {
            const int64_t at = s.begin * c.multiple + t.offset;
            if (at >= 0 && at < inputs) s.taps.push_back(t);
        }
        stretches.push_back(std::move(s));
    }
    return stretches;
}

// A dimension's outputs in order, with where each reads.
struct DimRows {
    struct Row {
        int64_t output, input;  // input: of a tap with offset 0
        const std::vector<DimClass::Tap>* taps;
    };
    std::vector<std::vector<Stretch>> stretches;
    std::vector<Row> rows;

    DimRows(const std::vector<DimClass>& classes, int64_t inputs) {
        for (const DimClass& c : classes) stretches.push_back(stretches_of(c, inputs));
        for (size_t k = 0; k < classes.size(); ++k)
            for (const Stretch& s : stretches[k])
                for (int64_t j = s.begin; j < s.end; ++j)
                    rows.push_back(
                        {classes[k].start + j * classes[k].step, j * classes[k].multiple, &s.taps});
        std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.output < b.output; });
    }
};

// Calls f(DepthwiseRow) for the stretches of rows of outputs; images have the form [n][d][h][w][channel].
class Rows {
  public:
    // threes: rows of outputs are not cut where their taps come in threes (DepthwiseRow).
    Rows(const ConvShape& s, bool backward, int64_t size, bool threes)
        : shape_(s),
          size_(size),
          backward_(backward),
          classes_{classes(0), classes(1), classes(2)},
          d_(classes_[0], inputs(0)),
          h_(classes_[1], inputs(1)) {
        threes_ = threes && s.kernel[2] == 3 && s.stride[2] == 1 && s.dilation[2] == 1;
        for (const DimClass& c : classes_[2]) {
            if (threes_) w_.push_back({{0, c.count, c.taps}});
            else w_.push_back(stretches_of(c, inputs(2)));
        }
    }
    int64_t per_image() const { return int64_t(d_.rows.size() * h_.rows.size()); }

    template <class F>
    void run(const ConvImage& source, const ConvImage& target, int64_t begin, int64_t end, F&& f) const {
        std::vector<int64_t> offsets, taps;
        for (int64_t r = begin; r < end; ++r) {
            const int64_t n = r / per_image(), in_image = r % per_image();
            const DimRows::Row& d = d_.rows[size_t(in_image / int64_t(h_.rows.size()))];
            const DimRows::Row& h = h_.rows[size_t(in_image % int64_t(h_.rows.size()))];
            const char* from = static_cast<const char*>(source.data) + n * source.batch_stride * size_;
            char* to =
                static_cast<char*>(target.data) +
                (n * target.batch_stride + d.output * target.stride[0] + h.output * target.stride[1]) * size_;
            for (size_t k = 0; k < w_.size(); ++k)
                for (const Stretch& w : w_[k]) {
                    const DimClass& c = classes_[2][k];
                    offsets.clear();
                    taps.clear();
                    for (const DimClass::Tap& td : *d.taps)
                        for (const DimClass::Tap& th : *h.taps)
                            for (const DimClass::Tap& tw : w.taps) {
                                offsets.push_back((d.input + td.offset) * source.stride[0] +
                                                  (h.input + th.offset) * source.stride[1] +
                                                  (w.begin * c.multiple + tw.offset) * source.stride[2]);
                                taps.push_back((td.tap * shape_.kernel[1] + th.tap) * shape_.kernel[2] +
                                               tw.tap);
                            }
                    DepthwiseRow row{};
                    row.input = from;
                    row.input_step = c.multiple * source.stride[2];
                    row.threes = threes_;
                    if (threes_) {
                        row.low = -w.taps[0].offset;
                        row.high = inputs(2) - w.taps[0].offset;
                    }
                    row.output = to + (c.start + w.begin * c.step) * target.stride[2] * size_;
                    row.output_step = c.step * target.stride[2];
                    row.positions = w.end - w.begin;
                    row.offsets = offsets.data();
                    row.taps = taps.data();
                    row.tap_count = int64_t(taps.size());
                    row.channels = shape_.out_channels;
                    f(row);
                }
        }
    }

  private:
    std::vector<DimClass> classes(int dim) const {
        return backward_ ? backward_classes(shape_, dim) : forward_classes(shape_, dim);
    }
    int64_t inputs(int dim) const { return backward_ ? shape_.out[dim] : shape_.in[dim]; }

    const ConvShape& shape_;
    int64_t size_;
    bool backward_, threes_;
    std::vector<DimClass> classes_[3];
    DimRows d_, h_;
    std::vector<std::vector<Stretch>> w_;  // by class
};

// As many images as are turned at a time, so that they stay in the cache.
int64_t images_at_once(const ConvShape& s, int64_t size) {
    const int64_t elements = s.out_channels * (s.in[0] * s.in[1] * s.in[2] + s.out[0] * s.out[1] * s.out[2]);
    return std::clamp((int64_t(4) << 20) / (elements * size + 1), int64_t(1), std::max(s.batch, int64_t(1)));
}

// Images with neighbouring channels: the caller's, or in scratch memory.
class ChannelsLast {
  public:
    ChannelsLast(const ConvImage& image, int64_t first, int64_t count, int64_t channels,
                 const int64_t (&sizes)[3], int64_t size, Scratch slot)
        : theirs_(image_at(image, first, size)),
          ours_(theirs_),
          batch_(count),
          channels_(channels),
          size_(size) {
        for (int i = 0; i < 3; ++i) sizes_[i] = sizes[i];
        if (image.channel_stride == 1) return;
        ours_.channel_stride = 1;
        ours_.stride[2] = channels;
        ours_.stride[1] = sizes[2] * channels;
        ours_.stride[0] = sizes[1] * ours_.stride[1];
        ours_.batch_stride = sizes[0] * ours_.stride[0];
        ours_.data = scratch(slot, size_t(count * ours_.batch_stride * size));
    }
    const ConvImage& image() const { return ours_; }
    void read() const { copy(theirs_, ours_); }
    void write() const { copy(ours_, theirs_); }

  private:
    void copy(const ConvImage& from, const ConvImage& to) const {
        if (theirs_.channel_stride == 1) return;
        const int64_t rows = sizes_[0] * sizes_[1];
        // Rows that follow one another on both sides are one long row.
        const bool joined =
            rows == 1 || (theirs_.stride[1] == sizes_[2] * theirs_.stride[2] &&
                          (sizes_[0] == 1 || theirs_.stride[0] == sizes_[1] * theirs_.stride[1]));
        const int64_t length = sizes_[2];
        parallel_for(0, batch_ * rows, std::max(int64_t(1), 65536 / (length * channels_ + 1)),
                     [&](int64_t begin, int64_t end) {
                         for (int64_t r = begin; r < end;) {
                             const int64_t n = r / rows, first = r % rows;
                             const int64_t count = joined ? std::min(end - r, rows - first) : 1;
                             auto at = [&](const ConvImage& image) {
                                 return static_cast<char*>(image.data) +
                                        (n * image.batch_stride + first / sizes_[1] * image.stride[0] +
                                         first % sizes_[1] * image.stride[1]) *
                                            size_;
                             };
                             conv_transpose_copy(int(size_), channels_, count * length, at(from),
                                                 from.channel_stride, from.stride[2], at(to),
                                                 to.channel_stride, to.stride[2]);
                             r += count;
                         }
                     });
    }

    ConvImage theirs_, ours_;
    int64_t batch_, channels_, size_, sizes_[3];
};

// Windows of 3 x 3 that move by single steps, which are most: tiles of outputs (isa/conv_depthwise_tiles.cpp).
bool has_tiles(const ConvShape& s) {
    return s.in[0] == 1 && s.out[0] == 1 && s.kernel[0] == 1 && s.kernel[1] == 3 && s.kernel[2] == 3 &&
           s.stride[1] == 1 && s.stride[2] == 1 && s.dilation[1] == 1 && s.dilation[2] == 1 &&
           s.padding[0] == 0 && s.stride[0] == 1;
}

// Calls f(DepthwiseTiles, first row, end) for the rows [begin, end) of all images' outputs.
template <class F>
void tile_rows(const ConvShape& s, bool backward, const ConvImage& source, const ConvImage& target,
               int64_t size, int64_t begin, int64_t end, F&& f) {
    const auto &from = backward ? s.out : s.in, &to = backward ? s.in : s.out;
    for (int64_t r = begin; r < end;) {
        const int64_t n = r / to[1], row = r % to[1], count = std::min(end - r, to[1] - row);
        f(DepthwiseTiles{image_at(source, n, size).data, source.stride[1], source.stride[2], from[1], from[2],
                         backward ? s.padding[1] - 2 : -s.padding[1],
                         backward ? s.padding[2] - 2 : -s.padding[2], image_at(target, n, size).data,
                         target.stride[1], target.stride[2], to[1], to[2], s.out_channels},
          row, row + count);
        r += count;
    }
}

template <class U>
void turn(const void* from, int64_t rows, int64_t columns, void* to, bool last_first) {
    U* out = static_cast<U*>(to) + (last_first ? (columns - 1) * rows : 0);
    const int64_t step = last_first ? -rows : rows;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
            out[j * step + i] = static_cast<const U*>(from)[i * columns + j];
}
// to[column][row] = from[row][column], or the last column first.
void turn(int64_t size, const void* from, int64_t rows, int64_t columns, void* to, bool last_first = false) {
    size == 8 ? turn<uint64_t>(from, rows, columns, to, last_first)
              : turn<uint32_t>(from, rows, columns, to, last_first);
}

}  // namespace

void depthwise_outputs(DType type, const ConvShape& s, bool backward, const ConvImage& source,
                       const void* weight, const void* bias, const ConvImage& target) {
    const int64_t size = itemsize(type), channels = s.out_channels, taps = s.taps();
    const auto &from = backward ? s.out : s.in, &to = backward ? s.in : s.out;
    void* weights = scratch(Scratch::PackedB, size_t(taps * channels * size));
    const bool tiles = has_tiles(s);
    turn(size, weight, channels, taps, weights, tiles && backward);
    std::optional<Rows> rows;
    if (!tiles) rows.emplace(s, backward, size, true);
    const int64_t image_rows = tiles ? to[1] : rows->per_image();
    const int64_t grain = std::max(int64_t(1), (1 << 18) / (to[2] * channels * taps + 1));
    const bool turned = source.channel_stride != 1 || target.channel_stride != 1;
    const int64_t step = turned ? images_at_once(s, size) : s.batch;
    for (int64_t n = 0; n < s.batch; n += step) {
        const int64_t images = std::min(step, s.batch - n);
        const ChannelsLast x(source, n, images, channels, from, size, Scratch::Columns);
        const ChannelsLast y(target, n, images, channels, to, size, Scratch::Product);
        x.read();
        parallel_for(0, images * image_rows, grain, [&](int64_t begin, int64_t end) {
            if (tiles)
                return tile_rows(s, backward, x.image(), y.image(), size, begin, end,
                                 [&](const DepthwiseTiles& image, int64_t first, int64_t last) {
                                     conv_depthwise_tiles(type, image, first, last, weights, bias);
                                 });
            rows->run(x.image(), y.image(), begin, end,
                      [&](const DepthwiseRow& row) { conv_depthwise_row(type, row, weights, bias); });
        });
        y.write();
    }
}

void depthwise_weight_gradient(DType type, const ConvShape& s, const ConvImage& input,
                               const ConvImage& grad_output, void* grad_weight) {
    const int64_t size = itemsize(type), channels = s.out_channels, taps = s.taps();
    // Parts of the rows, by the shape alone, have sums of their own.
    const bool tiles = has_tiles(s);
    std::optional<Rows> by_rows;
    if (!tiles) by_rows.emplace(s, false, size, false);
    const int64_t image_rows = tiles ? s.out[1] : by_rows->per_image();
    const bool turned = input.channel_stride != 1 || grad_output.channel_stride != 1;
    const int64_t step = turned ? images_at_once(s, size) : s.batch, count = step * image_rows;
    const int64_t least = std::max(int64_t(1), (1 << 19) / (s.out[2] * channels * taps + 1));
    // An even number of rows, because tiles have two.
    const int64_t most_parts = std::clamp(count / least, int64_t(1), int64_t(32));
    const int64_t part_rows = std::max(int64_t(2), ceil_div(ceil_div(count, most_parts), 2) * 2);
    const int64_t parts = std::max(int64_t(1), ceil_div(count, part_rows)), sums = taps * channels;
    char* partial = static_cast<char*>(scratch(Scratch::PackedB, size_t(parts * sums * size)));
    std::memset(partial, 0, size_t(parts * sums * size));
    for (int64_t n = 0; n < s.batch; n += step) {
        const int64_t images = std::min(step, s.batch - n), here = images * image_rows;
        const ChannelsLast x(input, n, images, channels, s.in, size, Scratch::Columns);
        const ChannelsLast g(grad_output, n, images, channels, s.out, size, Scratch::Product);
        x.read();
        g.read();
        parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
            for (int64_t p = begin; p < end; ++p) {
                char* to = partial + p * sums * size;
                const int64_t first = std::min(p * part_rows, here), last = std::min(first + part_rows, here);
                if (tiles)
                    tile_rows(s, false, x.image(), g.image(), size, first, last,
                              [&](const DepthwiseTiles& image, int64_t row, int64_t row_end) {
                                  conv_depthwise_tiles_weight(type, image, row, row_end, to);
                              });
                else
                    by_rows->run(x.image(), g.image(), first, last,
                                 [&](const DepthwiseRow& row) { conv_depthwise_weight(type, row, to); });
            }
        });
    }
    auto add = [&](auto* total) {
        for (int64_t p = 1; p < parts; ++p)
            for (int64_t i = 0; i < sums; ++i) total[i] += total[p * sums + i];
    };
    size == 8 ? add(reinterpret_cast<double*>(partial)) : add(reinterpret_cast<float*>(partial));
    turn(size, partial, taps, channels, grad_weight);
}

}  // namespace flb
