// Discrete Fourier transforms of lines of memory.
//
// Stockham's algorithm (Swarztrauber, FFT algorithms for vector computers, 1984) for lengths without large prime factors,
// Bluestein's (A linear filtering approach to the computation of the discrete Fourier transform, 1970) for the others. Up to
// 16 lines are transformed together, point by point side by side, which is what makes the loops wide. Two lines of real
// numbers are one of complex ones.
#include "kernels/fft_kernels.h"

#include <algorithm>
#include <cmath>
#include <list>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"

namespace flb {

FLB_DEFINE_KERNEL(fft_passes_float);
FLB_DEFINE_KERNEL(fft_passes_double);
FLB_DEFINE_KERNEL(fft_gather_float);
FLB_DEFINE_KERNEL(fft_gather_double);
FLB_DEFINE_KERNEL(fft_scatter_float);
FLB_DEFINE_KERNEL(fft_scatter_double);

namespace {

// exp(-2 pi i k / n), by the octant so that the argument is small and symmetric values are equal.
void root_of_unity(int64_t k, int64_t n, double* re, double* im) {
    k %= n;
    const double turn = 2 * 3.14159265358979323846;
    int64_t eighths = 8 * k / n;
    const auto angle = [&](int64_t numerator) { return turn * double(numerator) / (8.0 * double(n)); };
    const int64_t x = 8 * k;  // the angle in units of an eighth turn / n
    double c, s;
    switch (eighths) {
        case 0: c = std::cos(angle(x)), s = std::sin(angle(x)); break;
        case 1: c = std::sin(angle(2 * n - x)), s = std::cos(angle(2 * n - x)); break;
        case 2: c = -std::sin(angle(x - 2 * n)), s = std::cos(angle(x - 2 * n)); break;
        case 3: c = -std::cos(angle(4 * n - x)), s = std::sin(angle(4 * n - x)); break;
        case 4: c = -std::cos(angle(x - 4 * n)), s = -std::sin(angle(x - 4 * n)); break;
        case 5: c = -std::sin(angle(6 * n - x)), s = -std::cos(angle(6 * n - x)); break;
        case 6: c = std::sin(angle(x - 6 * n)), s = -std::cos(angle(x - 6 * n)); break;
        default: c = std::cos(angle(8 * n - x)), s = -std::sin(angle(8 * n - x)); break;
    }
    *re = c;
    *im = -s;
}

std::vector<int64_t> factors_of(int64_t n) {
    std::vector<int64_t> found;
    for (int64_t r : {8, 4, 2, 3, 5})
        while (n % r == 0) found.push_back(r), n /= r;
    for (int64_t r = 7; r <= kFftLargestRadix; r += 2)
        while (n % r == 0) found.push_back(r), n /= r;
    if (n > 1) found.clear();
    // Wide strides serve general radices best: they come last.
    return found;
}

// What a transform of n points in groups of `lines` needs; forward. The inverse exchanges real and imaginary parts.
template <class T>
class Plan {
  public:
    Plan(int64_t n, int64_t lines) : n_(n), lines_(lines) {
        std::vector<int64_t> radices = factors_of(n);
        if (n > 1 && radices.empty()) {
            make_bluestein();
            return;
        }
        int64_t left = n, stride = lines;
        tables_.reserve(4 * radices.size());
        for (int64_t r : radices) {
            const int64_t m = left / r;
            FftPass<T> pass{r, m, stride, nullptr, nullptr, nullptr, nullptr, stride < kFftWide};
            const int64_t repeat = pass.narrow ? stride : 1, count = m * repeat;
            std::vector<T> re((r - 1) * count), im((r - 1) * count), roots_re(r), roots_im(r);
            double c, s;
            for (int64_t k = 1; k < r; ++k)
                for (int64_t p = 0; p < m; ++p) {
                    root_of_unity(p * k, left, &c, &s);
                    for (int64_t q = 0; q < repeat; ++q) {
                        re[(k - 1) * count + p * repeat + q] = T(c);
                        im[(k - 1) * count + p * repeat + q] = T(s);
                    }
                }
            for (int64_t j = 0; j < r; ++j) {
                root_of_unity(j, r, &c, &s);
                roots_re[j] = T(c), roots_im[j] = T(s);
            }
            pass.twiddle_re = keep(std::move(re)), pass.twiddle_im = keep(std::move(im));
            pass.root_re = keep(std::move(roots_re)), pass.root_im = keep(std::move(roots_im));
            passes_.push_back(pass);
            left = m, stride *= r;
        }
    }

