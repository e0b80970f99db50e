#include "kernels/lapack.h"

#include <algorithm>
#include <complex>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/openblas.h"

namespace flb {
namespace {

template <class T>
struct RealOf {
    using type = T;
    static constexpr bool complex = false;
};
template <class T>
struct RealOf<std::complex<T>> {
    using type = T;
    static constexpr bool complex = true;
};
template <class T>
using Real = typename RealOf<T>::type;
template <class T>
constexpr bool kComplex = RealOf<T>::complex;

// Fortran passes everything by address, and the lengths of strings by value behind the last argument.
constexpr size_t kLength = 1;

template <class... Args>
void invoke(void* routine, Args... args) {
    reinterpret_cast<void (*)(Args...)>(routine)(args...);
}

template <class T>
void* find(const char* real_name, const char* complex_name) {
    const char letter = std::is_same_v<T, float>                 ? 's'
                        : std::is_same_v<T, double>              ? 'd'
                        : std::is_same_v<T, std::complex<float>> ? 'c'
                                                                 : 'z';
    const std::string name = std::string("scipy_") + letter + (kComplex<T> ? complex_name : real_name) + "_";
    return openblas_symbol(name.c_str());
}
template <class T>
void* find(const char* name) {
    return find<T>(name, name);
}

template <class F>
void for_dtype(DType type, F&& f) {
    switch (type) {
        case DType::Float32: return f(float());
        case DType::Float64: return f(double());
        case DType::Complex64: return f(std::complex<float>());
        case DType::Complex128: return f(std::complex<double>());
        default: fail(ErrorKind::Runtime, "LAPACK has no routines for ", info(type).name);
    }
}

int narrow(int64_t size) {
    check(size <= std::numeric_limits<int>::max(), "a matrix with a side of ", size,
          " is too large for LAPACK");
    return int(size);
}

// What a routine asked for, when called with a work size of -1.
template <class T>
int asked(const T& work) {
    return std::max(1, int(std::real(work)));
}

// Every matrix by itself: small ones are shared out over threads in groups.
template <class F>
void each(const Matrices& a, F&& f) {
    const double work = double(a.rows) * double(a.cols) * double(std::min(a.rows, a.cols)) + 1;
    const int64_t grain = std::max<int64_t>(1, int64_t(200000 / work));
    parallel_for(0, a.count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) f(i);
    });
}

template <class T>
T* at(const Matrices& a, int64_t i) {
    return static_cast<T*>(a.data) + i * a.rows * a.cols;
}
template <class T>
T* at(void* vectors, int64_t i, int64_t length) {
    return static_cast<T*>(vectors) + i * length;
}

int leading(int64_t rows) { return std::max(1, narrow(rows)); }

// Note [Not finite]: LAPACK's iterations need not end, or may crash, on infinities and NaN. The routines that iterate
// therefore see finite numbers only; for another matrix they set `info` to kNotFinite and fill the results with NaN.
template <class T>
bool finite(const T* values, int64_t count) {
    using R = Real<T>;
    const R* parts = reinterpret_cast<const R*>(values);
    bool bad = false;
    for (int64_t i = 0; i < count * (kComplex<T> ? 2 : 1); ++i)
        bad |= !(std::abs(parts[i]) <= std::numeric_limits<R>::max());
    return !bad;
}
template <class T>
bool finite_triangle(const T* matrix, int64_t n, bool upper) {
    bool all = true;
    for (int64_t c = 0; c < n && all; ++c)
        all = upper ? finite(matrix + c * n, c + 1) : finite(matrix + c * n + c, n - c);
    return all;
}
template <class T>
void fill_nan(T* values, int64_t count) {
    std::fill(values, values + count, T(std::numeric_limits<Real<T>>::quiet_NaN()));
}

}  // namespace

