#include "tools/agent/agent_pulls.hpp"

#include "engine/deadline.hpp"
#include "engine/event.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <exception>
#include <list>
#include <utility>

namespace lazypull {

using Clock = std::chrono::steady_clock;

struct PullTicket::Pull {
  Pull(const asio::any_io_executor& home, AgentPullRequest wanted, const std::string& snapshotter)
      : request(std::move(wanted)),
        subject{request.reference, request.rank, snapshotter, request.asker},
        landed(home) {}

  bool serves(const AgentPullRequest& other, const std::string& snapshotter) const {
    return !stopping && request.reference == other.reference && request.platform == other.platform &&
           request.credentials == other.credentials && subject.snapshotter == snapshotter &&
           request.rank.pull_class == other.rank.pull_class;
  }
  RunningPull view() const { return {subject, report, queued, waiters, Clock::now() - started}; }

  AgentPullRequest request;
  PullSubject subject;
  PullReport report;
  Event landed;
  asio::cancellation_signal stop;
  Clock::time_point started = Clock::now();
  std::optional<PulledImage> image;
  std::optional<Error> failure;
  std::size_t waiters = 0;
  std::size_t requests = 0;
  bool queued = true;
  bool stopping = false;  ///< nobody waits for it any more, so nobody may join it
};

struct AgentPulls::Impl {
  using Pull = PullTicket::Pull;

  Impl(asio::any_io_executor executor, const AgentPullLimits& given, std::string default_snapshotter,
       RunAgentPull work)
      : home(std::move(executor)),
        snapshotter(std::move(default_snapshotter)),
        run(std::move(work)),
        most(given.queued),
        shared(given.shared),
        serving(PermitLimits{.total = given.serving}),
        prewarm(PermitLimits{.total = given.prewarm}) {}

  PermitGate& gate(PullClass pull_class) { return pull_class == PullClass::serving ? serving : prewarm; }
  const PermitGate& gate(PullClass pull_class) const {
    return pull_class == PullClass::serving ? serving : prewarm;
  }

  std::shared_ptr<Pull> find(const AgentPullRequest& request, const std::string& with) const {
    const auto found =
        std::ranges::find_if(pulls, [&](const auto& pull) { return pull->serves(request, with); });
    return found == pulls.end() ? nullptr : *found;
  }

  Awaitable<> work(std::shared_ptr<Pull> pull) {
    auto permit =
        gate(pull->request.rank.pull_class).join(pull->request.rank, pull->request.reference.domain(), 0);
    co_await permit.granted();
    pull->queued = false;
    for (auto* observer : observers) observer->pull_started(pull->subject);
    auto image = co_await run(pull->request, pull->subject.snapshotter, shared, pull->report);
    pull->image = std::move(image);
  }

  void ended_with(const std::shared_ptr<Pull>& pull, const std::exception_ptr& failure) {
    pulls.remove(pull);
    ++ended;
    pull->queued = false;
    if (failure) pull->failure = as_error(failure);
    const PullEnding ending{pull->subject, pull->report, pull->failure, Clock::now() - pull->started,
                            pull->requests};
    for (auto* observer : observers) observer->pull_ended(ending);
    pull->landed.set();
    if (pulls.empty() && idle) idle->set();
  }

  void cancel_all() {
    // None ends before this returns: what is cancelled is resumed later.
    for (const auto& pull : pulls) {
      pull->stopping = true;
      pull->stop.emit(asio::cancellation_type::terminal);
    }
  }

  Awaitable<> until_idle() {
    while (!pulls.empty()) {
      if (!idle || idle->happened()) idle = std::make_shared<Event>(home);
      const auto event = idle;
      co_await event->wait();
    }
  }

