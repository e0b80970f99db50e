// CHECK(condition): the whole test framework of the native tests. A program that fails says where and returns 1.
#pragma once
#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition)) {                                                            \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            std::exit(1);                                                              \
        }                                                                              \
    } while (0)

template <class Error, class F>
bool throws(F&& f) {
    try {
        f();
    } catch (const Error&) {
        return true;
    }
    return false;
}
