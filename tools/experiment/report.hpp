#pragma once

#include "tools/experiment/results.hpp"

#include <string>
#include <vector>

namespace lazypull::experiment {

/// One HTML page with everything in it: medians with confidence intervals, ratios to a baseline, phases,
/// distribution, the waterfall of one run, and the summary as CSV. It loads nothing from anywhere, and takes
/// nothing in the results for markup. The same results give the same bytes.
std::string report_page(const std::vector<Row>& rows);

/// `lazypull experiment report`.
struct ReportCommand {
  std::string results;
  std::string output;  ///< of the page; empty is the results' name with .html
  std::string csv;     ///< of the summary; empty is none
};

/// Writes the files and returns what is to be printed. Throws Error.
std::string run_report_command(const ReportCommand& command);

}  // namespace lazypull::experiment
