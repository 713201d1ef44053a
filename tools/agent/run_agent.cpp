#include "tools/agent/run_agent.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/offload.hpp"
#include "engine/task_group.hpp"
#include "tools/agent/agent_puller.hpp"
#include "tools/agent/agent_server.hpp"
#include "tools/agent/agent_service.hpp"
#include "tools/agent/agent_socket.hpp"
#include "tools/agent/agent_status.hpp"
#include "tools/agent/cri_service.hpp"
#include "tools/agent/file_watch.hpp"
#include "tools/agent/service_manager.hpp"
#include "tools/run_pull.hpp"
#include "transport/hosts_directory.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace lazypull {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds stop_patience{5};       // for calls that are no pulls
constexpr std::chrono::milliseconds watch_quiet{300};  // editors and mounts change files in several steps
constexpr std::chrono::milliseconds connect_pause{250};

/// The settings of one registry client, as of the other commands.
RegistryOptions registry_options_of(const AgentConfig& config, RequestLogger log, Tracer& tracer) {
  Options options;
  options.plain_http = config.registry.plain_http;
  options.skip_verify = config.registry.skip_verify;
  options.hosts_dir = config.registry.hosts_dir;
  options.concurrent_layer_fetch_buffer = config.registry.concurrent_layer_fetch_buffer;
  options.max_connections_per_host = config.registry.max_connections_per_host;
  options.progress_timeout = config.registry.progress_timeout;
  options.mirror_timeout = config.registry.mirror_timeout;
  options.trace = tracer.root();
  auto registry = registry_options(options, std::nullopt);
  registry.http.log = std::move(log);
  if (const auto& file = config.registry.docker_config; !file.empty()) {
    registry.credentials = std::make_shared<DockerConfigCredentials>(std::vector<std::string>{file});
  }
  return registry;
}

FileWatch make_watch(const asio::any_io_executor& home, const AgentConfig& config) {
  const auto environment = process_environment();
  std::vector<fs::path> folders{config.registry.hosts_dir};
  if (config.registry.hosts_dir.empty()) {
    const auto usual = default_hosts_directories(environment, ::geteuid() == 0);
    folders.assign(usual.begin(), usual.end());
  }
  std::vector<fs::path> files{config.registry.docker_config};
  if (config.registry.docker_config.empty()) {
    const auto usual = docker_config_paths(environment);
    files.assign(usual.begin(), usual.end());
  }
  return {home, std::move(folders), std::move(files)};
}

AgentPullLimits pull_limits(const AgentConfig& config) {
  AgentPullLimits limits;
  limits.shared.downloads.total = config.limits.max_concurrent_downloads;
  limits.shared.downloads.per_registry = config.limits.max_concurrent_downloads_per_registry;
  limits.shared.unpacks = config.limits.max_concurrent_unpacks;
  limits.serving = config.limits.max_concurrent_pulls;
  limits.prewarm = config.limits.max_concurrent_prewarms;
  return limits;
}

/// Where the snapshotter keeps its files, as containerd's CRI plugin tells it to a kubelet.
std::string mountpoint(const SnapshotterInfo& snapshotter, const AgentConfig& config) {
  if (!snapshotter.root.empty()) return snapshotter.root;
  if (snapshotter.is_proxy()) return fs::path(snapshotter.address).parent_path().string();
  return "/var/lib/containerd/io.containerd.snapshotter.v1." + config.containerd.snapshotter;
}

AgentSocket open_socket(const AgentConfig& config) {
  auto inherited = AgentSocket::inherited(process_environment());
  // A program that this one runs, such as a credential helper, is not meant by them.
  for (const auto* name : {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}) ::unsetenv(name);
  if (inherited) return std::move(*inherited);
  return AgentSocket::listen(config.socket);
}

class Agent {
 public:
  Agent(asio::io_context& context, const AgentConfig& config, AgentLog& log)
      : home_(context.get_executor()),
        config_(config),
        log_(log),
        manager_(process_environment()("NOTIFY_SOCKET").value_or("")),
        stop_signals_(context, SIGTERM, SIGINT),
        hang_up_(context, SIGHUP),
        stop_(home_),
        hurry_(home_) {}

  Awaitable<> run();