    // Numbers in each of the four buffers.
    int64_t buffer_size() const { return (inner_ ? inner_->n_ : n_) * lines_; }

    // Transforms (re, im); the result is in *re, *im, which exchange places with the others as needed.
    void run(T** re, T** im, T** other_re, T** other_im) const {
        if (inner_) return run_bluestein(re, im, other_re, other_im);
        if (passes_.empty()) return;
        if constexpr (sizeof(T) == 4)
            fft_passes_float(passes_.data(), int(passes_.size()), *re, *im, *other_re, *other_im);
        else fft_passes_double(passes_.data(), int(passes_.size()), *re, *im, *other_re, *other_im);
        if (passes_.size() % 2) std::swap(*re, *other_re), std::swap(*im, *other_im);
    }

  private:
    const T* keep(std::vector<T> table) {
        tables_.push_back(std::move(table));
        return tables_.back().data();
    }

    // n points as a cyclic convolution of M >= 2 n - 1 points, M a power of two, with the chirp exp(i pi k^2 / n).
    void make_bluestein() {
        int64_t length = 1;
        while (length < 2 * n_ - 1) length *= 2;
        inner_ = std::make_unique<Plan<T>>(length, lines_);
        chirp_re_.resize(n_), chirp_im_.resize(n_);
        for (int64_t k = 0; k < n_; ++k) {
            double c, s;
            // k^2 mod 2 n, without overflow of k^2 for any n that fits memory.
            root_of_unity(int64_t((__int128(k) * k) % (2 * n_)), 2 * n_, &c, &s);
            chirp_re_[k] = T(c), chirp_im_[k] = T(s);
        }
        // The transform of the conjugate chirp, wrapped around, in double precision.
        Plan<double> exact(length, 1);
        std::vector<double> memory(4 * size_t(length));
        double *re = memory.data(), *im = re + length, *re2 = im + length, *im2 = re2 + length;
        for (int64_t k = 0; k < n_; ++k) {
            double c, s;
            root_of_unity(int64_t((__int128(k) * k) % (2 * n_)), 2 * n_, &c, &s);
            re[k] = c, im[k] = -s;
            if (k) re[length - k] = c, im[length - k] = -s;
        }
        exact.run(&re, &im, &re2, &im2);
        filter_re_.resize(length), filter_im_.resize(length);
        for (int64_t k = 0; k < length; ++k)
            filter_re_[k] = T(re[k] / double(length)), filter_im_[k] = T(im[k] / double(length));
    }

    void run_bluestein(T** re, T** im, T** other_re, T** other_im) const {
        const int64_t length = inner_->n_;
        const auto times = [&](const T* wr, const T* wi, int64_t count, T* r, T* i) {
            for (int64_t k = 0; k < count; ++k)
                for (int64_t q = 0; q < lines_; ++q) {
                    const T a = r[k * lines_ + q], b = i[k * lines_ + q];
                    r[k * lines_ + q] = a * wr[k] - b * wi[k];
                    i[k * lines_ + q] = a * wi[k] + b * wr[k];
                }
        };
        times(chirp_re_.data(), chirp_im_.data(), n_, *re, *im);
        std::fill(*re + n_ * lines_, *re + length * lines_, T(0));
        std::fill(*im + n_ * lines_, *im + length * lines_, T(0));
        inner_->run(re, im, other_re, other_im);
        times(filter_re_.data(), filter_im_.data(), length, *re, *im);
        inner_->run(im, re, other_im, other_re);  // the inverse: parts exchanged
        times(chirp_re_.data(), chirp_im_.data(), n_, *re, *im);
    }