void lapack_cholesky(DType type, Matrices a, bool upper, int32_t* info) {
    const int n = narrow(a.rows), ld = leading(n);
    const char triangle = upper ? 'U' : 'L';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const potrf = find<T>("potrf");
        each(a, [&](int64_t i) { invoke(potrf, &triangle, &n, at<T>(a, i), &ld, info + i, kLength); });
    });
}

void lapack_lu(DType type, Matrices a, int32_t* pivots, int32_t* info) {
    const int m = narrow(a.rows), n = narrow(a.cols), ld = leading(m);
    const int64_t k = std::min(m, n);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const getrf = find<T>("getrf");
        each(a, [&](int64_t i) { invoke(getrf, &m, &n, at<T>(a, i), &ld, pivots + i * k, info + i); });
    });
}

void lapack_lu_solve(DType type, Matrices lu, const int32_t* pivots, Matrices b, char op) {
    const int n = narrow(lu.rows), k = narrow(b.cols), ld = leading(n);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const getrs = find<T>("getrs");
        each(lu, [&](int64_t i) {
            int info;
            invoke(getrs, &op, &n, &k, at<T>(lu, i), &ld, pivots + i * n, at<T>(b, i), &ld, &info, kLength);
        });
    });
}

void lapack_ldl(DType type, Matrices a, bool hermitian, int32_t* pivots, int32_t* info) {
    const int n = narrow(a.rows), ld = leading(n);
    const char triangle = 'L';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const symmetric = find<T>("sytrf");
        static void* const complex_hermitian = find<T>("sytrf", "hetrf");
        void* const routine = hermitian ? complex_hermitian : symmetric;
        each(a, [&](int64_t i) {
            T size = 0;
            int lwork = -1;
            int32_t* p = pivots + i * n;
            invoke(routine, &triangle, &n, at<T>(a, i), &ld, p, &size, &lwork, info + i, kLength);
            lwork = asked(size);
            std::vector<T> work(lwork);
            invoke(routine, &triangle, &n, at<T>(a, i), &ld, p, work.data(), &lwork, info + i, kLength);
        });
    });
}

void lapack_ldl_solve(DType type, Matrices ld, const int32_t* pivots, Matrices b, bool hermitian) {
    const int n = narrow(ld.rows), k = narrow(b.cols), lead = leading(n);
    const char triangle = 'L';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const symmetric = find<T>("sytrs");
        static void* const complex_hermitian = find<T>("sytrs", "hetrs");
        void* const routine = hermitian ? complex_hermitian : symmetric;
        each(ld, [&](int64_t i) {
            int info;
            invoke(routine, &triangle, &n, &k, at<T>(ld, i), &lead, pivots + i * n, at<T>(b, i), &lead, &info,
                   kLength);
        });
    });
}

void lapack_triangular_solve(DType type, Matrices a, Matrices b, Triangle triangle) {
    const int m = narrow(b.rows), n = narrow(b.cols), lda = leading(a.rows), ldb = leading(m);
    const char side = triangle.left ? 'L' : 'R', uplo = triangle.upper ? 'U' : 'L',
               unit = triangle.unit ? 'U' : 'N';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const trsm = find<T>("trsm");
        const T one = 1;
        each(b, [&](int64_t i) {
            invoke(trsm, &side, &uplo, &triangle.op, &unit, &m, &n, &one, at<T>(a, i), &lda, at<T>(b, i),
                   &ldb, kLength, kLength, kLength, kLength);
        });
    });
}

void lapack_qr(DType type, Matrices a, void* tau) {
    const int m = narrow(a.rows), n = narrow(a.cols), ld = leading(m);
    const int64_t k = std::min(m, n);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const geqrf = find<T>("geqrf");
        each(a, [&](int64_t i) {
            T size = 0;
            int lwork = -1, info;
            invoke(geqrf, &m, &n, at<T>(a, i), &ld, at<T>(tau, i, k), &size, &lwork, &info);
            lwork = std::max(asked(size), std::max(1, n));
            std::vector<T> work(lwork);
            invoke(geqrf, &m, &n, at<T>(a, i), &ld, at<T>(tau, i, k), work.data(), &lwork, &info);
        });
    });
}