 private:
  Awaitable<std::unique_ptr<ContainerdBackend>> connect();
  Awaitable<std::unique_ptr<ContainerdBackend>> connect_patiently();
  Awaitable<> serve(AgentSocket& socket, ContainerdBackend& backend);
  Awaitable<> accept_all(AgentSocket& socket, AgentServer& server);
  Awaitable<> await_signals();
  Awaitable<> await_hang_ups();
  Awaitable<> work();
  Awaitable<> drain(AgentPulls& pulls, Event& drained);
  Awaitable<> drop_when_hurried(TaskGroup::Handle task);
  Awaitable<> drain_until_hurried(TaskGroup& group, AgentPulls& pulls);
  void reload(const char* why);

  asio::any_io_executor home_;
  const AgentConfig& config_;
  AgentLog& log_;
  ServiceManager manager_;
  asio::signal_set stop_signals_;
  asio::signal_set hang_up_;
  Event stop_;
  Event hurry_;
  Tracer tracer_{TraceMode::live};
  BlockingPool pool_{1};
  AgentRegistries* registries_ = nullptr;
};

Awaitable<std::unique_ptr<ContainerdBackend>> Agent::connect() {
  ContainerdOptions options;
  options.address = config_.containerd.address;
  options.name_space = config_.containerd.name_space;
  return ContainerdBackend::connect(std::move(options), config_.containerd.snapshotter,
                                    config_.containerd.unpack);
}

/// At a node's start containerd may come later. Null if the agent is told to stop meanwhile.
Awaitable<std::unique_ptr<ContainerdBackend>> Agent::connect_patiently() {
  const auto end = std::chrono::steady_clock::now() + config_.containerd.connect_timeout;
  bool told = false;
  while (!stop_.happened()) {
    std::exception_ptr failure;
    try {
      auto backend = co_await connect();
      co_return backend;
    } catch (...) {
      failure = std::current_exception();
    }
    const auto error = as_error(failure);
    if (error.code() != Errc::unavailable || std::chrono::steady_clock::now() + connect_pause > end)
      throw error;
    if (!told) log_.info("waiting for containerd", {{"address", config_.containerd.address}});
    told = true;
    asio::steady_timer timer(home_, connect_pause);
    co_await timer.async_wait(asio::use_awaitable);
  }
  co_return nullptr;
}

void Agent::reload(const char* why) {
  manager_.reloading();
  if (registries_ != nullptr) registries_->reload();
  log_.info("credentials and hosts are read anew", {{"because", std::string(why)}});
  manager_.ready("serving");
}

Awaitable<> Agent::await_signals() {
  co_await stop_signals_.async_wait(asio::use_awaitable);
  stop_.set();
  co_await stop_signals_.async_wait(asio::use_awaitable);
  hurry_.set();
}

Awaitable<> Agent::await_hang_ups() {
  for (;;) {
    co_await hang_up_.async_wait(asio::use_awaitable);
    reload("SIGHUP");
  }
}

