#include "kernels/sort_kernels.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <type_traits>

#include "core/parallel.h"
#include "kernels/select_kernels.h"

namespace flb {
namespace {

constexpr int64_t kGrain = 1 << 12;      // elements worth a thread
constexpr int64_t kComparisonMax = 256;  // shorter rows are sorted by comparison, longer ones by digits

// Note [Sort keys]: every element is mapped to an unsigned integer that orders the same way. Sorting then knows two
// types only, descending order is the complement of the key, and equal keys keep their order.
template <class T>
using KeyOf = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
KeyOf<T> key_of(T x) {
    if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
        return key_of(float(x));
    } else if constexpr (std::is_floating_point_v<T>) {
        using K = KeyOf<T>;
        constexpr K sign = K(1) << (sizeof(K) * 8 - 1);
        if (x != x) return ~K(0);
        const K bits = std::bit_cast<K>(T(x + T(0)));  // -0 + 0 is +0
        return bits & sign ? ~bits : bits | sign;
    } else if constexpr (std::is_signed_v<T>) {
        using K = KeyOf<T>;
        return K(x) ^ (K(1) << (sizeof(K) * 8 - 1));
    } else {
        return x;
    }
}
template <class T>
bool is_nan(T x) {
    if constexpr (std::is_integral_v<T>) return false;
    else return x != x;
}

template <class K, class I>
struct Entry {
    K key;
    I index;
    bool operator<(const Entry& o) const { return key < o.key || (key == o.key && index < o.index); }
};

// Least significant digit first, all histograms in one pass; digits that all keys share are passed over.
template <class E>
E* radix_sort(E* from, E* to, int64_t n) {
    constexpr int digits = sizeof(from->key);
    int64_t counts[digits][256] = {};
    for (int64_t i = 0; i < n; ++i)
        for (int d = 0; d < digits; ++d) ++counts[d][(from[i].key >> (8 * d)) & 255];
    for (int d = 0; d < digits; ++d) {
        int64_t* count = counts[d];
        if (count[(from[0].key >> (8 * d)) & 255] == n) continue;
        int64_t start = 0;
        for (int b = 0; b < 256; ++b) start += std::exchange(count[b], start);
        for (int64_t i = 0; i < n; ++i) to[count[(from[i].key >> (8 * d)) & 255]++] = from[i];
        std::swap(from, to);
    }
    return from;
}

template <class E>
E* sort_entries(E* entries, E* scratch, int64_t n) {
    if (n > kComparisonMax) return radix_sort(entries, scratch, n);
    std::sort(entries, entries + n);
    return entries;
}

template <class E>
bool by_key(const E& a, const E& b) {
    return a.key < b.key;
}
template <class E>
bool has_ties(const E* sorted, int64_t n) {
    bool ties = false;
    for (int64_t i = 1; i < n; ++i) ties |= sorted[i - 1].key == sorted[i].key;
    return ties;
}

// PyTorch's choice among equal keys, see Note [Ties]: the k smallest to the front of all n.
template <class E>
void select_front(E* list, int64_t n, int64_t k, bool sorted) {
    if (k * 64 <= n) {
        std::partial_sort(list, list + k, list + n, by_key<E>);
        return;
    }
    std::nth_element(list, list + (k - 1), list + n, by_key<E>);
    if (sorted) std::sort(list, list + (k - 1), by_key<E>);
}

// Hoare's quickselect with the median of three as the pivot: the k-th smallest (from 0) comes to its place.
template <class E>
void quickselect(E* list, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1;
    const auto order = [&](int64_t a, int64_t b) {
        if (list[b].key < list[a].key) std::swap(list[a], list[b]);
    };
    while (high > low + 1) {
        std::swap(list[low + (high - low) / 2], list[low + 1]);
        order(low + 1, high);
        order(low, high);
        order(low + 1, low);
        const auto pivot = list[low].key;
        int64_t i = low + 1, j = high;
        while (true) {
            do ++i;
            while (list[i].key < pivot);
            do --j;
            while (pivot < list[j].key);
            if (j < i) break;
            std::swap(list[i], list[j]);
        }
        std::swap(list[low], list[j]);
        if (j <= k) low = i;
        if (j >= k) high = j - 1;
    }
    if (high == low + 1) order(low, high);
}

template <class E>
struct Scratch {
    explicit Scratch(int64_t n) : memory(new E[size_t(n)]) {}
    std::unique_ptr<E[]> memory;
    E* get() { return memory.get(); }
};

// body(T tag, I tag): the element type, and an index type as narrow as n allows.
template <class F>
bool dispatch(DType dtype, int64_t n, F&& body) {
    return visit(dtype, [&](auto t) {
        using T = typename decltype(t)::type;
        if constexpr (info(dtype_of<T>::value).kind == DTypeKind::Complex) {
            return false;
        } else {
            if (n <= INT32_MAX) body(T(), int32_t());
            else body(T(), int64_t());
            return true;
        }
    });
}

template <class F>
void for_rows(const SortDesc& d, F&& body) {
    parallel_for(0, d.rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, d.n)), body);
}