void lapack_householder(DType type, Matrices a, const void* tau, int64_t reflections) {
    const int m = narrow(a.rows), n = narrow(a.cols), k = narrow(reflections), ld = leading(m);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const orgqr = find<T>("orgqr", "ungqr");
        each(a, [&](int64_t i) {
            T size = 0;
            int lwork = -1, info;
            T* t = at<T>(const_cast<void*>(tau), i, k);
            invoke(orgqr, &m, &n, &k, at<T>(a, i), &ld, t, &size, &lwork, &info);
            lwork = std::max(asked(size), std::max(1, n));
            std::vector<T> work(lwork);
            invoke(orgqr, &m, &n, &k, at<T>(a, i), &ld, t, work.data(), &lwork, &info);
        });
    });
}

void lapack_apply_householder(DType type, Matrices a, const void* tau, Matrices c, bool left, char op,
                              int64_t reflections) {
    const int m = narrow(c.rows), n = narrow(c.cols), k = narrow(reflections), lda = leading(a.rows),
              ldc = leading(m);
    const char side = left ? 'L' : 'R';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        static void* const ormqr = find<T>("ormqr", "unmqr");
        const char transpose = op == 'N' ? 'N' : kComplex<T> ? 'C' : 'T';
        each(c, [&](int64_t i) {
            T size = 0;
            int lwork = -1, info;
            T* t = at<T>(const_cast<void*>(tau), i, k);
            invoke(ormqr, &side, &transpose, &m, &n, &k, at<T>(a, i), &lda, t, at<T>(c, i), &ldc, &size,
                   &lwork, &info, kLength, kLength);
            lwork = std::max(asked(size), std::max({1, m, n}));
            std::vector<T> work(lwork);
            invoke(ormqr, &side, &transpose, &m, &n, &k, at<T>(a, i), &lda, t, at<T>(c, i), &ldc, work.data(),
                   &lwork, &info, kLength, kLength);
        });
    });
}

void lapack_eigh(DType type, Matrices a, void* values, bool upper, bool vectors, int32_t* info) {
    const int n = narrow(a.rows), ld = leading(n);
    const char job = vectors ? 'V' : 'N', triangle = upper ? 'U' : 'L';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        using R = Real<T>;
        static void* const syevd = find<T>("syevd", "heevd");
        each(a, [&](int64_t i) {
            T* matrix = at<T>(a, i);
            R* w = at<R>(values, i, n);
            if (!finite_triangle(matrix, n, upper)) {
                info[i] = kNotFinite;
                fill_nan(w, n);
                return fill_nan(matrix, int64_t(n) * n);
            }
            T size = 0;
            R real_size = 0;
            int lwork = -1, lrwork = -1, liwork = -1, int_size = 0;
            std::vector<T> work(1);
            std::vector<R> rwork(1);
            std::vector<int> iwork(1);
            const auto run = [&](T* to, R* real_to, int* int_to) {
                if constexpr (kComplex<T>)
                    invoke(syevd, &job, &triangle, &n, matrix, &ld, w, to, &lwork, real_to, &lrwork, int_to,
                           &liwork, info + i, kLength, kLength);
                else
                    invoke(syevd, &job, &triangle, &n, matrix, &ld, w, to, &lwork, int_to, &liwork, info + i,
                           kLength, kLength);
            };
            run(&size, &real_size, &int_size);
            work.resize(lwork = asked(size));
            rwork.resize(lrwork = asked(real_size));
            iwork.resize(liwork = std::max(1, int_size));
            run(work.data(), rwork.data(), iwork.data());
        });
    });
}