  asio::any_io_executor home;
  std::string snapshotter;
  RunAgentPull run;
  std::size_t most;
  PullShared shared;
  PermitGate serving;
  PermitGate prewarm;
  std::list<std::shared_ptr<Pull>> pulls;  ///< the oldest first
  std::vector<PullObserver*> observers;
  std::shared_ptr<Event> idle;
  std::uint64_t ended = 0;
  bool draining = false;
};

PullTicket& PullTicket::operator=(PullTicket&& other) noexcept {
  if (this != &other) {
    leave();
    pull_ = std::move(other.pull_);
    shared_ = other.shared_;
  }
  return *this;
}

PullTicket::~PullTicket() {
  leave();
}

void PullTicket::leave() noexcept {
  if (!pull_) return;
  const auto pull = std::move(pull_);
  if (--pull->waiters > 0 || pull->landed.happened() || pull->stopping) return;
  pull->stopping = true;
  pull->stop.emit(asio::cancellation_type::terminal);
}

Awaitable<PulledImage> PullTicket::wait() {
  const auto pull = pull_;
  co_await pull->landed.wait();
  if (pull->failure) throw *pull->failure;
  co_return *pull->image;
}

bool PullTicket::ended() const noexcept {
  return pull_->landed.happened();
}

const PullReport& PullTicket::report() const noexcept {
  return pull_->report;
}

RunningPull PullTicket::state() const {
  return pull_->view();
}

AgentPulls::AgentPulls(asio::any_io_executor home, const AgentPullLimits& limits, std::string snapshotter,
                       RunAgentPull run)
    : impl_(std::make_shared<Impl>(std::move(home), limits, std::move(snapshotter), std::move(run))) {}

AgentPulls::~AgentPulls() = default;

void AgentPulls::add_observer(PullObserver& observer) {
  impl_->observers.push_back(&observer);
}

PullTicket AgentPulls::join(AgentPullRequest request) {
  const auto& image = request.reference;
  if (impl_->draining) {
    throw Error(Errc::unavailable, "pull " + image.name() + ": the agent is about to end and takes no more");
  }
  const auto snapshotter = request.snapshotter.empty() ? impl_->snapshotter : request.snapshotter;
  auto pull = impl_->find(request, snapshotter);
  const bool shared = pull != nullptr;
  if (!shared) {
    if (impl_->pulls.size() >= impl_->most) {
      throw Error(Errc::too_many_requests, "pull " + image.name() + ": " +
                                               std::to_string(impl_->pulls.size()) +
                                               " other pulls are under way or waiting");
    }
    pull = std::make_shared<PullTicket::Pull>(impl_->home, std::move(request), snapshotter);
    impl_->pulls.push_back(pull);
  }
  ++pull->waiters;
  ++pull->requests;
  for (auto* observer : impl_->observers) observer->pull_requested(pull->subject, shared);
  PullTicket ticket(pull, shared);
  if (!shared) {
    auto ended = [impl = impl_, pull](const std::exception_ptr& failure) { impl->ended_with(pull, failure); };
    asio::co_spawn(impl_->home, impl_->work(pull),
                   asio::bind_cancellation_slot(pull->stop.slot(), std::move(ended)));
  }
  return ticket;
}

Awaitable<PulledImage> AgentPulls::pull(AgentPullRequest request) {
  auto ticket = join(std::move(request));
  auto image = co_await ticket.wait();
  co_return image;
}

void AgentPulls::image_removed(const std::string& image_id) {
  for (auto* observer : impl_->observers) observer->image_removed(image_id);
}

std::vector<RunningPull> AgentPulls::running() const {
  std::vector<RunningPull> all;
  all.reserve(impl_->pulls.size());
  for (const auto& pull : impl_->pulls) all.push_back(pull->view());
  return all;
}

std::uint64_t AgentPulls::ended() const noexcept {
  return impl_->ended;
}

AgentPulls::QueueView AgentPulls::queue(PullClass pull_class) const {
  const auto& queue = impl_->gate(pull_class).queue();
  return {queue.in_use(), queue.waiting(), queue.limits().total};
}

const std::string& AgentPulls::snapshotter() const noexcept {
  return impl_->snapshotter;
}

PullShared& AgentPulls::shared() noexcept {
  return impl_->shared;
}

void AgentPulls::stop_taking() noexcept {
  impl_->draining = true;
}

bool AgentPulls::draining() const noexcept {
  return impl_->draining;
}

Awaitable<> AgentPulls::drain(std::chrono::milliseconds patience) {
  const auto impl = impl_;
  impl->draining = true;
  bool cancelled = false;
  try {
    co_await with_deadline(impl->until_idle(), patience, "drain");
    co_return;
  } catch (const Error& error) {
    cancelled = error.code() != Errc::timed_out;
  }
  impl->cancel_all();
  // Their own clean-ups have deadlines, so this comes to an end.
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await run_cleanup(impl->until_idle(), std::chrono::minutes(10), "drain");
  co_await asio::this_coro::throw_if_cancelled(true);
  if (cancelled) throw Error(Errc::cancelled, "drain: cancelled");
}

}  // namespace lazypull
