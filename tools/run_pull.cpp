#include "tools/run_pull.hpp"

#include "engine/deadline.hpp"
#include "engine/puller.hpp"
#include "engine/retry_budget.hpp"
#include "tools/connect.hpp"
#include "tools/debug_log.hpp"
#include "tools/observed_registry.hpp"
#include "tools/progress_driver.hpp"
#include "transport/hosts_directory.hpp"
#include "transport/registry_client.hpp"

#include <exception>
#include <filesystem>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

std::vector<std::string> hosts_directories(const Options& options) {
  if (options.hosts_dir.empty()) return default_hosts_directories(process_environment(), ::geteuid() == 0);
  if (!std::filesystem::is_directory(options.hosts_dir)) {
    throw Error(Errc::invalid_argument, "--hosts-dir " + options.hosts_dir + ": there is no such directory");
  }
  return {options.hosts_dir};
}

std::chrono::milliseconds or_never(std::chrono::nanoseconds limit) {
  if (limit.count() == 0) return std::chrono::hours(24 * 365);
  return std::chrono::ceil<std::chrono::milliseconds>(limit);
}

}  // namespace

RegistryOptions registry_options(const Options& options, std::optional<Credentials> user) {
  RegistryOptions registry;
  registry.plain_http = options.plain_http;
  registry.http.tls.skip_verify = options.skip_verify;
  if (!options.tls_ca.empty()) registry.http.tls.ca_files = {options.tls_ca};
  if (!options.tls_cert.empty()) registry.http.tls.clients = {{options.tls_cert, options.tls_key}};
  registry.http.user_agent = "lazypull/" LAZYPULL_VERSION;
  registry.http.proxies = ProxyRules::from_environment(process_environment());
  registry.http.max_connections_per_host = options.max_connections_per_host;
  registry.http.limit_rate = options.limit_rate;
  registry.http.progress_timeout = or_never(options.progress_timeout);
  registry.http.mirror_timeout = or_never(options.mirror_timeout);
  registry.http.min_speed = options.min_speed;
  registry.hosts_directories = hosts_directories(options);
  registry.range_bytes = options.concurrent_layer_fetch_buffer;
  if (options.debug) registry.http.log = debug_request;
  registry.tracer = options.trace.tracer;
  registry.user = std::move(user);
  registry.credentials =
      std::make_shared<DockerConfigCredentials>(docker_config_paths(process_environment()));
  return registry;
}

namespace {

ProgressMode progress_mode(const Options& options) {
  const auto mode = resolve_progress_mode(options.progress, options.output);
  // The lines would only say what the plan says right after.
  return options.command == Command::plan && mode == ProgressMode::plain ? ProgressMode::none : mode;
}

Awaitable<> run_engine(const Options& options, PullPorts ports, bool local_snapshotter,
                       std::shared_ptr<RetryBudget> retries, PullReport& report) {
  auto settings = pull_options(options, local_snapshotter);
  settings.retries = std::move(retries);
  if (options.command == Command::plan) {
    co_await plan_image(ports, options.reference, std::move(settings), report);
  } else {
    co_await pull_image(ports, options.reference, std::move(settings), report);
  }
}

}  // namespace

Awaitable<> run_pull(const Options& options, std::optional<Credentials> user, PullRun& run) {
  const auto home = co_await asio::this_coro::executor;
  Span setting_up(options.trace, "set up", "command");
  const auto retries = std::make_shared<RetryBudget>(options.retry_budget);
  auto client = RegistryClient(home, registry_options(options, std::move(user))).with_budget(retries);
  ObservedRegistry registry(client, client);

  run.failure_source = FailureSource::set_up;
  const auto backend = co_await connect(options);
  run.failure_source = FailureSource::other;
  setting_up.end();
  DebugLeases debug_leases(*backend.leases);
  LeaseManager& leases = options.debug ? static_cast<LeaseManager&>(debug_leases) : *backend.leases;

  const ProgressDriver progress(home, run.report, progress_mode(options));
  std::exception_ptr failure;
  try {
    co_await run_engine(options, PullPorts{registry, registry, leases}, backend.local_snapshotter, retries,
                        run.report);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  if (registry.last_failure() == as_error(failure).code()) run.failure_source = FailureSource::registry;
  std::rethrow_exception(failure);
}

}  // namespace lazypull
