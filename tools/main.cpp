#include "tools/agent/run_agent.hpp"
#include "tools/layers_publish.hpp"
#include "tools/layers_text.hpp"
#include "tools/options.hpp"
#include "tools/password.hpp"
#include "tools/prewarm_list.hpp"
#include "tools/prewarm_result.hpp"
#include "tools/progress_driver.hpp"
#include "tools/result_json.hpp"
#include "tools/result_text.hpp"
#include "tools/run_prewarm.hpp"
#include "tools/run_pull.hpp"
#include "tools/run_version.hpp"
#include "tools/stop_request.hpp"
#include "tools/store_directory.hpp"
#include "tools/text.hpp"
#include "tools/trace_session.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <malloc.h>
#include <unistd.h>

namespace lazypull {
namespace {

/// How a command failed, for people and for programs.
struct Failure {
  ExitCode exit = ExitCode::failure;
  std::string code;
  std::string message;
};

Failure stopped(ExitCode reason, const Options& options) {
  switch (reason) {
    case ExitCode::timed_out:
      return {reason, "timeout", "--timeout of " + format_duration(options.timeout) + " passed"};
    case ExitCode::terminated:
      return {reason, "terminated", "terminated"};
    default:
      return {reason, "interrupted", "interrupted"};
  }
}

/// The name of a kind of failure as programs like it: "not_found".
std::string code_name(Errc code) {
  std::string name(to_string(code));
  for (auto& c : name) c = c == ' ' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

Failure failed(const std::exception_ptr& thrown, FailureSource source) {
  const Error error = as_error(thrown);
  return {exit_code(error.code(), source), code_name(error.code()), error.message()};
}

void print_failure(const Failure& failure, OutputFormat output) {
  restore_cursor();
  if (output == OutputFormat::json) {
    std::fputs(error_json(failure.code, failure.message).c_str(), stdout);
    std::fflush(stdout);
  }
  std::fprintf(stderr, "lazypull: %s\n", printable(failure.message).c_str());
}

/// The result on standard output; it is a failure if it cannot be written.
ExitCode print(const std::string& text) {
  const bool written = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
  if (!written) std::fputs("lazypull: standard output cannot be written\n", stderr);
  return written ? ExitCode::ok : ExitCode::failure;
}

ExitCode print(const ParseExit& exit) {
  if (exit.code == ExitCode::ok) return print(exit.text);
  print_failure({exit.code, code_name(Errc::invalid_argument), exit.text}, exit.output);
  std::fputs("Run 'lazypull --help' for what is understood.\n", stderr);
  return exit.code;
}

/// Runs the root coroutine on the home thread, which is this one. Null if it succeeded.
std::optional<Failure> run_to_end(const Options& options, const FailureSource& source,
                                  const std::function<Awaitable<>()>& root) {
  asio::io_context home(1);
  StopRequest stop(home, options.timeout, [&](ExitCode reason) {
    // The clean-up did not come to its end in time; whatever is left over expires with the lease.
    const auto failure = stopped(reason, options);
    print_failure(failure, options.output);
    std::_Exit(static_cast<int>(failure.exit));
  });
  std::exception_ptr thrown;
  const auto ended = [&](std::exception_ptr failure) {
    thrown = std::move(failure);
    stop.disarm();
  };
  asio::co_spawn(home, root(), asio::bind_cancellation_slot(stop.slot(), ended));
  home.run();
  if (!thrown) return std::nullopt;
  if (stop.reason()) return stopped(*stop.reason(), options);
  return failed(thrown, source);
}

std::string pull_text(const Options& options, const PullReport& report) {
  if (options.output == OutputFormat::json) return result_json(report);
  std::string text;
  if (options.print_chain_id) text += chain_id_lines(report, !options.quiet);
  if (options.command == Command::plan) return plan_table(report) + text;
  if (!options.quiet) text += summary(report, options.command == Command::fetch ? "fetched" : "pulled");
  return text;
}

/// The user of --user, with a password; it may be asked for.
std::optional<Failure> read_user(const Options& options, std::optional<Credentials>& user) {
  if (!options.user) return std::nullopt;
  try {
    auto [name, password] = complete_credentials(*options.user);
    user.emplace();
    user->username = std::move(name);
    user->password = std::move(password);
    return std::nullopt;
  } catch (const Error& error) {
    const bool interrupted = error.code() == Errc::cancelled;
    return interrupted ? stopped(ExitCode::interrupted, options)
                       : failed(std::current_exception(), FailureSource::other);
  }
}

ExitCode do_pull(Options options) {
  TraceSession trace(options);
  PullRun run;
  std::optional<Credentials> user;
  auto failure = read_user(options, user);
  if (!failure) {
    failure = run_to_end(options, run.failure_source,
                         [&] { return trace.record(run_pull(options, std::move(user), run)); });
  }
  if (!failure) return print(pull_text(options, run.report));
  print_failure(*failure, options.output);
  return failure->exit;
}

int do_prewarm(Options options) {
  TraceSession trace(options);
  std::optional<Credentials> user;
  auto failure = read_user(options, user);
  std::optional<PrewarmResult> result;
  FailureSource source = FailureSource::other;
  if (!failure) {
    try {
      result.emplace(
          read_prewarm_lists(options.prewarm.files, options.prewarm.images, options.prewarm.format));
      failure = run_to_end(options, source, [&] {
        return trace.record(run_prewarm(options, std::move(user), *result, source));
      });
    } catch (const Error&) {
      failure = failed(std::current_exception(), source);
    }
  }
  if (failure) {
    print_failure(*failure, options.output);
    return static_cast<int>(failure->exit);
  }
  ExitCode printed = ExitCode::ok;
  if (options.output == OutputFormat::json) {
    printed = print(prewarm_json(*result));
  } else if (!options.quiet) {
    printed = print(prewarm_text(*result));
  }
  const int code = prewarm_exit_code(*result);
  return code == 0 ? static_cast<int>(printed) : code;
}

ExitCode do_version(const Options& options) {
  std::optional<ServerVersion> server;
  const FailureSource source = FailureSource::set_up;
  const auto failure = run_to_end(options, source, [&] { return run_version(options, server); });
  if (!failure) return print(version_text(options, server));
  if (options.output == OutputFormat::text) print(version_text(options, server));
  print_failure(*failure, options.output);
  return failure->exit;
}

ExitCode do_serve(const Options& options) {
  const FailureSource source = FailureSource::other;
  const auto failure = run_to_end(options, source, [&] { return run_registry_command(options.registry); });
  // It serves until it is told to stop, so that is no failure.
  if (!failure || failure->exit == ExitCode::interrupted || failure->exit == ExitCode::terminated) {
    return ExitCode::ok;
  }
  print_failure(*failure, options.output);
  return failure->exit;
}

ExitCode do_snapshotter(const Options& options) {
  try {
    run_snapshotter_command(options.snapshotter_command);
    return ExitCode::ok;
  } catch (const std::exception&) {
    const auto failure = failed(std::current_exception(), FailureSource::other);
    print_failure(failure, OutputFormat::text);
    return failure.exit;
  }
}

ExitCode do_agent(const Options& options) {
  try {
    const auto config = agent_config(options.agent_command);
    if (!options.agent_command.check) run_agent(config);
    return ExitCode::ok;
  } catch (const std::exception&) {
    const auto failure = failed(std::current_exception(), FailureSource::other);
    print_failure(failure, OutputFormat::text);
    return failure.exit;
  }
}

ExitCode do_health(const Options& options) {
  try {
    run_health_command(options.health_command);
    return ExitCode::ok;
  } catch (const Error&) {
    const auto failure = failed(std::current_exception(), FailureSource::other);
    print_failure(failure, OutputFormat::text);
    return failure.exit;
  }
}

ExitCode do_store(const Options& options) {
  const auto& command = options.store_command;
  try {
    const auto environment = process_environment();
    // These are the store's commands, so containerd, which has `ctr`, is not looked for.
    const auto directory =
        options.store.empty() ? default_store_directory(::geteuid() == 0, environment) : options.store;
    const auto store = EmbeddedStore::open(directory, options.containerd_namespace);
    return print(run_store_command(command, *store, STDOUT_FILENO));
  } catch (const Error& error) {
    const Failure failure{store_exit_code(error.code()), code_name(error.code()), error.message()};
    print_failure(failure, command.json ? OutputFormat::json : OutputFormat::text);
    return failure.exit;
  }
}

ExitCode do_trace(const Options& options) {
  try {
    return print(run_trace_command(options.trace_command, STDOUT_FILENO, process_environment()));
  } catch (const Error& error) {
    const Failure failure{store_exit_code(error.code()), code_name(error.code()), error.message()};
    print_failure(failure, OutputFormat::text);
    return failure.exit;
  }
}

ExitCode do_publish(const Options& options) {
  PublishRun run;
  if (options.output == OutputFormat::text) {
    run.tell = [](const PublishedLayer& layer) { print(published_text(layer)); };
  }
  auto failure = run_to_end(options, run.failure_source, [&] { return run_layers_publish(options, run); });
  if (!failure)
    return options.output == OutputFormat::json ? print(publish_json(options, run)) : ExitCode::ok;
  // What is asked of a store of images ends as the commands of the embedded one do.
  const bool failed_itself =
      run.failure && *run.failure != Errc::cancelled && failure->exit != ExitCode::timed_out;
  if (failed_itself && run.failure_source == FailureSource::other)
    failure->exit = store_exit_code(*run.failure);
  print_failure(*failure, options.output);
  return failure->exit;
}

ExitCode do_layers(const Options& options) {
  if (options.layers_command.action == LayersAction::publish) return do_publish(options);
  try {
    const auto output = run_layers_command(options.layers_command);
    const auto printed = print(output.text);
    return printed == ExitCode::ok ? output.exit : printed;
  } catch (const Error& error) {
    const Failure failure{store_exit_code(error.code()), code_name(error.code()), error.message()};
    print_failure(failure, options.output);
    return failure.exit;
  }
}

ExitCode do_experiment(const Options& options) {
  try {
    const auto output = experiment::run_experiment_command(options.experiment_command);
    const auto printed = print(output.text);
    return printed == ExitCode::ok ? output.exit : printed;
  } catch (const Error& error) {
    const auto code = error.code() == Errc::cancelled ? ExitCode::interrupted : store_exit_code(error.code());
    print_failure({code, code_name(error.code()), error.message()}, OutputFormat::text);
    return code;
  }
}

ExitCode run(const Options& options) {
  switch (options.command) {
    case Command::experiment:
      return do_experiment(options);
    case Command::version:
      return do_version(options);
    case Command::registry:
      return do_serve(options);
    case Command::snapshotter:
      return do_snapshotter(options);
    case Command::agent:
      return do_agent(options);
    case Command::health:
      return do_health(options);
    case Command::layers:
      return do_layers(options);
    case Command::store:
      return do_store(options);
    case Command::trace:
      return do_trace(options);
    default:
      return do_pull(options);
  }
}

/// What the process ends with: an ExitCode, or what prewarm_exit_code makes of it.
int run(const std::vector<std::string>& arguments) {
  const auto parsed = parse_command_line(arguments, process_environment());
  if (const auto* exit = std::get_if<ParseExit>(&parsed)) return static_cast<int>(print(*exit));
  const auto& options = std::get<Options>(parsed);
  if (options.command == Command::prewarm) return do_prewarm(options);
  return static_cast<int>(run(options));
}

/// What is freed is kept for what is made next. To give buffers back and have them again, with a page fault
/// for each page, was a third of the CPU time of a pull of many small layers.
void keep_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 16 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 64 << 20);
  ::mallopt(M_TOP_PAD, 1 << 20);
}

}  // namespace
}  // namespace lazypull

int main(int argc, char** argv) {
  // A reader that has gone away is a failed write, not the end of a pull in the middle; so is a file that may
  // not grow any more (RLIMIT_FSIZE).
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  lazypull::keep_freed_memory();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    return lazypull::run(arguments);
  } catch (const std::exception& failure) {
    // What a command cannot even begin with, such as no descriptor left.
    std::fprintf(stderr, "lazypull: %s\n", failure.what());
    return static_cast<int>(lazypull::ExitCode::failure);
  }
}