template <class T>
void fill_keys(KeyOf<T>* keys, const T* row, int64_t n, KeyOf<T> flip) {
    if constexpr (std::is_same_v<T, float>) {
        float_keys(keys, row, n, flip);
    } else {
        for (int64_t i = 0; i < n; ++i) keys[i] = key_of(row[i]) ^ flip;
    }
}

// f(position) for the keys from `begin` on that are not above `bar`, which f may lower; for some others, too.
template <class K, class F>
void for_keys_not_above(const K* keys, int64_t begin, int64_t n, const K& bar, F&& f) {
    if constexpr (sizeof(K) == 4) {
        if (n <= INT32_MAX) {
            int32_t positions[256];
            int64_t room = 32;  // the bar falls quickly at first
            while (begin < n) {
                int64_t found;
                begin = keys_not_above(keys, begin, n, bar, positions, room, &found);
                for (int64_t i = 0; i < found; ++i) f(positions[i]);
                room = std::min<int64_t>(2 * room, 256);
            }
            return;
        }
    }
    for (int64_t i = begin; i < n; ++i)
        if (keys[i] <= bar) f(i);
}
// At least k keys are not above this, and seldom many more: k groups have a member that is not.
template <class K>
K first_bar(const K* keys, int64_t n, int64_t k) {
    if constexpr (sizeof(K) == 4) {
        if (k <= 32 && n >= 256) {
            uint32_t least[64];
            least_of_groups(keys, n, least);
            std::nth_element(least, least + (k - 1), least + 64);
            return least[k - 1];
        }
    }
    return ~K(0);
}
template <class K>
int64_t count_up_to(const K* keys, int64_t n, K bar) {
    if constexpr (sizeof(K) == 4) {
        return count_not_above(keys, n, bar);
    } else {
        int64_t count = 0;
        for (int64_t i = 0; i < n; ++i) count += keys[i] <= bar;
        return count;
    }
}

template <class T>
void emit(const SortDesc& d, const T* row, int64_t at, int64_t index) {
    if (d.values) static_cast<T*>(d.values)[at] = row[index];
    if (d.indices) d.indices[at] = index;
}

}  // namespace

bool sort_rows(DType dtype, const SortDesc& d, bool descending, bool stable) {
    return dispatch(dtype, d.n, [&](auto t, auto i) {
        using T = decltype(t);
        using E = Entry<KeyOf<T>, decltype(i)>;
        const KeyOf<T> flip = descending ? ~KeyOf<T>(0) : 0;
        for_rows(d, [&](int64_t begin, int64_t end) {
            Scratch<E> entries(d.n), other(d.n > kComparisonMax ? d.n : 1);
            for (int64_t r = begin; r < end; ++r) {
                const T* row = static_cast<const T*>(d.in) + r * d.n;
                const auto fill_entries = [&](E* to) {
                    for (int64_t k = 0; k < d.n; ++k) to[k] = {key_of(row[k]) ^ flip, decltype(i)(k)};
                };
                fill_entries(entries.get());
                const E* sorted = sort_entries(entries.get(), other.get(), d.n);
                if (!stable && d.n <= kTiesMax && has_ties(sorted, d.n)) {
                    fill_entries(entries.get());
                    std::sort(entries.get(), entries.get() + d.n, by_key<E>);
                    sorted = entries.get();
                }
                for (int64_t k = 0; k < d.n; ++k) emit(d, row, r * d.n + k, sorted[k].index);
            }
        });
    });
}

bool topk_rows(DType dtype, const SortDesc& d, int64_t k, bool largest, bool sorted) {
    return dispatch(dtype, d.n, [&](auto t, auto i) {
        using T = decltype(t);
        using K = KeyOf<T>;
        using E = Entry<K, decltype(i)>;
        if (k == 0) return;
        const K flip = largest ? ~K(0) : 0;
        // Candidates gather until there are twice k; then the worse half goes, and what is left sets the bar.
        const int64_t room = std::min(d.n, 2 * k + 64);
        for_rows(d, [&](int64_t begin, int64_t end) {
            Scratch<E> best(room);
            Scratch<K> row_keys(d.n);
            const K* keys = row_keys.get();
            std::unique_ptr<Scratch<E>> all;
            for (int64_t r = begin; r < end; ++r) {
                const T* row = static_cast<const T*>(d.in) + r * d.n;
                fill_keys(row_keys.get(), row, d.n, flip);
                E* list = best.get();
                int64_t held = 0;
                K bar = first_bar(keys, d.n, k);
                const int64_t start = bar == ~K(0) ? room : 0;
                for (; held < start; ++held) list[held] = {keys[held], decltype(i)(held)};
                const auto offer = [&](int64_t c) {
                    if (keys[c] > bar) return;
                    if (held == room) {
                        std::nth_element(list, list + (k - 1), list + held);
                        held = k;
                        bar = list[k - 1].key;
                        if (keys[c] > bar) return;
                    }
                    list[held++] = {keys[c], decltype(i)(c)};
                };
                for_keys_not_above(keys, start, d.n, bar, offer);
                if (held > k) std::nth_element(list, list + (k - 1), list + held);
                if (sorted) std::sort(list, list + k);
                if (d.n <= kTiesMax) {
                    const K worst = std::max_element(list, list + k, by_key<E>)->key;
                    if (!sorted || count_up_to(keys, d.n, worst) > k || has_ties(list, k)) {
                        if (!all) all = std::make_unique<Scratch<E>>(d.n);
                        list = all->get();
                        for (int64_t c = 0; c < d.n; ++c) list[c] = {keys[c], decltype(i)(c)};
                        select_front(list, d.n, k, sorted);
                    }
                }
                for (int64_t c = 0; c < k; ++c) emit(d, row, r * k + c, list[c].index);
            }
        });
    });
}

