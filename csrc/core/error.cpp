#include "core/error.h"

#include <charconv>
#include <cstdio>

namespace flb {

namespace {
template <class T>
void append_integer(std::string& out, T value) {
    char digits[24];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}
}  // namespace

void append(std::string& out, const char* text) { out += text; }
void append(std::string& out, std::string_view text) { out += text; }
void append(std::string& out, char letter) { out += letter; }
void append(std::string& out, int value) { append_integer(out, value); }
void append(std::string& out, long value) { append_integer(out, value); }
void append(std::string& out, long long value) { append_integer(out, value); }
void append(std::string& out, unsigned value) { append_integer(out, value); }
void append(std::string& out, unsigned long value) { append_integer(out, value); }
void append(std::string& out, unsigned long long value) { append_integer(out, value); }
void append(std::string& out, double value) {
    char digits[32];
    out.append(digits, size_t(std::snprintf(digits, sizeof digits, "%g", value)));
}

}  // namespace flb
