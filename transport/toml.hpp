#pragma once

#include <stdexcept>

// toml++, the same in every file that includes it. For .cpp files only.

namespace lazypull::detail {

// In a few places toml++ 3.3 asserts what a damaged file does not fulfil, and assumes it in release builds,
// which is undefined behaviour. It shall be a failure to parse in all builds.
[[noreturn]] inline void toml_assertion_failed() {
  throw std::logic_error("malformed");
}

}  // namespace lazypull::detail

// clang-format off
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ASSERT(expression) \
  (static_cast<bool>(expression) ? static_cast<void>(0) : ::lazypull::detail::toml_assertion_failed())
#pragma push_macro("NDEBUG")
#undef NDEBUG
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")
// clang-format on
