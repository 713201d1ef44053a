#include "tools/experiment/run.hpp"

#include "engine/error.hpp"
#include "tools/experiment/child.hpp"
#include "tools/experiment/container.hpp"
#include "tools/experiment/machine.hpp"
#include "tools/experiment/matrix.hpp"
#include "tools/experiment/node.hpp"
#include "tools/experiment/pulling.hpp"
#include "tools/experiment/registry.hpp"
#include "tools/experiment/results.hpp"
#include "tools/experiment/workshop.hpp"
#include "tools/text.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace lazypull::experiment {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

double milliseconds_between(Time from, Time to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

std::string now_text() {
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// Runs a coroutine to its end on a loop of its own; a stop request cancels it.
template <class T>
T run_coroutine(Awaitable<T> coroutine, asio::io_context& home) {
  asio::cancellation_signal cancel;
  std::optional<T> value;
  std::exception_ptr failure;
  bool ended = false;
  const auto end = [&](std::exception_ptr thrown, T result) {
    failure = std::move(thrown);
    if (!failure) value.emplace(std::move(result));
    ended = true;
  };
  asio::co_spawn(home, std::move(coroutine), asio::bind_cancellation_slot(cancel.slot(), end));
  std::exception_ptr stop;
  while (!ended) {  // NOLINT(bugprone-infinite-loop): the coroutine's end sets it
    home.run_for(milliseconds(100));
    if (stop) continue;
    try {
      check_stop();
    } catch (...) {
      stop = std::current_exception();
      cancel.emit(asio::cancellation_type::terminal);
    }
  }
  if (stop) std::rethrow_exception(stop);
  if (failure) std::rethrow_exception(failure);
  return std::move(*value);
}

/// Whether the kernel let go of what it has cached.
bool drop_caches() {
  ::sync();
  std::ofstream control("/proc/sys/vm/drop_caches");
  control << "3\n";
  control.close();
  return !control.fail();
}

std::string default_results(const std::string& spec) {
  return fs::path(spec).replace_extension(".jsonl").string();
}

std::string own_program() {
  std::error_code failure;
  const auto path = fs::read_symlink("/proc/self/exe", failure);
  return failure ? "lazypull" : path.string();
}

/// Everything that lasts from the first run to the last.
class Experiment {
 public:
  Experiment(const Spec& spec, const RunCommand& command)
      : spec_(spec),
        command_(command),
        work_(spec.work),
        environment_(describe_environment(spec.programs, work_.path())),
        prepared_(prepare_images(spec, work_.path())),
        registry_(spec.programs, prepared_.layouts(), spec.networks, work_.path()) {}

  Row run(const Coordinates& at, std::size_t order) {
    Row row;
    row.at = at;
    row.experiment = spec_.name;
    row.order = order;
    row.started = now_text();
    row.environment = environment_;
    try {
      measure(row);
    } catch (const Error& error) {
      if (error.code() == Errc::cancelled) throw;
      row.error = printable(error.message());
      row.times.clear();
      row.phases.clear();
      row.amounts.clear();
      row.spans.clear();
    }
    return row;
  }

 private:
  const ImageSpec& image_of(const Coordinates& at) const {
    for (const auto& image : spec_.images) {
      if (image.name == at.image) return image;
    }
    throw Error(Errc::internal, "there is no image " + at.image);
  }
  static SnapshotterKind snapshotter_of(const Coordinates& at) {
    for (const auto kind : {SnapshotterKind::overlayfs, SnapshotterKind::native, SnapshotterKind::stargz,
                            SnapshotterKind::lazypull}) {
      if (to_string(kind) == at.snapshotter) return kind;
    }
    throw Error(Errc::internal, "there is no snapshotter " + at.snapshotter);
  }

  ChildEnd pull(const Coordinates& at, const Node& node, const ServedImage& image, bool traced) const {
    const auto reference = registry_.reference(at.network, image);
    const auto trace = traced ? node.folder() / "trace.json" : fs::path();
    return run_to_end(pull_command(spec_.programs, at, node.address(), reference, trace),
                      node.folder() / "pull.out", node.folder() / "pull.err", spec_.pull_timeout);
  }

  /// Brings what is to be there already.
  void warm_up(const Coordinates& at, const Node& node, const ImageForms& forms) const {
    if (at.cache == "base-warm") pull(at, node, forms.base(at.snapshotter), false);
    if (at.cache == "all-warm") pull(at, node, forms.whole(at.snapshotter), false);
  }

  void measure(Row& row) {
    const auto& at = row.at;
    const auto& forms = prepared_.images.at(at.image);
    const auto& image = forms.whole(at.snapshotter);
    Node node({spec_.programs, work_.path() / "node", snapshotter_of(at), prepared_.layer_storage});
    warm_up(at, node, forms);
    const bool dropped = !command_.keep_caches && drop_caches();
    row.environment["conditions"].as_object()["caches_dropped"] = dropped ? "yes" : "no";

    const auto log_start = registry_.position();
    const auto daemons_before = node.daemons();
    const auto start = std::chrono::steady_clock::now();
    const auto puller = pull(at, node, image, at.puller == "lazypull");
    const auto pulled = std::chrono::steady_clock::now();
    row.times = {{"pull", milliseconds_between(start, pulled)}};
    add_pull_phases(row, node);

    auto log_ready = registry_.position();
    if (image_of(at).start) {
      const auto times = start_container_of(at, node, image, log_ready);
      add_container(row, times, start, pulled);
    }
    const auto daemons = node.daemons();
    const auto before = registry_.between(log_start, log_ready);
    const auto after = registry_.since(log_ready);
    row.amounts.insert(row.amounts.begin(),
                       {{"bytes_before_ready", static_cast<double>(before.bytes)},
                        {"bytes_after_ready", static_cast<double>(after.bytes)},
                        {"requests", static_cast<double>(before.requests + after.requests)},
                        {"cpu_puller", puller.usage.cpu_seconds},
                        {"cpu_daemons", std::max(0.0, daemons.cpu_seconds - daemons_before.cpu_seconds)},
                        {"memory_daemons", static_cast<double>(daemons.peak_memory)}});
    if (puller.usage.peak_memory != 0) {
      row.amounts.emplace_back("memory_puller", static_cast<double>(puller.usage.peak_memory));
    }
    node.check();
  }

  /// The phases that the puller tells of, and the rest of its time as that of the client itself.
  static void add_pull_phases(Row& row, const Node& node) {
    const double pull = row.times.front().second;
    if (row.at.puller != "lazypull") {
      row.phases = {{"pull", pull}};
      return;
    }
    auto details = parse_pull_result(read_text(node.folder() / "pull.out"));
    double told = 0;
    for (const auto& [name, length] : details.phases) told += length;
    row.phases = {{"client", std::max(0.0, pull - told)}};
    row.phases.insert(row.phases.end(), details.phases.begin(), details.phases.end());
    row.spans = spans_of(read_trace(node.folder() / "trace.json"));
  }

  ContainerTimes start_container_of(const Coordinates& at, const Node& node, const ServedImage& image,
                                    std::uint64_t& log_ready) {
    ContainerRequest request;
    request.id = "lazypull-experiment-" + std::to_string(::getpid()) + "-" + std::to_string(++containers_);
    request.reference = registry_.reference(at.network, image);
    request.snapshotter = at.snapshotter;
    request.image = image;
    request.spec = image_of(at);
    request.folder = node.folder();
    request.at_ready = [&] { log_ready = registry_.position(); };
    ContainerdOptions options;
    options.address = node.address();
    asio::io_context home(1);
    auto client = ContainerdClient::open(options);
    return run_coroutine(start_container(std::move(client), std::move(request)), home);
  }

  static void add_container(Row& row, const ContainerTimes& times, Time start, Time pulled) {
    row.times.emplace_back("started", milliseconds_between(start, times.started));
    row.phases.emplace_back("create and start", milliseconds_between(pulled, times.started));
    auto last = times.started;
    // A line may be read before containerd has said that the process runs.
    const auto phase = [&](const char* name, Time end) {
      row.phases.emplace_back(name, std::max(0.0, milliseconds_between(last, end)));
      last = std::max(last, end);
    };
    if (times.first_line) {
      row.times.emplace_back("first_line", milliseconds_between(start, *times.first_line));
      if (*times.first_line <= times.ready) phase("to the first line", *times.first_line);
    }
    row.times.emplace_back("ready", milliseconds_between(start, times.ready));
    phase("to readiness", times.ready);
    if (!times.usage) return;
    row.amounts.emplace_back("cpu_container", times.usage->cpu_seconds);
    row.amounts.emplace_back("memory_container", static_cast<double>(times.usage->peak_memory));
    row.environment["conditions"].as_object()["container_usage"] = times.usage->source;
  }

  const Spec& spec_;
  const RunCommand& command_;
  WorkFolder work_;
  boost::json::object environment_;
  Prepared prepared_;
  ExperimentRegistry registry_;
  int containers_ = 0;
};

void tell(const RunCommand& command, const std::string& line) {
  if (!command.quiet) std::fputs((line + "\n").c_str(), stderr);
}

std::string outcome_of(const Row& row) {
  if (!row.ok()) return "failed: " + row.error;
  const auto figure = [&](const char* name) {
    const auto value = row.metric(name);
    char text[64] = "";
    if (value) std::snprintf(text, sizeof text, "%s %.3f s  ", name, *value / 1000);
    return std::string(text);
  };
  return figure("pull") + figure("ready");
}

std::string plan_text(const std::vector<Coordinates>& runs) {
  std::string text;
  for (const auto& run : runs) text += run.id() + "\n";
  return text;
}

}  // namespace

RunOutcome run_experiment(const RunCommand& command) {
  auto spec = read_spec(command.spec);
  if (spec.programs.lazypull.empty()) spec.programs.lazypull = own_program();
  const auto runs = plan_runs(spec);
  if (command.dry_run) return {plan_text(runs), 0};
  if (::geteuid() != 0) {
    throw Error(Errc::permission_denied, "experiment run: containerd and its mounts need root");
  }
  const bool needs_stargz =
      std::ranges::find(spec.snapshotters, SnapshotterKind::stargz) != spec.snapshotters.end();
  if (needs_stargz && spec.programs.stargz.empty()) {
    throw Error(Errc::invalid_argument, command.spec + ": programs.stargz is missing");
  }
  const auto file = command.results.empty() ? default_results(command.spec) : command.results;
  ResultsFile results(file, spec.name);
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (!results.has(runs[i])) left.push_back(i);
  }
  const auto done = std::to_string(runs.size() - left.size()) + " of " + std::to_string(runs.size());
  tell(command, spec.name + ": " + done + " runs are in " + file);
  RunOutcome outcome;
  if (!left.empty()) {
    watch_for_stop();
    Experiment experiment(spec, command);
    for (const auto index : left) {
      const auto row = experiment.run(runs[index], index);
      results.append(row);
      outcome.failed += row.ok() ? 0 : 1;
      tell(command, "[" + std::to_string(index + 1) + "/" + std::to_string(runs.size()) + "] " +
                        runs[index].id() + "  " + outcome_of(row));
    }
  }
  outcome.text = std::to_string(left.size()) + " runs made, " + std::to_string(outcome.failed) + " failed; " +
                 std::to_string(results.rows()) + " rows in " + file + "\n";
  return outcome;
}

}  // namespace lazypull::experiment
