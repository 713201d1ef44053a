#pragma once

#include "engine/awaitable.hpp"

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

namespace lazypull {

struct ProgramOutput {
  int exit_code = 0;  ///< 128 + n if it died of signal n
  std::string out;
};

/// Runs a program, which is looked up in $PATH, without a shell: `input` (at most 64 KiB) is its standard
/// input, its standard error goes nowhere. Standard output is collected without blocking the home thread.
/// When the caller is cancelled, `limit` has passed, or more than `max_output` bytes come, the program and
/// all others of its process group are killed; in no case does a zombie stay. Throws Error{not_found} if
/// there is no such program, {permission_denied} if it must not be run, {timed_out}, {bad_response} for too
/// much output, and {cancelled}; messages begin with the program's name.
Awaitable<ProgramOutput> run_program(std::vector<std::string> argv, std::string input, std::size_t max_output,
                                     std::chrono::milliseconds limit);

}  // namespace lazypull