    int64_t n_, lines_;
    std::vector<FftPass<T>> passes_;
    std::vector<std::vector<T>> tables_;
    std::unique_ptr<Plan<T>> inner_;
    std::vector<T> chirp_re_, chirp_im_, filter_re_, filter_im_;
    template <class U>
    friend class Plan;
};

// The most recent plans; a plan lives as long as somebody runs it.
template <class T>
std::shared_ptr<const Plan<T>> plan_for(int64_t n, int64_t lines) {
    constexpr size_t kKept = 8;
    constexpr int64_t kLargestKept = 1 << 20;
    static std::mutex mutex;
    static std::list<std::tuple<int64_t, int64_t, std::shared_ptr<const Plan<T>>>> recent;
    {
        std::lock_guard<std::mutex> hold(mutex);
        for (auto it = recent.begin(); it != recent.end(); ++it)
            if (std::get<0>(*it) == n && std::get<1>(*it) == lines) {
                recent.splice(recent.begin(), recent, it);
                return std::get<2>(recent.front());
            }
    }
    auto made = std::make_shared<const Plan<T>>(n, lines);
    if (n <= kLargestKept) {
        std::lock_guard<std::mutex> hold(mutex);
        recent.emplace_front(n, lines, made);
        if (recent.size() > kKept) recent.pop_back();
    }
    return made;
}

void gather(const FftLanes<float>& from, float* re, float* im) { fft_gather_float(from, re, im); }
void gather(const FftLanes<double>& from, double* re, double* im) { fft_gather_double(from, re, im); }
void scatter(const FftLanes<float>& to, const float* re, const float* im, float scale) {
    fft_scatter_float(to, re, im, scale);
}
void scatter(const FftLanes<double>& to, const double* re, const double* im, double scale) {
    fft_scatter_double(to, re, im, scale);
}

// One group of lines: `lanes` of them side by side in the buffers; with real numbers twice as many in memory.
template <class T>
class Group {
  public:
    Group(const FftLines& job, const Plan<T>& plan, int64_t lanes) : job_(job), plan_(plan), lanes_(lanes) {
        // The halves of two Hermitian lines have up to two points more than one whole line.
        const int64_t size =
            std::max(plan.buffer_size(), 2 * (std::max(job.n / 2, half_points()) + 1) * lanes);
        memory_ = std::make_unique_for_overwrite<T[]>(4 * size_t(size));
        re_ = memory_.get();
        im_ = re_ + size;
        other_re_ = im_ + size;
        other_im_ = other_re_ + size;
    }

    // Lines first .. first + count - 1 of all rows * cols.
    void run(int64_t first, int64_t count) {
        first_ = first, count_ = count;
        if (job_.real_in) load_real();
        else if (job_.hermitian_in) load_hermitian();
        else load(0, 1, re_, im_, true, std::min(job_.in_points, job_.n));
        if (job_.forward) plan_.run(&re_, &im_, &other_re_, &other_im_);
        else plan_.run(&im_, &re_, &other_im_, &other_re_);
        if (job_.real_out) {
            store(0, 2, re_, nullptr, job_.n, T(job_.scale));
            store(1, 2, im_, nullptr, job_.n, T(job_.scale));
        } else if (job_.real_in) {
            store_halves();
        } else {
            store(0, 1, re_, im_, job_.n, T(job_.scale));
        }
    }

  private:
    int64_t half_points() const { return job_.real_in ? job_.out_points : job_.n / 2; }

    // The group's lines from, from + by, ... as lanes; those that are missing repeat the first.
    FftLanes<T> lanes_of(bool in, int64_t from, int64_t by) const {
        FftLanes<T> lanes;
        const int64_t parts = (in ? job_.real_in : job_.real_out) ? 1 : 2;
        lanes.count = count_ > from ? (count_ - from + by - 1) / by : 0;
        lanes.lanes = lanes_;
        lanes.complex = parts == 2;
        lanes.step = (in ? job_.in_step : job_.out_step) * parts;
        T* base = reinterpret_cast<T*>(in ? const_cast<char*>(job_.in) : job_.out);
        lanes.adjacent = true;
        for (int64_t q = 0; q < lanes_; ++q) {
            const int64_t line = first_ + (q < lanes.count ? from + q * by : 0);
            const int64_t row = line / job_.cols, col = line % job_.cols;
            lanes.lines[q] = base + (in ? row * job_.in_row + col * job_.in_col
                                        : row * job_.out_row + col * job_.out_col) *
                                        parts;
            lanes.adjacent &= lanes.lines[q] == lanes.lines[0] + q * parts;
        }
        return lanes;
    }

