#include "tools/experiment/command.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include <utility>

namespace lazypull::experiment {
namespace {

class ExperimentGrammar {
 public:
  ExperimentGrammar(CLI::App& app, ExperimentCommand& command, std::function<void()> chosen)
      : command_(command), chosen_(std::move(chosen)) {
    group_ = app.add_subcommand("experiment", "Measure why containers start slowly, and what helps");
    group_->require_subcommand(1);
    group_->fallthrough();
  }

  void add_run() {
    auto& run = command_.run;
    auto& leaf =
        add_leaf(Action::run, "run", "Run the matrix of a specification and add the results to a file");
    leaf.footer(
        "Needs root. Everything runs in private containerds below a work folder, which is removed at the "
        "end.\n"
        "Runs that the file has are not made again, so an experiment that was stopped can be gone on with.");
    leaf.add_option("SPEC", run.spec, "YAML file, see docs/experiments.md")->type_name("")->required();
    leaf.add_option("--output", run.results, "File of JSON Lines; SPEC's name with .jsonl if not given")
        ->type_name("FILE");
    leaf.add_flag("--dry-run", run.dry_run, "Print the runs in their order, and run nothing");
    leaf.add_flag("--keep-caches", run.keep_caches, "Do not drop the kernel's caches before each run");
    leaf.add_flag("-q,--quiet", run.quiet, "No line for each run");
  }

  void add_report() {
    auto& report = command_.report;
    auto& leaf = add_leaf(Action::report, "report", "Make a self-contained HTML page of results");
    leaf.add_option("RESULTS", report.results, "File of JSON Lines that 'experiment run' wrote")
        ->type_name("")
        ->required();
    leaf.add_option("--output", report.output, "File of the page; RESULTS' name with .html if not given")
        ->type_name("FILE");
    leaf.add_option("--csv", report.csv, "File for the summary as CSV")->type_name("FILE");
  }

  void add_sweep() {
    auto& sweep = command_.sweep;
    auto& leaf =
        add_leaf(Action::sweep, "sweep", "Vary one knob of a simulated pull, and find where the knee is");
    leaf.footer(
        "The engine is the real one; registry, network, snapshotter and unpacking are simulated in virtual "
        "time, so\n"
        "that the same seed gives the same result everywhere. Needs no root.");
    const auto text = [&leaf](const char* name, std::string& variable, const char* help, const char* type) {
      auto* option = leaf.add_option(name, variable, help)->type_name(type);
      if (!variable.empty()) option->default_str(variable);
    };
    text("--knob", sweep.knob, "What is varied: fetch-limit, unpack-limit, chunk-size, policy or dialect",
         "KNOB");
    leaf.add_option("--values", sweep.values, "Its values, comma-separated; usual ones if not given")
        ->type_name("LIST")
        ->delimiter(',')
        ->take_all();
    leaf.add_option("--seed", sweep.seed, "Of layers, hits and jitter")
        ->type_name("NUMBER")
        ->default_str("1");
    leaf.add_option("--runs", sweep.runs, "Pulls for each value, of which the median counts")
        ->type_name("NUMBER")
        ->default_str("5");
    text("--layout", sweep.layout, "OCI image layout whose image is pulled", "DIR");
    leaf.add_option("--layers", sweep.layers, "Layers of an image that is made up")
        ->type_name("NUMBER")
        ->default_str("12");
    text("--layer-size", sweep.layer_size, "Their mean compressed size", "SIZE");
    text("--latency", sweep.latency, "Of each response of the registry", "DURATION");
    text("--snapshotter-latency", sweep.snapshotter_latency, "Of each call to the snapshotter", "DURATION");
    text("--mount-latency", sweep.mount_latency, "More, where it provides a layer", "DURATION");
    leaf.add_option("--jitter", sweep.jitter, "Latencies are up to so many times longer")
        ->type_name("FACTOR")
        ->default_str("0.2");
    text("--bandwidth", sweep.bandwidth, "Bytes a second of the network; 0 is no limit", "RATE");
    text("--connection-bandwidth", sweep.connection_bandwidth, "Of one connection; 0 is no limit", "RATE");
    text("--unpack-rate", sweep.unpack_rate,
         "Compressed bytes a second that a core extracts; 0 takes no time", "RATE");
    leaf.add_option("--cores", sweep.cores, "Cores that extract")->type_name("NUMBER")->default_str("2");
    leaf.add_option("--hit-ratio", sweep.hit_ratio,
                    "Share of layers that the snapshotter provides, from 0 to 1")
        ->type_name("RATIO")
        ->default_str("0");
    text("--speaks", sweep.speaks, "Dialect of labels that it understands", "DIALECT");
    text("--fetch-limit", sweep.fetch_limit, "Downloads at once; 0 is no limit", "NUMBER");
    text("--unpack-limit", sweep.unpack_limit, "Layers that are extracted at once; 0 is no limit", "NUMBER");
    text("--chunk-size", sweep.chunk_size, "Parts of large layers; 0 is none", "SIZE");
    text("--policy", sweep.policy, "auto, sparse or eager", "POLICY");
    text("--dialect", sweep.dialect, "containerd, cri, stargz or 2019", "DIALECT");
    text("--record", sweep.record, "Write one pull down", "FILE");
    text("--replay", sweep.replay, "Repeat a recorded pull, and vary the knob of that one", "FILE");
    leaf.add_flag("--json", sweep.json, "One object instead of a table");
  }

 private:
  CLI::App& add_leaf(Action action, const char* name, const char* help) {
    auto* leaf = group_->add_subcommand(name, help);
    leaf->option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    leaf->parse_complete_callback([this_command = &command_, chosen = chosen_, action] {
      this_command->action = action;
      chosen();
    });
    return *leaf;
  }

  ExperimentCommand& command_;
  std::function<void()> chosen_;
  CLI::App* group_;
};

}  // namespace

void add_experiment_commands(CLI::App& app, ExperimentCommand& command, std::function<void()> chosen) {
  ExperimentGrammar grammar(app, command, std::move(chosen));
  grammar.add_run();
  grammar.add_report();
  grammar.add_sweep();
}

ExperimentOutput run_experiment_command(const ExperimentCommand& command) {
  if (command.action == Action::run) {
    const auto outcome = run_experiment(command.run);
    return {outcome.text, outcome.failed == 0 ? ExitCode::ok : ExitCode::failure};
  }
  if (command.action == Action::sweep) return {run_sweep_command(command.sweep), ExitCode::ok};
  return {run_report_command(command.report), ExitCode::ok};
}

}  // namespace lazypull::experiment