void lapack_eig(DType type, Matrices a, void* values, void* vectors, int32_t* info) {
    const int n = narrow(a.rows), ld = leading(n), one = 1;
    const char none = 'N', job = vectors ? 'V' : 'N';
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        using R = Real<T>;
        using C = std::complex<R>;
        static void* const geev = find<T>("geev");
        each(a, [&](int64_t i) {
            T* matrix = at<T>(a, i);
            C* w = at<C>(values, i, n);
            C* v = vectors ? at<C>(vectors, i, int64_t(n) * n) : nullptr;
            if (!finite(matrix, int64_t(n) * n)) {
                info[i] = kNotFinite;
                fill_nan(w, n);
                return fill_nan(v, v ? int64_t(n) * n : 0);
            }
            T size = 0, unused = 0;
            int lwork = -1;
            if constexpr (kComplex<T>) {
                std::vector<R> rwork(2 * size_t(std::max(1, n)));
                const auto run = [&](T* work) {
                    invoke(geev, &none, &job, &n, matrix, &ld, w, &unused, &one, v ? v : &unused,
                           v ? &ld : &one, work, &lwork, rwork.data(), info + i, kLength, kLength);
                };
                run(&size);
                std::vector<T> work(lwork = asked(size));
                run(work.data());
            } else {
                std::vector<R> wr(std::max(1, n)), wi(std::max(1, n)), vr(v ? size_t(n) * n : 1);
                const auto run = [&](T* work) {
                    invoke(geev, &none, &job, &n, matrix, &ld, wr.data(), wi.data(), &unused, &one, vr.data(),
                           v ? &ld : &one, work, &lwork, info + i, kLength, kLength);
                };
                run(&size);
                std::vector<T> work(lwork = asked(size));
                run(work.data());
                for (int j = 0; j < n; ++j) w[j] = C(wr[j], wi[j]);
                if (!v) return;
                // A conjugate pair's vectors stand as their real and imaginary parts in two columns.
                for (int j = 0; j < n; ++j) {
                    const R* column = vr.data() + int64_t(j) * n;
                    const bool pair = wi[j] != 0 && j + 1 < n;
                    for (int r = 0; r < n; ++r) {
                        v[int64_t(j) * n + r] = pair ? C(column[r], column[n + r]) : C(column[r]);
                        if (pair) v[int64_t(j + 1) * n + r] = C(column[r], -column[n + r]);
                    }
                    j += pair;
                }
            }
        });
    });
}

void lapack_svd(DType type, Matrices a, void* u, void* s, void* vh, char job, int32_t* info) {
    const int m = narrow(a.rows), n = narrow(a.cols), k = std::min(m, n), ld = leading(m), one = 1;
    const int64_t u_size = int64_t(m) * (job == 'A' ? m : k), v_size = int64_t(n) * (job == 'A' ? n : k);
    const int ldv = leading(job == 'A' ? n : k);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        using R = Real<T>;
        static void* const gesdd = find<T>("gesdd");
        const bool vectors = job != 'N';
        each(a, [&](int64_t i) {
            T size = 0, unused = 0;
            T* ui = vectors ? at<T>(u, i, u_size) : &unused;
            T* vi = vectors ? at<T>(vh, i, v_size) : &unused;
            R* si = at<R>(s, i, k);
            if (!finite(at<T>(a, i), int64_t(m) * n)) {
                info[i] = kNotFinite;
                fill_nan(si, k);
                fill_nan(ui, vectors ? u_size : 0);
                return fill_nan(vi, vectors ? v_size : 0);
            }
            int lwork = -1;
            std::vector<int> iwork(8 * size_t(std::max(1, k)));
            // LAPACK's bound for the real work of the complex routine, which it does not report.
            const size_t x = std::max(m, n), y = std::max(1, k);
            std::vector<R> rwork(kComplex<T> ? std::max(5 * y * y + 7 * y, 2 * x * y + 2 * y * y + y) : 1);
            const auto run = [&](T* work) {
                if constexpr (kComplex<T>)
                    invoke(gesdd, &job, &m, &n, at<T>(a, i), &ld, si, ui, vectors ? &ld : &one, vi,
                           vectors ? &ldv : &one, work, &lwork, rwork.data(), iwork.data(), info + i,
                           kLength);
                else
                    invoke(gesdd, &job, &m, &n, at<T>(a, i), &ld, si, ui, vectors ? &ld : &one, vi,
                           vectors ? &ldv : &one, work, &lwork, iwork.data(), info + i, kLength);
            };
            run(&size);
            std::vector<T> work(lwork = asked(size));
            run(work.data());
        });
    });
}

