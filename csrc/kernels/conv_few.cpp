// Outputs of few channels, such as the gradient of a picture: vectors run over neighbouring outputs of a row, and every
// vector of inputs goes into all channels. Images are read as planes with their padding written out.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/conv_windows.h"

namespace flb {

FLB_DEFINE_KERNEL(conv_few_row);

namespace {

constexpr int64_t kLeastOutputs = 12;  // of a row: fewer leave vectors empty

class FewTargets {
  public:
    FewTargets(DType type, const ConvShape& s, bool backward, const ConvImage& source, const void* weight,
               const void* bias, const ConvImage& target)
        : type_(type),
          size_(itemsize(type)),
          sources_(backward ? s.out_channels : s.in_channels),
          targets_(backward ? s.in_channels : s.out_channels),
          taps_(s.taps()),
          plan_(make_plan(s, backward, 1, 1, 1)),
          source_(source),
          target_(target) {
        for (int i = 0; i < 3; ++i) from_[i] = (backward ? s.out : s.in)[i];
        plane_ = plan_.frame.elements();
        check_as(ErrorKind::Memory, double(plane_) * double(sources_) < double(int64_t(1) << 58),
                 "DefaultCPUAllocator: can't allocate memory: the padded image of a convolution has too many "
                 "elements");
        char* weights =
            static_cast<char*>(scratch(Scratch::PackedB, size_t((taps_ * sources_ + 1) * targets_ * size_)));
        bias_ = weights + taps_ * sources_ * targets_ * size_;
        std::memset(weights + taps_ * sources_ * targets_ * size_, 0, size_t(targets_ * size_));
        if (bias) std::memcpy(weights + taps_ * sources_ * targets_ * size_, bias, size_t(targets_ * size_));
        weights_ = weights;
        size_ == 8 ? pack<uint64_t>(backward, weight, weights) : pack<uint32_t>(backward, weight, weights);
    }

    void run(int64_t batch, double work) const {
        // Whole images for the threads, unless there are too few: then the rows of one.
        const bool together = work < kParallelProduct || batch < 2 * num_threads();
        const bool serial = work < kParallelProduct;
        parallel_for(0, batch, together ? batch : 1, [&](int64_t begin, int64_t end) {
            for (int64_t n = begin; n < end; ++n) image(n, serial);
        });
    }

  private:
    // [source][tap][target], taps in the order of the plan's runs.
    template <class U>
    void pack(bool backward, const void* from, void* to) const {
        for (int64_t s = 0; s < sources_; ++s)
            for (int64_t k = 0; k < taps_; ++k)
                for (int64_t t = 0; t < targets_; ++t) {
                    const int64_t in = backward ? (s * targets_ + t) * taps_ + taps_ - 1 - k
                                                : (t * sources_ + s) * taps_ + k;
                    static_cast<U*>(to)[(s * taps_ + k) * targets_ + t] = static_cast<const U*>(from)[in];
                }
    }

