// Dims: sizes or strides; up to five live inline, because almost every tensor has no more.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <string>
#include <utility>

#include "core/error.h"

namespace flb {

constexpr int kMaxDims = 64;

// Strides of dimensions that no index ever steps along (of size one, or of a tensor without elements) may be anything
// and are computed with all the same: their overflow is harmless, but must be defined.
inline int64_t wrapping_mul(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }
inline int64_t wrapping_add(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }

class Dims {
  public:
    static constexpr int kInline = 5;

    Dims() = default;
    explicit Dims(int n, int64_t value = 0) {
        resize(n);
        for (int i = 0; i < n; ++i) data()[i] = value;
    }
    Dims(std::initializer_list<int64_t> values) : Dims(values.begin(), int(values.size())) {}
    Dims(const int64_t* values, int n) {
        resize(n);
        if (n) std::memcpy(data(), values, n * sizeof(int64_t));
    }
    Dims(const Dims& other) : Dims(other.data(), other.size_) {}
    Dims(Dims&& other) noexcept { take(other); }
    Dims& operator=(const Dims& other) {
        if (this != &other) {
            resize(other.size_);
            if (size_) std::memcpy(data(), other.data(), size_ * sizeof(int64_t));
        }
        return *this;
    }
    Dims& operator=(Dims&& other) noexcept {
        if (this != &other) {
            release();
            take(other);
        }
        return *this;
    }
    ~Dims() { release(); }

    int size() const { return size_; }
    bool empty() const { return size_ == 0; }
    int64_t* data() { return heap_ ? heap_ : inline_; }
    const int64_t* data() const { return heap_ ? heap_ : inline_; }
    int64_t& operator[](int i) { return data()[i]; }
    int64_t operator[](int i) const { return data()[i]; }
    int64_t* begin() { return data(); }
    int64_t* end() { return data() + size_; }
    const int64_t* begin() const { return data(); }
    const int64_t* end() const { return data() + size_; }
    int64_t back() const { return data()[size_ - 1]; }

    // Grows or shrinks; new entries are uninitialised.
    void resize(int n) {
        if (n > capacity_) {
            check(n <= 1 << 20, "too many dimensions: ", n);
            int64_t* grown = static_cast<int64_t*>(std::malloc(n * sizeof(int64_t)));
            if (!grown) throw std::bad_alloc();
            if (size_) std::memcpy(grown, data(), size_ * sizeof(int64_t));
            release();
            heap_ = grown;
            capacity_ = n;
        }
        size_ = n;
    }
    void push_back(int64_t value) {
        const int n = size_;
        if (n == capacity_) {
            resize(2 * n);
            size_ = n;
        }
        size_ = n + 1;
        data()[n] = value;
    }
    void insert(int at, int64_t value) {
        push_back(value);
        for (int i = size_ - 1; i > at; --i) data()[i] = data()[i - 1];
        data()[at] = value;
    }
    void erase(int at) {
        for (int i = at; i + 1 < size_; ++i) data()[i] = data()[i + 1];
        --size_;
    }
    bool operator==(const Dims& other) const {
        return size_ == other.size_ &&
               (size_ == 0 || std::memcmp(data(), other.data(), size_ * sizeof(int64_t)) == 0);
    }
    bool operator!=(const Dims& other) const { return !(*this == other); }

  private:
    void release() {
        if (heap_) std::free(heap_);
        heap_ = nullptr;
        capacity_ = kInline;
    }
    void take(Dims& other) {
        size_ = other.size_;
        capacity_ = other.capacity_;
        heap_ = other.heap_;
        if (!heap_) std::memcpy(inline_, other.inline_, sizeof(inline_));
        other.heap_ = nullptr;
        other.capacity_ = kInline;
        other.size_ = 0;
    }

    int size_ = 0;
    int capacity_ = kInline;
    int64_t* heap_ = nullptr;
    int64_t inline_[kInline];
};

// "[2, 3]", as PyTorch's messages write shapes. The text is made when a message is: check(ok, ..., str(sizes)) costs
// nothing while all is well. Not to be kept beyond the expression that it stands in.
class DimsText {
  public:
    explicit DimsText(const Dims& dims) : dims_(&dims) {}
    DimsText(const char* instead) : instead_(instead) {}  // t ? str(t->sizes) : ""
    operator std::string() const;

  private:
    const Dims* dims_ = nullptr;
    const char* instead_ = nullptr;
};
inline DimsText str(const Dims& dims) { return DimsText(dims); }
inline void append(std::string& out, const DimsText& text) { out += std::string(text); }
inline std::string operator+(const std::string& a, const DimsText& b) { return a + std::string(b); }

// Product of sizes; raises RuntimeError when it does not fit, or a size is negative.
int64_t checked_numel(const Dims& sizes);
// Bytes from the first to one past the last element that a window touches (0 when it is empty); raises on overflow.
int64_t checked_extent_bytes(const Dims& sizes, const Dims& strides, int64_t offset, int itemsize);

Dims contiguous_strides(const Dims& sizes);
Dims channels_last_strides(const Dims& sizes);  // 4 or 5 dimensions

// Shape of a broadcast operation; raises PyTorch's "The size of tensor a (2) must match ..." error.
Dims broadcast_shapes(const Dims& a, const Dims& b);
bool broadcastable_to(const Dims& from, const Dims& to);

// dim in [-n, n) to [0, n); a zero-dimensional tensor counts as one-dimensional. IndexError otherwise.
int wrap_dim(int64_t dim, int ndim);
// Replaces one -1 in `shape` so that the product is numel.
Dims infer_size(const Dims& shape, int64_t numel);

}  // namespace flb