void lapack_lstsq(DType type, Matrices a, Matrices b, LeastSquares driver, double rcond, int64_t* rank,
                  void* s, int32_t* info) {
    const int m = narrow(a.rows), n = narrow(a.cols), k = narrow(b.cols), lda = leading(m),
              ldb = leading(b.rows);
    const int least = std::min(m, n);
    for_dtype(type, [&](auto zero) {
        using T = decltype(zero);
        using R = Real<T>;
        static void* const gels = find<T>("gels");
        static void* const gelsy = find<T>("gelsy");
        static void* const gelsd = find<T>("gelsd");
        static void* const gelss = find<T>("gelss");
        const R condition = R(rcond);
        each(a, [&](int64_t i) {
            T* x = at<T>(a, i);
            T* y = at<T>(b, i);
            if (!finite(x, int64_t(m) * n) || !finite(y, int64_t(b.rows) * k)) {
                info[i] = kNotFinite;
                return fill_nan(y, int64_t(b.rows) * k);
            }
            T size = 0;
            R real_size = 0;
            int lwork = -1, found = 0, int_size = 0;
            std::vector<T> work(1);
            std::vector<R> rwork(1);
            std::vector<int> iwork(1);
            if (driver == LeastSquares::Gels) {
                const char op = 'N';
                const auto run = [&](T* to) {
                    invoke(gels, &op, &m, &n, &k, x, &lda, y, &ldb, to, &lwork, info + i, kLength);
                };
                run(&size);
                work.resize(lwork = asked(size));
                run(work.data());
                return;
            }
            if (driver == LeastSquares::Gelsy) {
                std::vector<int> pivots(std::max(1, n));
                rwork.resize(2 * size_t(std::max(1, n)));
                const auto run = [&](T* to) {
                    if constexpr (kComplex<T>)
                        invoke(gelsy, &m, &n, &k, x, &lda, y, &ldb, pivots.data(), &condition, &found, to,
                               &lwork, rwork.data(), info + i);
                    else
                        invoke(gelsy, &m, &n, &k, x, &lda, y, &ldb, pivots.data(), &condition, &found, to,
                               &lwork, info + i);
                };
                run(&size);
                work.resize(lwork = asked(size));
                run(work.data());
            } else {
                const bool divide = driver == LeastSquares::Gelsd;
                R* values = at<R>(s, i, least);
                const auto run = [&](T* to, R* real_to, int* int_to) {
                    if constexpr (kComplex<T>) {
                        if (divide)
                            invoke(gelsd, &m, &n, &k, x, &lda, y, &ldb, values, &condition, &found, to,
                                   &lwork, real_to, int_to, info + i);
                        else
                            invoke(gelss, &m, &n, &k, x, &lda, y, &ldb, values, &condition, &found, to,
                                   &lwork, real_to, info + i);
                    } else {
                        if (divide)
                            invoke(gelsd, &m, &n, &k, x, &lda, y, &ldb, values, &condition, &found, to,
                                   &lwork, int_to, info + i);
                        else
                            invoke(gelss, &m, &n, &k, x, &lda, y, &ldb, values, &condition, &found, to,
                                   &lwork, info + i);
                    }
                };
                run(&size, &real_size, &int_size);
                work.resize(lwork = asked(size));
                rwork.resize(std::max<size_t>(asked(real_size), 5 * size_t(std::max(1, least))));
                iwork.resize(std::max(1, int_size));
                run(work.data(), rwork.data(), iwork.data());
            }
            if (rank) rank[i] = found;
        });
    });
}

}  // namespace flb