bool kth_rows(DType dtype, const SortDesc& d, int64_t k) {
    return dispatch(dtype, d.n, [&](auto t, auto i) {
        using T = decltype(t);
        using E = Entry<KeyOf<T>, decltype(i)>;
        for_rows(d, [&](int64_t begin, int64_t end) {
            Scratch<E> entries(d.n);
            for (int64_t r = begin; r < end; ++r) {
                const T* row = static_cast<const T*>(d.in) + r * d.n;
                E* list = entries.get();
                for (int64_t c = 0; c < d.n; ++c) list[c] = {key_of(row[c]), decltype(i)(c)};
                if (d.n <= kTiesMax) quickselect(list, d.n, k - 1);
                else std::nth_element(list, list + (k - 1), list + d.n);
                emit(d, row, r, list[k - 1].index);
            }
        });
    });
}

bool median_rows(DType dtype, const SortDesc& d, bool ignore_nan) {
    return dispatch(dtype, d.n, [&](auto t, auto i) {
        using T = decltype(t);
        using E = Entry<KeyOf<T>, decltype(i)>;
        for_rows(d, [&](int64_t begin, int64_t end) {
            Scratch<E> entries(d.n);
            for (int64_t r = begin; r < end; ++r) {
                const T* row = static_cast<const T*>(d.in) + r * d.n;
                E* list = entries.get();
                int64_t held = 0, first_nan = -1;
                for (int64_t c = 0; c < d.n; ++c) {
                    if (!is_nan(row[c])) {
                        list[held++] = {key_of(row[c]), decltype(i)(c)};
                    } else if (first_nan < 0) {
                        first_nan = c;
                    }
                }
                if (first_nan >= 0 && (!ignore_nan || held == 0)) {
                    emit(d, row, r, first_nan);
                } else {
                    E* middle = list + (held - 1) / 2;
                    std::nth_element(list, middle, list + held);
                    emit(d, row, r, middle->index);
                }
            }
        });
    });
}

bool mode_rows(DType dtype, const SortDesc& d) {
    return dispatch(dtype, d.n, [&](auto t, auto i) {
        using T = decltype(t);
        using E = Entry<KeyOf<T>, decltype(i)>;
        for_rows(d, [&](int64_t begin, int64_t end) {
            Scratch<E> entries(d.n);
            for (int64_t r = begin; r < end; ++r) {
                const T* row = static_cast<const T*>(d.in) + r * d.n;
                for (int64_t c = 0; c < d.n; ++c) entries.get()[c] = {key_of(row[c]), decltype(i)(c)};
                E* sorted = entries.get();
                // By key alone, as PyTorch sorts: that decides which of the equal elements' positions is returned.
                std::sort(sorted, sorted + d.n, [](const E& x, const E& y) { return x.key < y.key; });
                int64_t most = 0, last = 0;
                for (int64_t first = 0; first < d.n;) {
                    int64_t stop = first + 1;
                    while (stop < d.n && sorted[stop].key == sorted[first].key) ++stop;
                    if (stop - first > most) {
                        most = stop - first;
                        last = sorted[stop - 1].index;
                    }
                    first = stop;
                }
                emit(d, row, r, last);
            }
        });
    });
}

bool search_sorted(DType dtype, const SearchDesc& d) {
    return dispatch(dtype, d.n, [&](auto t, auto) {
        using T = decltype(t);
        const int64_t per_row = d.count / std::max<int64_t>(1, d.sequence_rows);
        parallel_for(0, d.count, kGrain / 8, [&](int64_t begin, int64_t end) {
            for (int64_t v = begin; v < end; ++v) {
                const int64_t row = d.sequence_rows > 1 ? v / per_row : 0;
                const T* sequence = static_cast<const T*>(d.sequence) + row * d.n;
                const int64_t* order = d.order ? d.order + row * d.n : nullptr;
                const auto key = key_of(static_cast<const T*>(d.values)[v]);
                int64_t at = 0;
                for (int64_t left = d.n; left > 0;) {
                    const int64_t half = left / 2;
                    const auto probe = key_of(sequence[order ? order[at + half] : at + half]);
                    const bool go_right = d.right ? probe <= key : probe < key;
                    at = go_right ? at + half + 1 : at;
                    left = go_right ? left - half - 1 : half;
                }
                d.out[v] = at;
            }
        });
    });
}

}  // namespace flb
