// Which windows meet which outputs, and images in the form that the loops over windows read. See Note [Convolution as
// rows] in conv_kernels.h.
#pragma once
#include <vector>

#include "kernels/conv_kernels.h"
#include "kernels/packed_gemm.h"

namespace flb {

// Part of an image that a kernel call should find in the second cache level.
constexpr int64_t kConvBlockBytes = 192 << 10;

inline PanelType conv_panel_type(DType type) {
    return type == DType::Float64 ? PanelType::F64 : PanelType::F32;
}

// Outputs start, start + step, ... of one dimension. Output number j reads input j * multiple + offset for every tap.
struct DimClass {
    struct Tap {
        int64_t tap, offset;
    };
    int64_t start, step, count, multiple;
    std::vector<Tap> taps;
};
std::vector<DimClass> forward_classes(const ConvShape& s, int dim);
// Backwards, an input meets only the taps that fit its residue modulo the stride: one class of inputs per residue.
// Taps run from the last to the first, so that neighbouring taps meet neighbouring gradients in ascending order.
std::vector<DimClass> backward_classes(const ConvShape& s, int dim);

// An image in the form [d][h][w][channel] with zeros around it; `lo` zeros come first in each dimension.
struct Frame {
    int64_t lo[3], size[3], channels;
    int64_t stride(int dim) const {
        return dim == 2 ? channels : dim == 1 ? size[2] * channels : size[1] * size[2] * channels;
    }
    int64_t elements() const { return size[0] * size[1] * size[2] * channels; }
};

// What a group of outputs reads: classes of the three dimensions and the runs of one window.
struct OutputClass {
    const DimClass* dim[3];
    std::vector<ConvRun> runs;
};

struct Plan {
    std::vector<DimClass> classes[3];
    Frame frame;
    std::vector<OutputClass> outputs;
};

// channels: of the image that is read; run: how many of them a window's element has (those of one group); longest: of
// a run.
Plan make_plan(const ConvShape& s, bool backward, int64_t channels, int64_t run, int64_t longest);

// Image n of a batch whose elements have `size` bytes.
ConvImage image_at(const ConvImage& image, int64_t n, int64_t size);

// Rows [begin, end) of the frame, counted over d and h, from an image of these sizes.
void fill_frame(const ConvImage& image, const int64_t (&sizes)[3], const Frame& f, int64_t size, char* to,
                int64_t begin, int64_t end);

// Convolutions of so few channels that windows are written out for their outputs, and those whose windows fill panels of
// nr much better when written out; and such a one with a window of one element whose channels are the columns.
bool few_channels(const ConvShape& s);
bool columns_fill_panels(const ConvShape& s, int64_t nr);
ConvShape columns_shape(const ConvShape& s);

// Images as the loops read them: the caller's memory where it has the form already, else filled when asked.
class Source {
  public:
    // columns: the original shape when windows are to be written out; apart: positions may be any steps apart.
    Source(const ConvImage& image, const int64_t (&sizes)[3], const Frame& frame, int64_t size,
           const ConvShape* columns, bool apart)
        : image_(image), frame_(frame), size_(size), columns_(columns) {
        for (int i = 0; i < 3; ++i) sizes_[i] = sizes[i];
        direct_ = !columns && image.channel_stride == 1;
        for (int i = 0; i < 3; ++i)
            direct_ = direct_ && frame.lo[i] == 0 && frame.size[i] <= sizes[i] &&
                      (apart || frame.size[i] == 1 || image.stride[i] == frame.stride(i));
        bytes_ = size_t(round_up(frame.elements() * size, 64));
    }
    bool direct() const { return direct_; }
    int64_t step(int dim) const { return direct_ ? image_.stride[dim] : frame_.stride(dim); }
    size_t bytes() const { return direct_ ? 0 : bytes_; }
    int64_t rows() const { return frame_.size[0] * frame_.size[1]; }
    // Rows [begin, end) of image n, counted over d and h.
    void fill(int64_t n, char* to, int64_t begin, int64_t end) const;
    const char* caller_memory(int64_t n) const { return static_cast<char*>(image_at(image_, n, size_).data); }

  private:
    ConvImage image_;
    int64_t sizes_[3];
    Frame frame_;
    int64_t size_;
    const ConvShape* columns_;
    bool direct_;
    size_t bytes_;
};

}  // namespace flb
