#include <algorithm>
#include <numeric>

#include "kernels/unique_kernels.h"

namespace flb {
namespace {

// NaN comes last and ties with itself, so that sorting sees a strict weak order.
template <class T>
int compare(T a, T b) {
    if (a < b) return -1;
    if (b < a) return 1;
    return int(a != a) - int(b != b);
}

template <class F>
void visit_real(DType dtype, F&& f) {
    visit(dtype, [&](auto tag) {
        using T = typename decltype(tag)::type;
        if constexpr (info(dtype_of<T>::value).kind != DTypeKind::Complex) f(T());
    });
}

}  // namespace

void sort_row_order(DType dtype, const UniqueDesc& d) {
    visit_real(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T* data = static_cast<const T*>(d.data);
        std::iota(d.order, d.order + d.n, int64_t(0));
        std::stable_sort(d.order, d.order + d.n, [&](int64_t a, int64_t b) {
            const T *x = data + a * d.width, *y = data + b * d.width;
            for (int64_t i = 0; i < d.width; ++i)
                if (const int c = compare(x[i], y[i])) return c < 0;
            return false;
        });
    });
}

int64_t group_rows(DType dtype, const UniqueDesc& d) {
    int64_t groups = 0;
    visit_real(dtype, [&](auto zero) {
        using T = decltype(zero);
        const T* data = static_cast<const T*>(d.data);
        const auto row = [&](int64_t i) { return data + (d.order && !d.sorted ? d.order[i] : i) * d.width; };
        for (int64_t i = 0; i < d.n; ++i) {
            bool same = i > 0;
            if (same) {
                const T *x = row(i - 1), *y = row(i);
                for (int64_t c = 0; same && c < d.width; ++c) same = x[c] == y[c];
            }
            if (!same) d.starts[groups++] = i;
            if (d.inverse) d.inverse[d.order ? d.order[i] : i] = groups - 1;
        }
    });
    return groups;
}

}  // namespace flb
