#include "tools/trace_command.hpp"

#include "engine/error.hpp"
#include "tools/trace_show.hpp"
#include "transport/duration.hpp"
#include "transport/http_message.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <sys/ioctl.h>

#include <algorithm>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::size_t most_columns = 500;

std::size_t columns_of(int output, const Environment& environment) {
  winsize size{};
  if (::ioctl(output, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const auto columns = parse_decimal(environment("COLUMNS").value_or(""));
  return columns ? static_cast<std::size_t>(std::min<std::uint64_t>(*columns, most_columns)) : 100;
}

bool has_colour(int output, const Environment& environment) {
  return ::isatty(output) == 1 && environment("NO_COLOR").value_or("").empty() &&
         environment("TERM").value_or("") != "dumb";
}

}  // namespace

void add_trace_commands(CLI::App& app, TraceCommand& command, std::function<void()> chosen) {
  auto* group = app.add_subcommand("trace", "Look at what --trace has written");
  group->require_subcommand(1);
  group->fallthrough();
  auto* show = group->add_subcommand("show", "Draw a trace file as a waterfall");
  show->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  show->fallthrough();
  show->footer(
      "A line for each span, in the order in which they began; those marked with * are the ones that the "
      "whole "
      "duration hangs on.\nThe flags that 'lazypull --help' lists are accepted here too.");
  show->parse_complete_callback(std::move(chosen));
  show->add_option("FILE", command.file, "File of the Trace Event format")->type_name("")->required();
  show->add_flag("--critical-path", command.critical_only, "Only the spans of the critical path");
  show->add_option("--min", command.shortest, "Leave out spans that are shorter, such as 5ms")
      ->type_name("DURATION");
}

std::string run_trace_command(const TraceCommand& command, int output, const Environment& environment) {
  WaterfallOptions options;
  const auto shortest = parse_duration(command.shortest);
  if (!shortest) {
    throw Error(Errc::invalid_argument, "--min: '" + command.shortest + "' is not a duration such as 5ms");
  }
  options.shortest = *shortest;
  options.critical_only = command.critical_only;
  options.columns = columns_of(output, environment);
  options.colour = has_colour(output, environment);
  return render_waterfall(read_trace(command.file), options);
}

}  // namespace lazypull
