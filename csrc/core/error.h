// Errors of the core: one C++ exception class that carries the Python type it becomes at the border.
#pragma once
#include <cstdint>
#include <exception>
#include <sstream>
#include <string>

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

template <class... Parts>
std::string join(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
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
