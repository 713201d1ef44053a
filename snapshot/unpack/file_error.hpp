#pragma once

#include <string_view>

namespace lazypull {

/// Throws the Error for a failed system call: "PATH: DOING: no space left on device". What only an odd
/// archive can cause is `invalid_image`, a full disk or quota `out_of_space`.
[[noreturn]] void throw_file_error(std::string_view path, std::string_view doing, int error_number);

/// Throws Error{invalid_image}: "PATH: WHY".
[[noreturn]] void throw_bad_entry(std::string_view path, std::string_view why);

}  // namespace lazypull
