#include "tools/agent/agent_service.hpp"

#include "engine/deadline.hpp"
#include "engine/prewarm.hpp"
#include "engine/task_group.hpp"
#include "tools/agent/agent_messages.hpp"
#include "tools/agent/agent_prewarm.hpp"
#include "tools/agent/grpc_server_call.hpp"
#include "tools/agent/grpc_server_stream.hpp"

#include <exception>
#include <utility>

namespace lazypull {

namespace {

namespace api = agent::v1;

/// Until the pull has ended, or for as long as the limit; what it ends with is asked for by who needs it.
Awaitable<> wait_a_while(PullTicket& ticket, std::chrono::milliseconds limit) {
  std::exception_ptr failure;
  try {
    co_await with_deadline(ticket.wait(), limit, "pull");
  } catch (...) {
    failure = std::current_exception();
  }
  const auto state = co_await asio::this_coro::cancellation_state;
  if (failure && state.cancelled() != asio::cancellation_type::none) std::rethrow_exception(failure);
}

}  // namespace

AgentService::AgentService(asio::any_io_executor home, AgentServiceParts parts)
    : home_(std::move(home)), parts_(std::move(parts)) {}

grpc::ServerWriteReactor<api::PullProgress>* AgentService::Pull(grpc::CallbackServerContext* context,
                                                                const api::PullRequest* request) {
  return serve_stream<api::PullProgress>(
      home_, context,
      [this, request](ServerStream<api::PullProgress>& stream) { return pull(stream, *request); });
}

Awaitable<> AgentService::pull(ServerStream<api::PullProgress>& stream, const api::PullRequest& request) {
  auto wanted = pull_request(request);
  auto ticket = parts_.pulls.join(std::move(wanted));
  while (!ticket.ended()) {
    api::PullProgress progress;
    fill(*progress.mutable_state(), ticket.state(), WithLayers::yes);
    co_await stream.write(std::move(progress));
    co_await wait_a_while(ticket, parts_.progress_interval);
  }
  const auto image = co_await ticket.wait();
  api::PullProgress last;
  fill(*last.mutable_state(), ticket.state(), WithLayers::yes);
  last.mutable_state()->set_phase("done");
  last.mutable_result()->set_image_ref(image.image_id.str());
  last.mutable_result()->set_digest(image.target.str());
  last.mutable_result()->set_shared(ticket.shared());
  co_await stream.write(std::move(last));
}

grpc::ServerWriteReactor<api::PrewarmProgress>* AgentService::Prewarm(grpc::CallbackServerContext* context,
                                                                      const api::PrewarmRequest* request) {
  return serve_stream<api::PrewarmProgress>(
      home_, context,
      [this, request](ServerStream<api::PrewarmProgress>& stream) { return prewarm(stream, *request); });
}

Awaitable<> AgentService::prewarm(ServerStream<api::PrewarmProgress>& stream,
                                  const api::PrewarmRequest& request) {
  PrewarmOptions options;
  options.fail_fast = request.fail_fast();
  options.max_concurrent_images = parts_.prewarm_images;
  if (request.max_concurrent_images() > 0) options.max_concurrent_images = request.max_concurrent_images();
  AgentPrewarm run(home_, parts_.pulls, prewarm_items(request), std::move(options));
  const auto interval = parts_.progress_interval;
  co_await with_task_group([&run, &stream, interval](TaskGroup& group) -> Awaitable<> {
    group.spawn(run.run());
    while (!run.ended()) {
      api::PrewarmProgress progress;
      run.fill(progress);
      co_await stream.write(std::move(progress));
      co_await run.wait_a_while(interval);
    }
  });
  for (std::size_t next = 0; next < run.size();) {
    api::PrewarmProgress last;
    run.fill(last);
    next = run.fill_summary(*last.mutable_summary(), next);
    co_await stream.write(std::move(last));
  }
}

grpc::ServerUnaryReactor* AgentService::Status(grpc::CallbackServerContext*, const api::StatusRequest*,
                                               api::StatusResponse* response) {
  return serve_call(home_, [this, response] { return status(*response); });
}

Awaitable<> AgentService::status(api::StatusResponse& response) {
  auto& pulls = parts_.pulls;
  response.set_version(parts_.version);
  const auto uptime = std::chrono::steady_clock::now() - started_;
  response.set_uptime_seconds(std::chrono::duration<double>(uptime).count());
  response.set_draining(pulls.draining());
  response.set_pulls_running(static_cast<std::uint32_t>(pulls.running().size()));
  response.set_pulls_ended(pulls.ended());
  fill_queues(*response.mutable_queues(), pulls);
  fill_bandwidths(*response.mutable_bandwidths(), pulls.shared().bandwidth());
  response.set_snapshotter(pulls.snapshotter());
  co_return;
}

grpc::ServerUnaryReactor* AgentService::ListPulls(grpc::CallbackServerContext*, const api::ListPullsRequest*,
                                                  api::ListPullsResponse* response) {
  return serve_call(home_, [this, response] { return list_pulls(*response); });
}

Awaitable<> AgentService::list_pulls(api::ListPullsResponse& response) {
  for (const auto& pull : parts_.pulls.running()) fill(*response.add_pulls(), pull, WithLayers::no);
  co_return;
}

grpc::ServerUnaryReactor* AgentService::SetBandwidth(grpc::CallbackServerContext*,
                                                     const api::SetBandwidthRequest* request,
                                                     api::SetBandwidthResponse* response) {
  return serve_call(home_, [this, request, response] { return set_bandwidth(*request, *response); });
}

Awaitable<> AgentService::set_bandwidth(const api::SetBandwidthRequest& request,
                                        api::SetBandwidthResponse& response) {
  auto& bandwidth = parts_.pulls.shared().bandwidth();
  // All or nothing.
  for (const auto& wanted : request.bandwidths()) {
    if (wanted.pull_class() == api::PULL_CLASS_UNSPECIFIED) {
      throw Error(Errc::invalid_argument, "bandwidths: pull_class is not given");
    }
    pull_class_of(wanted.pull_class());
  }
  for (const auto& wanted : request.bandwidths()) {
    bandwidth.set_rate(pull_class_of(wanted.pull_class()), wanted.bytes_per_second());
  }
  fill_bandwidths(*response.mutable_bandwidths(), bandwidth);
  co_return;
}

grpc::ServerUnaryReactor* AgentService::Reload(grpc::CallbackServerContext*, const api::ReloadRequest*,
                                               api::ReloadResponse*) {
  return serve_call(home_, [this] { return reload(); });
}

Awaitable<> AgentService::reload() {
  parts_.reload();
  co_return;
}

grpc::ServerUnaryReactor* AgentService::Debug(grpc::CallbackServerContext*, const api::DebugRequest*,
                                              api::DebugResponse* response) {
  return serve_call(home_, [this, response] { return debug(*response); });
}

Awaitable<> AgentService::debug(api::DebugResponse& response) {
  fill_tasks(*response.mutable_tasks(), parts_.tracer.live());
  fill_queues(*response.mutable_queues(), parts_.pulls);
  response.set_tasks_dropped(parts_.tracer.dropped());
  co_return;
}

}  // namespace lazypull
