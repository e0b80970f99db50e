// Errors of the core: one C++ exception class that carries the Python type it becomes at the border.
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace flb {

enum class ErrorKind : uint8_t {
    Runtime,
    Type,
    Value,
    Index,
    NotImplemented,
    Overflow,
    Memory,
    Attribute,
    Python,  // a Python exception is already set; nothing to translate
};

class Error : public std::exception {
  public:
    Error(ErrorKind kind, std::string message) : kind(kind), message_(std::move(message)) {}
    const char* what() const noexcept override { return message_.c_str(); }
    ErrorKind kind;

  private:
    std::string message_;
};

// The parts of a message. Plain functions rather than a stream: there are more than a thousand messages, and what each
// of them instantiates is a good part of the build. Other types add an overload beside themselves.
void append(std::string& out, const char* text);
void append(std::string& out, std::string_view text);
void append(std::string& out, char letter);
void append(std::string& out, int value);
void append(std::string& out, long value);
void append(std::string& out, long long value);
void append(std::string& out, unsigned value);
void append(std::string& out, unsigned long value);
void append(std::string& out, unsigned long long value);
void append(std::string& out, double value);

template <class... Parts>
std::string join(const Parts&... parts) {
    std::string out;
    (append(out, parts), ...);
    return out;
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, const Parts&... parts) {
    throw Error(kind, join(parts...));
}

// check(condition, message parts...) raises RuntimeError, the type that PyTorch raises most.
template <class... Parts>
inline void check(bool condition, const Parts&... parts) {
    if (__builtin_expect(!condition, 0)) fail(ErrorKind::Runtime, parts...);
}
template <class... Parts>
inline void check_as(ErrorKind kind, bool condition, const Parts&... parts) {
    if (__builtin_expect(!condition, 0)) fail(kind, parts...);
}

}  // namespace flb