    void load(int64_t from, int64_t by, T* re, T* im, bool fill, int64_t points) const {
        FftLanes<T> lanes = lanes_of(true, from, by);
        lanes.points = points;
        gather(lanes, re, im);
        if (!fill) return;
        std::fill(re + points * lanes_, re + job_.n * lanes_, T(0));
        if (lanes.complex) std::fill(im + points * lanes_, im + job_.n * lanes_, T(0));
    }
    void store(int64_t from, int64_t by, const T* re, const T* im, int64_t points, T scale) const {
        FftLanes<T> lanes = lanes_of(false, from, by);
        lanes.points = std::min(points, job_.out_points);
        if (lanes.count) scatter(lanes, re, im, scale);
    }

    // Two real lines: real and imaginary part of one.
    void load_real() {
        const int64_t points = std::min(job_.in_points, job_.n);
        load(0, 2, re_, nullptr, true, points);
        load(1, 2, im_, nullptr, true, points);
    }

    // A + i B of two lines that stand for Hermitian ones: their transforms are real.
    void load_hermitian() {
        const int64_t n = job_.n, half = n / 2 + 1, points = std::min(job_.in_points, half), L = lanes_;
        T *ar = other_re_, *ai = other_im_, *br = ar + half * L, *bi = ai + half * L;
        load(0, 2, ar, ai, false, points);
        load(1, 2, br, bi, false, points);
        for (T* plane : {ar, ai, br, bi}) std::fill(plane + points * L, plane + half * L, T(0));
        T *re = re_, *im = im_;
        for (int64_t k = 0; k < half; ++k, ar += L, ai += L, br += L, bi += L) {
            // The points that are their own mirror images are real: what else they hold does not count.
            if (k == 0 || 2 * k == n) {
                for (int64_t q = 0; q < L; ++q) re[k * L + q] = ar[q], im[k * L + q] = br[q];
                continue;
            }
            T *mirror_re = re + (n - k) * L, *mirror_im = im + (n - k) * L;
            for (int64_t q = 0; q < L; ++q) {
                re[k * L + q] = ar[q] - bi[q];
                im[k * L + q] = ai[q] + br[q];
                mirror_re[q] = ar[q] + bi[q];
                mirror_im[q] = br[q] - ai[q];
            }
        }
    }

    // Z = A + i B with Hermitian A and B: A_k = (Z_k + conj Z_{n-k}) / 2, B_k = (Z_k - conj Z_{n-k}) / 2i.
    void store_halves() {
        const int64_t n = job_.n, points = job_.out_points, L = lanes_;
        T *ar = other_re_, *ai = other_im_, *br = ar + points * L, *bi = ai + points * L;
        for (int64_t k = 0; k < points; ++k) {
            const int64_t mirror = k ? n - k : 0;
            const T *zr = re_ + k * L, *zi = im_ + k * L, *mr = re_ + mirror * L, *mi = im_ + mirror * L;
            for (int64_t q = 0; q < L; ++q) {
                ar[k * L + q] = zr[q] + mr[q];
                ai[k * L + q] = zi[q] - mi[q];
                br[k * L + q] = zi[q] + mi[q];
                bi[k * L + q] = mr[q] - zr[q];
            }
        }
        store(0, 2, ar, ai, points, T(job_.scale * 0.5));
        store(1, 2, br, bi, points, T(job_.scale * 0.5));
    }

    const FftLines& job_;
    const Plan<T>& plan_;
    int64_t lanes_, first_ = 0, count_ = 0;
    std::unique_ptr<T[]> memory_;
    T *re_, *im_, *other_re_, *other_im_;
};

template <class T>
void run_lines(const FftLines& job) {
    const int64_t all = job.rows * job.cols, packed = job.real_in || job.real_out ? 2 : 1;
    // Long lines one by one: sixteen of them would not fit a cache.
    const int64_t together = (all + packed - 1) / packed;
    const int64_t lines = job.n > (1 << 16) || together < 4 ? 1 : kFftWide;
    const auto plan = plan_for<T>(job.n, lines);
    const int64_t per_group = lines * packed, groups = (all + per_group - 1) / per_group;
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, job.n * per_group));
    parallel_for(0, groups, grain, [&](int64_t begin, int64_t end) {
        Group<T> group(job, *plan, lines);
        for (int64_t g = begin; g < end; ++g)
            group.run(g * per_group, std::min(per_group, all - g * per_group));
    });
}

}  // namespace

void fft_lines(bool is_double, const FftLines& lines) {
    if (is_double) run_lines<double>(lines);
    else run_lines<float>(lines);
}

}  // namespace flb
