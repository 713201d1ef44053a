#pragma once

#include "tools/experiment/matrix.hpp"
#include "tools/experiment/node.hpp"
#include "tools/experiment/results.hpp"
#include "tools/experiment/spec.hpp"
#include "tools/trace_file.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lazypull::experiment {

/// What a puller has told about itself.
struct PullDetails {
  std::vector<std::pair<std::string, double>> phases;  ///< milliseconds; empty for those that tell nothing
  std::vector<SpanRow> spans;
};

/// The command line that pulls a reference. `trace` is where `lazypull pull` writes its trace.
std::vector<std::string> pull_command(const Programs& programs, const Coordinates& at,
                                      const std::string& address, const std::string& reference,
                                      const std::filesystem::path& trace);

/// What `lazypull pull --output json` printed. Throws Error{bad_response}.
PullDetails parse_pull_result(std::string_view json);

/// The spans of a trace, since its first one; at most ResultLimits::spans, the longest ones.
std::vector<SpanRow> spans_of(const TraceFile& trace);

}  // namespace lazypull::experiment
