#pragma once

#include "tools/exit_code.hpp"
#include "tools/experiment/report.hpp"
#include "tools/experiment/run.hpp"
#include "tools/experiment/sweep.hpp"

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace lazypull::experiment {

enum class Action { run, report, sweep };

/// `lazypull experiment …`.
struct ExperimentCommand {
  Action action = Action::report;
  RunCommand run;
  ReportCommand report;
  SweepCommand sweep;
};

/// Declares the commands; `chosen` is called once one of them has been parsed. What it refers to must outlive
/// `app`.
void add_experiment_commands(CLI::App& app, ExperimentCommand& command, std::function<void()> chosen);

/// What a command prints, and ends with although it has printed it.
struct ExperimentOutput {
  std::string text;
  ExitCode exit = ExitCode::ok;
};

/// Carries it out, blocking. Throws Error.
ExperimentOutput run_experiment_command(const ExperimentCommand& command);

}  // namespace lazypull::experiment
