#include "tools/run_pull.hpp"

#include "engine/deadline.hpp"
#include "engine/puller.hpp"
#include "tools/connect.hpp"
#include "tools/debug_log.hpp"
#include "tools/observed_registry.hpp"
#include "tools/progress_driver.hpp"
#include "transport/registry_client.hpp"

#include <exception>

namespace lazypull {
namespace {

RegistryOptions registry_options(const Options& options, std::optional<Credentials> user) {
  RegistryOptions registry;
  registry.plain_http = options.plain_http;
  registry.http.tls.skip_verify = options.skip_verify;
  registry.http.tls.ca_file = options.tls_ca;
  registry.http.tls.cert_file = options.tls_cert;
  registry.http.tls.key_file = options.tls_key;
  registry.http.user_agent = "lazypull/" LAZYPULL_VERSION;
  if (options.debug) registry.http.log = debug_request;
  registry.user = std::move(user);
  registry.credentials =
      std::make_shared<DockerConfigCredentials>(docker_config_paths(process_environment()));
  return registry;
}

ProgressMode progress_mode(const Options& options) {
  const auto mode = resolve_progress_mode(options.progress, options.output);
  // The lines would only say what the plan says right after.
  return options.command == Command::plan && mode == ProgressMode::plain ? ProgressMode::none : mode;
}

Awaitable<> run_engine(const Options& options, PullPorts ports, bool local_snapshotter, PullReport& report) {
  auto settings = pull_options(options, local_snapshotter);
  if (options.command == Command::plan) {
    co_await plan_image(ports, options.reference, std::move(settings), report);
  } else {
    co_await pull_image(ports, options.reference, std::move(settings), report);
  }
}

}  // namespace

Awaitable<> run_pull(const Options& options, std::optional<Credentials> user, PullRun& run) {
  const auto home = co_await asio::this_coro::executor;
  RegistryClient client(home, registry_options(options, std::move(user)));
  ObservedRegistry registry(client, client);

  run.failure_source = FailureSource::set_up;
  const auto backend = co_await connect(options);
  run.failure_source = FailureSource::other;
  DebugLeases debug_leases(*backend.leases);
  LeaseManager& leases = options.debug ? static_cast<LeaseManager&>(debug_leases) : *backend.leases;

  const ProgressDriver progress(home, run.report, progress_mode(options));
  std::exception_ptr failure;
  try {
    co_await run_engine(options, PullPorts{registry, registry, leases}, backend.local_snapshotter,
                        run.report);
    co_return;
  } catch (...) {
    failure = std::current_exception();
  }
  if (registry.last_failure() == as_error(failure).code()) run.failure_source = FailureSource::registry;
  std::rethrow_exception(failure);
}

}  // namespace lazypull
