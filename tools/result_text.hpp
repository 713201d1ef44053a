#pragma once

#include "engine/pull_report.hpp"

#include <string>

namespace lazypull {

/// "pulled docker.io/library/app:1 sha256:… (linux/amd64) in 1.2 s: 8 layers: 5 remote, 1 existing, 2
/// downloaded; 12.3 MiB fetched, 340.0 MiB avoided". `verb` is "pulled" or "fetched".
std::string summary(const PullReport& report, std::string_view verb);

/// The plan: for each image a line for each layer, then the sums.
std::string plan_table(const PullReport& report);

/// The ChainIDs of the images, one a line, with a caption or bare.
std::string chain_id_lines(const PullReport& report, bool caption);

}  // namespace lazypull