    void image(int64_t n, bool serial) const {
        const Frame& f = plan_.frame;
        const ConvImage from = image_at(source_, n, size_), to = image_at(target_, n, size_);
        const int64_t rows = f.size[0] * f.size[1];
        constexpr int64_t kSlack = 64;  // whole vectors are read
        char* planes =
            static_cast<char*>(scratch(Scratch::Columns, size_t((plane_ * sources_ + kSlack) * size_)));
        parallel_for(0, rows, serial ? rows : std::max(int64_t(1), 32768 / (f.size[2] * sources_ + 1)),
                     [&](int64_t begin, int64_t end) {
                         for (int64_t r = begin; r < end; ++r) fill(from, r, planes + r * f.size[2] * size_);
                     });
        for (const OutputClass& out : plan_.outputs) {
            const DimClass &d = *out.dim[0], &h = *out.dim[1], &w = *out.dim[2];
            if (w.count == 0) continue;
            std::vector<int64_t> offsets, taps;
            for (const ConvRun& run : out.runs) {
                offsets.push_back(run.input);
                taps.push_back(run.weight);
            }
            const int64_t width = round_up(w.count, 16);
            const int64_t grain = std::max(
                int64_t(1), (1 << 19) / (w.count * targets_ * sources_ * int64_t(offsets.size() + 1)));
            const int64_t count = d.count * h.count;
            parallel_for(0, count, serial ? count : grain, [&](int64_t begin, int64_t end) {
                char* sums = static_cast<char*>(scratch(Scratch::Product, size_t(targets_ * width * size_)));
                for (int64_t r = begin; r < end; ++r) {
                    const int64_t jd = r / h.count, jh = r % h.count;
                    FewRow row{};
                    row.input =
                        planes + (jd * d.multiple * f.stride(0) + jh * h.multiple * f.stride(1)) * size_;
                    row.plane = plane_;
                    row.sources = sources_;
                    row.targets = targets_;
                    row.positions = w.count;
                    row.offsets = offsets.data();
                    row.taps = taps.data();
                    row.tap_count = int64_t(offsets.size());
                    row.all_taps = taps_;
                    row.weights = weights_;
                    row.bias = bias_;
                    row.output = sums;
                    row.output_row = width;
                    conv_few_row(type_, row);
                    char* at = static_cast<char*>(to.data) +
                               ((d.start + jd * d.step) * to.stride[0] +
                                (h.start + jh * h.step) * to.stride[1] + w.start * to.stride[2]) *
                                   size_;
                    if (size_ == 8) spread<uint64_t>(sums, width, w.count, at, w.step * to.stride[2]);
                    else spread<uint32_t>(sums, width, w.count, at, w.step * to.stride[2]);
                }
            });
        }
    }

    // Row r of the frame of every channel, counted over d and h.
    void fill(const ConvImage& from, int64_t r, char* to) const {
        const Frame& f = plan_.frame;
        const int64_t d = r / f.size[1] - f.lo[0], h = r % f.size[1] - f.lo[1], left = f.lo[2];
        const bool inside = d >= 0 && d < from_[0] && h >= 0 && h < from_[1];
        const int64_t width = inside ? std::max(int64_t(0), std::min(from_[2], f.size[2] - left)) : 0;
        for (int64_t c = 0; c < sources_; ++c) {
            char* row = to + c * plane_ * size_;
            std::memset(row, 0, size_t(left * size_));
            std::memset(row + (left + width) * size_, 0, size_t((f.size[2] - left - width) * size_));
        }
        if (width == 0) return;
        const char* first =
            static_cast<const char*>(from.data) + (d * from.stride[0] + h * from.stride[1]) * size_;
        to += left * size_;
        if (from.stride[2] == 1)
            for (int64_t c = 0; c < sources_; ++c)
                std::memcpy(to + c * plane_ * size_, first + c * from.channel_stride * size_,
                            size_t(width * size_));
        else
            conv_transpose_copy(int(size_), width, sources_, first, from.stride[2], from.channel_stride, to,
                                1, plane_);
    }

    template <class U>
    void spread(const char* sums, int64_t width, int64_t count, char* to, int64_t step) const {
        for (int64_t t = 0; t < targets_; ++t) {
            const U* from = reinterpret_cast<const U*>(sums) + t * width;
            U* out = reinterpret_cast<U*>(to) + t * target_.channel_stride;
            for (int64_t i = 0; i < count; ++i) out[i * step] = from[i];
        }
    }

    DType type_;
    int64_t size_, sources_, targets_, taps_, from_[3], plane_;
    Plan plan_;
    ConvImage source_, target_;
    const char *weights_, *bias_;
};

}  // namespace

bool has_few_targets(const ConvShape& s, bool backward) {
    const int64_t targets = backward ? s.in_channels : s.out_channels;
    const int64_t row = backward ? s.in[2] / s.stride[2] : s.out[2];
    return s.groups == 1 && targets > 0 && targets <= kFewTargets && s.taps() > 1 && row >= kLeastOutputs &&
           (backward || s.stride[2] == 1);
}

void few_outputs(DType type, const ConvShape& s, bool backward, const ConvImage& source, const void* weight,
                 const void* bias, const ConvImage& target) {
    const double work = double(s.batch) * double(s.out[0] * s.out[1] * s.out[2]) * double(s.out_channels) *
                        double(s.taps() * s.in_channels);
    FewTargets(type, s, backward, source, weight, bias, target).run(s.batch, work);
}

}  // namespace flb