Awaitable<> Agent::accept_all(AgentSocket& socket, AgentServer& server) {
  const int copy = ::fcntl(socket.fd(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw Error(Errc::unavailable, "accept: no file descriptor is left");
  asio::posix::stream_descriptor listener(home_, copy);
  for (;;) {
    co_await listener.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    bool pause = false;
    for (;;) {
      std::optional<::uid_t> refused;
      UniqueFd connection;
      try {
        connection = accept_connection(socket.fd(), refused);
      } catch (const Error& error) {
        log_.warning("a connection has to wait", {{"error", error.message()}});
        pause = true;
      }
      if (refused) log_.warning("a connection is refused", {{"uid", std::uint64_t{*refused}}});
      if (!connection) break;
      server.adopt(std::move(connection));
    }
    if (!pause) continue;
    asio::steady_timer timer(home_, std::chrono::milliseconds(200));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

Awaitable<> Agent::drain(AgentPulls& pulls, Event& drained) {
  struct Tell {
    Event& event;
    ~Tell() { event.set(); }
  };
  const Tell tell{drained};
  co_await pulls.drain(config_.drain_timeout);
}

Awaitable<> Agent::drop_when_hurried(TaskGroup::Handle task) {
  co_await hurry_.wait();
  task.drop();
}

Awaitable<> Agent::drain_until_hurried(TaskGroup& group, AgentPulls& pulls) {
  Event drained(home_);
  auto draining = group.spawn(drain(pulls, drained));
  auto hurrying = group.spawn(drop_when_hurried(draining));
  co_await drained.wait();
  hurrying.drop();
}

Awaitable<> Agent::serve(AgentSocket& socket, ContainerdBackend& backend) {
  AgentStatus status(home_, config_, tracer_, log_, LAZYPULL_VERSION);
  AgentRegistries registries(home_,
                             [&] { return registry_options_of(config_, status.request_logger(), tracer_); });
  registries.client(std::nullopt);  // so that settings which cannot work are known now
  CriImages images(backend.client(), config_.pinned_images);
  AgentPuller puller({config_, backend, registries, images, log_, tracer_.root()});
  RunAgentPull pull_one = [&puller](const AgentPullRequest& request, const std::string& snapshotter,
                                    PullShared& shared, PullReport& report) {
    return puller.pull(request, snapshotter, shared, report);
  };
  AgentPulls pulls(home_, pull_limits(config_), config_.containerd.snapshotter, std::move(pull_one));
  pulls.shared().bandwidth().set_rate(PullClass::serving, config_.limits.serving_rate);
  pulls.shared().bandwidth().set_rate(PullClass::prewarm, config_.limits.prewarm_rate);
  status.watch(pulls, registries);
  registries_ = &registries;
  CriFilesystemUsage filesystem(backend.client(), config_.containerd.snapshotter,
                                mountpoint(backend.snapshotter_info(), config_));
  CriService cri(home_, {pulls, images, filesystem, config_.containerd.runtime_snapshotters});
  AgentServiceParts parts{.pulls = pulls,
                          .tracer = tracer_,
                          .version = LAZYPULL_VERSION,
                          .prewarm_images = config_.limits.max_concurrent_prewarms,
                          .reload = [this] { reload("a client's request"); }};
  AgentService own(home_, std::move(parts));
  AgentServer server({&cri, &own});
  FileWatch watch = make_watch(home_, config_);

  std::exception_ptr failure;
  try {
    co_await with_task_group([&](TaskGroup& group) -> Awaitable<> {
      std::vector<TaskGroup::Handle> background;
      background.push_back(group.spawn(await_hang_ups()));
      background.push_back(group.spawn(accept_all(socket, server)));
      background.push_back(group.spawn(status.serve()));
      background.push_back(group.spawn(watch.run([this] { reload("files have changed"); }, watch_quiet)));
      log_.info("serving", {{"socket", socket.path().string()}});
      manager_.ready("serving");
      co_await stop_.wait();
      log_.info("stopping", {{"pulls", std::uint64_t{pulls.running().size()}}});
      manager_.stopping();
      server.set_healthy(false);
      co_await drain_until_hurried(group, pulls);
      for (auto& task : background) task.drop();
    });
  } catch (...) {
    failure = std::current_exception();
  }
  // Calls refer to all of the above.
  co_await asio::this_coro::throw_if_cancelled(false);
  pulls.stop_taking();
  co_await server.stop(pool_, failure ? std::chrono::milliseconds(0) : stop_patience);
  co_await pulls.drain(std::chrono::milliseconds(0));
  registries_ = nullptr;
  if (failure) std::rethrow_exception(failure);
}

Awaitable<> Agent::work() {
  auto socket = open_socket(config_);
  const auto backend = co_await connect_patiently();
  if (backend) co_await serve(socket, *backend);
}

Awaitable<> Agent::run() {
  co_await with_task_group([this](TaskGroup& group) -> Awaitable<> {
    auto signals = group.spawn(await_signals());
    co_await work();
    signals.drop();
  });
}

}  // namespace

void run_agent(const AgentConfig& config) {
  AgentLog log(config.log.format, config.log.level);
  asio::io_context home(1);
  std::exception_ptr failure;
  {
    Agent agent(home, config, log);
    asio::co_spawn(home, agent.run(), [&](std::exception_ptr thrown) { failure = std::move(thrown); });
    home.run();
  }
  if (failure) {
    log.error("ended", {{"error", as_error(failure).message()}});
    std::rethrow_exception(failure);
  }
  log.info("ended");
}

}  // namespace lazypull
