#include "tools/experiment/container.hpp"

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/task_group.hpp"
#include "snapshot/containerd_snapshotter.hpp"
#include "snapshot/mounts.hpp"
#include "tools/experiment/container_usage.hpp"
#include "transport/containerd/convert.hpp"
#include "transport/grpc_bridge.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <containerd/services/containers.grpc.pb.h>
#include <containerd/services/tasks.grpc.pb.h>
#include <sys/stat.h>
#include <system_error>

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <unistd.h>
#include <vector>

namespace lazypull::experiment {
namespace {

namespace containers = ::containerd::services::containers::v1;
namespace tasks = ::containerd::services::tasks::v1;
using ContainersAsync = containers::Containers::StubInterface::async_interface;
using TasksAsync = tasks::Tasks::StubInterface::async_interface;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds tcp_every{5};
constexpr milliseconds command_every{20};
constexpr milliseconds clean_up_limit{20'000};
/// Of a line without end only so much is looked at.
constexpr std::size_t longest_line = 64U << 10U;

Awaitable<> pause(milliseconds length) {
  const auto home = co_await asio::this_coro::executor;
  asio::steady_timer timer(home, length);
  co_await timer.async_wait(asio::use_awaitable);
}

/// A named pipe that is open for reading and writing here, so that opening it blocks nobody.
class OutputPipe {
 public:
  OutputPipe(const asio::any_io_executor& home, std::filesystem::path file)
      : file_(std::move(file)), stream_(home) {
    ::unlink(file_.c_str());
    int descriptor = -1;
    if (::mkfifo(file_.c_str(), 0600) == 0) {
      descriptor = ::open(file_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    if (descriptor < 0) {
      throw Error(Errc::unavailable, file_.string() + ": " + std::generic_category().message(errno));
    }
    stream_.assign(descriptor);
  }
  OutputPipe(const OutputPipe&) = delete;
  OutputPipe& operator=(const OutputPipe&) = delete;
  ~OutputPipe() { ::unlink(file_.c_str()); }

  std::string path() const { return file_.string(); }
  Awaitable<std::size_t> read(std::span<char> into) {
    return stream_.async_read_some(asio::buffer(into.data(), into.size()), asio::use_awaitable);
  }

 private:
  std::filesystem::path file_;
  asio::posix::stream_descriptor stream_;
};

Awaitable<bool> port_is_open(std::uint16_t port) {
  const auto home = co_await asio::this_coro::executor;
  asio::ip::tcp::socket socket(home);
  const asio::ip::tcp::endpoint address(asio::ip::address_v4::loopback(), port);
  const auto [failure] = co_await socket.async_connect(address, asio::as_tuple(asio::use_awaitable));
  co_return !failure;
}

/// One container, step by step.
class Container {
 public:
  Container(const asio::any_io_executor& home, ContainerdClient client, ContainerRequest request)
      : client_(std::move(client)),
        request_(std::move(request)),
        containers_(containers::Containers::NewStub(client_.channel())),
        tasks_(tasks::Tasks::NewStub(client_.channel())),
        snapshotter_(client_, request_.snapshotter),
        pipe_(home, request_.folder / (request_.id + ".out")),
        ready_(home),
        watch_(request_.spec.ready.kind == Readiness::Kind::log ? request_.spec.ready.log : "") {}

  Awaitable<> run() {
    const auto& ready = request_.spec.ready;
    if (ready.kind == Readiness::Kind::tcp) {
      const bool taken = co_await port_is_open(ready.port);
      if (taken) {
        throw Error(Errc::failed_precondition, "image " + request_.spec.name + ": port " +
                                                   std::to_string(ready.port) + " is taken already");
      }
    }
    co_await create();
    co_await start();
    std::function<Awaitable<>(TaskGroup&)> body = [this](TaskGroup& group) { return watch(group); };
    co_await with_task_group(std::move(body));
  }

  /// Removes what `run` has made; goes on where something fails, since containerd ends soon.
  Awaitable<> remove() {
    if (task_created_) {
      tasks::KillRequest kill;
      kill.set_container_id(request_.id);
      kill.set_signal(SIGKILL);
      kill.set_all(true);
      co_await unary_call(tasks_->async(), &TasksAsync::Kill, kill, call("Tasks/Kill"));
      tasks::WaitRequest wait;
      wait.set_container_id(request_.id);
      if (started_) co_await unary_call(tasks_->async(), &TasksAsync::Wait, wait, call("Tasks/Wait"));
      tasks::DeleteTaskRequest task;
      task.set_container_id(request_.id);
      co_await unary_call(tasks_->async(), &TasksAsync::Delete, task, call("Tasks/Delete"));
    }
    if (created_) {
      containers::DeleteContainerRequest container;
      container.set_id(request_.id);
      co_await unary_call(containers_->async(), &ContainersAsync::Delete, container,
                          call("Containers/Delete"));
      co_await snapshotter_.remove(request_.id);
    }
  }

  ContainerTimes times;

 private:
  CallOptions call(const std::string& name) const {
    return client_.call(name + " " + request_.id, milliseconds(60'000));
  }

  Awaitable<> create() {
    containers::CreateContainerRequest create;
    auto& container = *create.mutable_container();
    container.set_id(request_.id);
    container.set_image(request_.reference);
    container.mutable_runtime()->set_name("io.containerd.runc.v2");
    container.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Spec");
    container.mutable_spec()->set_value(runtime_spec(request_));
    container.set_snapshotter(request_.snapshotter);
    container.set_snapshot_key(request_.id);
    const auto options = call("Containers/Create");
    const auto reply = co_await unary_call(containers_->async(), &ContainersAsync::Create, create, options);
    require_ok(reply.status, options.name);
    created_ = true;
    const Labels labels;
    auto prepared = co_await snapshotter_.prepare(request_.id, request_.image.chain_id.str(), labels);
    mounts_ = std::move(prepared.mounts);
  }

  Awaitable<> start() {
    tasks::CreateTaskRequest create;
    create.set_container_id(request_.id);
    for (const auto& mount : mounts_) to_wire(mount, *create.add_rootfs());
    create.set_stdout(pipe_.path());
    create.set_stderr(pipe_.path());
    const auto create_options = call("Tasks/Create");
    const auto created = co_await unary_call(tasks_->async(), &TasksAsync::Create, create, create_options);
    require_ok(created.status, create_options.name);
    task_created_ = true;
    pid_ = static_cast<pid_t>(created.message.pid());
    tasks::StartRequest start;
    start.set_container_id(request_.id);
    const auto start_options = call("Tasks/Start");
    const auto started = co_await unary_call(tasks_->async(), &TasksAsync::Start, start, start_options);
    require_ok(started.status, start_options.name);
    started_ = true;
    times.started = Clock::now();
  }

  Awaitable<> watch(TaskGroup& group) {
    std::vector<TaskGroup::Handle> helpers;
    helpers.push_back(group.spawn(read_output()));
    helpers.push_back(group.spawn(await_end()));
    const auto kind = request_.spec.ready.kind;
    if (kind == Readiness::Kind::tcp) helpers.push_back(group.spawn(probe_port()));
    if (kind == Readiness::Kind::command) helpers.push_back(group.spawn(probe_command()));
    co_await with_deadline(ready_.wait(), request_.spec.timeout,
                           "image " + request_.spec.name + ": waiting for the container to be ready");
    times.usage = container_usage(pid_);
    if (request_.spec.settle.count() > 0) co_await pause(request_.spec.settle);
    for (auto& helper : helpers) helper.drop();
  }

  void set_ready() {
    if (ready_.happened()) return;
    times.ready = Clock::now();
    if (request_.at_ready) request_.at_ready();
    ready_.set();
  }

  Awaitable<> read_output() {
    std::array<char, 4096> buffer{};
    for (;;) {
      const auto got = co_await pipe_.read(buffer);
      const auto now = Clock::now();
      watch_.add({buffer.data(), got});
      if (watch_.any_line() && !times.first_line) times.first_line = now;
      const auto kind = request_.spec.ready.kind;
      const bool by_output = kind == Readiness::Kind::first_line || kind == Readiness::Kind::log;
      if (by_output && watch_.found()) set_ready();
    }
  }

  /// A container that ends has nothing more to say than what is in the pipe.
  Awaitable<> await_end() {
    tasks::WaitRequest wait;
    wait.set_container_id(request_.id);
    const auto options = client_.call("Tasks/Wait " + request_.id, request_.spec.timeout + clean_up_limit);
    const auto reply = co_await unary_call(tasks_->async(), &TasksAsync::Wait, wait, options);
    require_ok(reply.status, options.name);
    co_await pause(milliseconds(100));
    if (ready_.happened()) co_return;
    throw Error(Errc::failed_precondition, "image " + request_.spec.name + ": the container ended with " +
                                               std::to_string(reply.message.exit_status()) +
                                               " before it was ready");
  }

  Awaitable<> probe_port() {
    for (;;) {
      const bool open = co_await port_is_open(request_.spec.ready.port);
      if (open) {
        set_ready();
        co_return;
      }
      co_await pause(tcp_every);
    }
  }

  Awaitable<> probe_command() {
    for (int number = 0;; ++number) {
      const auto status = co_await execute("probe-" + std::to_string(number));
      if (status == 0) {
        set_ready();
        co_return;
      }
      co_await pause(command_every);
    }
  }

  Awaitable<std::uint32_t> execute(std::string id) {
    tasks::ExecProcessRequest exec;
    exec.set_container_id(request_.id);
    exec.set_exec_id(id);
    exec.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
    exec.mutable_spec()->set_value(process_spec(request_, request_.spec.ready.command));
    const auto exec_options = call("Tasks/Exec");
    const auto made = co_await unary_call(tasks_->async(), &TasksAsync::Exec, exec, exec_options);
    require_ok(made.status, exec_options.name);
    tasks::StartRequest start;
    start.set_container_id(request_.id);
    start.set_exec_id(id);
    const auto started = co_await unary_call(tasks_->async(), &TasksAsync::Start, start, call("Tasks/Start"));
    // A program that is not there yet is no more ready than one that fails.
    std::uint32_t status = 127;
    if (started.status.ok()) {
      tasks::WaitRequest wait;
      wait.set_container_id(request_.id);
      wait.set_exec_id(id);
      const auto ended = co_await unary_call(tasks_->async(), &TasksAsync::Wait, wait, call("Tasks/Wait"));
      if (ended.status.ok()) status = ended.message.exit_status();
    }
    tasks::DeleteProcessRequest remove;
    remove.set_container_id(request_.id);
    remove.set_exec_id(id);
    co_await unary_call(tasks_->async(), &TasksAsync::DeleteProcess, remove, call("Tasks/DeleteProcess"));
    co_return status;
  }

  ContainerdClient client_;
  ContainerRequest request_;
  std::unique_ptr<containers::Containers::Stub> containers_;
  std::unique_ptr<tasks::Tasks::Stub> tasks_;
  ContainerdSnapshotter snapshotter_;
  OutputPipe pipe_;
  Event ready_;
  LineWatch watch_;
  std::vector<Mount> mounts_;
  pid_t pid_ = 0;
  bool created_ = false;
  bool task_created_ = false;
  bool started_ = false;
};

}  // namespace

void LineWatch::add(std::string_view piece) {
  for (const char c : piece) {
    if (c != '\n') {
      if (line_.size() < longest_line) line_ += c;
      continue;
    }
    any_ = true;
    found_ = found_ || line_.find(text_) != std::string::npos;
    line_.clear();
  }
}

Awaitable<ContainerTimes> start_container(ContainerdClient client, ContainerRequest request) {
  const auto home = co_await asio::this_coro::executor;
  const auto context = "container " + request.id;
  Container container(home, std::move(client), std::move(request));
  std::exception_ptr failure;
  try {
    co_await container.run();
  } catch (...) {
    failure = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(false);
  const auto left_over = co_await run_cleanup(container.remove(), clean_up_limit, context);
  if (failure) rethrow_with_context(failure, context);
  if (left_over) rethrow_with_context(left_over, context + ": removing it");
  co_return container.times;
}

}  // namespace lazypull::experiment
