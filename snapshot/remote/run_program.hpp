#pragma once

#include "engine/awaitable.hpp"

#include <map>
#include <string>
#include <vector>

namespace lazypull {

struct ProgramRun {
  int exit_code = 0;   ///< 128 + n if it died of signal n
  std::string output;  ///< the end of what it wrote to standard output and standard error
};

/// Runs a program to its end, without a shell, with nothing to read; PATH is searched. `environment` is added
/// to this process's own. The child keeps the descriptor `inherit` open. Cancelling kills it. Throws
/// not_found if there is no such program.
Awaitable<ProgramRun> run_program(std::vector<std::string> arguments,
                                  std::map<std::string, std::string> environment, int inherit);

}  // namespace lazypull
