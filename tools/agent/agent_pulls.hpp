#pragma once

#include "engine/awaitable.hpp"
#include "engine/digest.hpp"
#include "engine/platform.hpp"
#include "engine/pull_report.hpp"
#include "engine/pull_shared.hpp"
#include "engine/reference.hpp"
#include "tools/agent/pull_observer.hpp"
#include "transport/credentials.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lazypull {

/// An image that somebody wants.
struct AgentPullRequest {
  explicit AgentPullRequest(Reference image) : reference(std::move(image)) {}

  Reference reference;
  std::optional<Platform> platform;        ///< none is the node's
  std::optional<Credentials> credentials;  ///< for the reference's registry, in place of the node's own
  std::string snapshotter;                 ///< empty is the agent's
  PullRank rank;
  std::string asker = "agent";  ///< who asks, for logs: "cri", "agent", "prewarm"
};

/// What came of a pull.
struct PulledImage {
  Digest image_id;  ///< the digest of the config, which is the CRI's image id and PullImage's image_ref
  Digest target;    ///< what the reference led to: the digest of the manifest or index
};

/// Does one pull, with all its records: `report` is kept up to date meanwhile.
using RunAgentPull = std::function<Awaitable<PulledImage>(
    const AgentPullRequest& request, const std::string& snapshotter, PullShared& shared, PullReport& report)>;

struct AgentPullLimits {
  PullLimits shared;          ///< of all pulls together
  std::size_t serving = 0;    ///< pulls at once that somebody waits for; 0 is no limit
  std::size_t prewarm = 8;    ///< the same of prewarming
  std::size_t queued = 4096;  ///< pulls that run or wait; beyond it requests are refused
};

/// A pull that runs or waits for its turn, as it is now. Refers to the pull, so it is for looking at it at
/// once, not for keeping.
struct RunningPull {
  const PullSubject& subject;
  const PullReport& report;  ///< empty while the pull waits
  bool queued;               ///< it waits for its turn
  std::size_t waiters;       ///< requests that share it; 0: it is being cancelled
  std::chrono::nanoseconds age;
};

class AgentPulls;

/// A request's part in a pull. Dropping it leaves the pull, which is cancelled when nobody is left.
/// Move-only; to be dropped before the AgentPulls.
class PullTicket {
 public:
  PullTicket(PullTicket&& other) noexcept = default;
  PullTicket& operator=(PullTicket&& other) noexcept;
  ~PullTicket();

  /// Until the pull has ended. Throws what it failed with, or Error{cancelled} if the caller is cancelled,
  /// which by itself does not leave the pull.
  Awaitable<PulledImage> wait();
  bool ended() const noexcept;
  /// It was under way when this request came.
  bool shared() const noexcept { return shared_; }
  /// Live, and final once it has ended; as long as the ticket lives.
  const PullReport& report() const noexcept;
  RunningPull state() const;

 private:
  friend class AgentPulls;
  struct Pull;
  PullTicket(std::shared_ptr<Pull> pull, bool shared) : pull_(std::move(pull)), shared_(shared) {}
  void leave() noexcept;

  std::shared_ptr<Pull> pull_;
  bool shared_;
};

/// All pulls of the agent: they share one PullShared, and requests for the same image (reference, platform,
/// snapshotter, class and credentials; not for the same image by others' credentials) share one pull. Of the
/// home thread. Must be drained before it is destroyed.
class AgentPulls {
 public:
  AgentPulls(asio::any_io_executor home, const AgentPullLimits& limits, std::string snapshotter,
             RunAgentPull run);
  AgentPulls(const AgentPulls&) = delete;
  AgentPulls& operator=(const AgentPulls&) = delete;
  ~AgentPulls();

  /// `observer` must outlive this; observers are told in the order in which they were added.
  void add_observer(PullObserver& observer);

  /// Joins the pull that is under way or starts one. Throws Error{unavailable} while draining, and
  /// Error{too_many_requests} where too many wait.
  PullTicket join(AgentPullRequest request);
  /// `join` and `wait`; a cancelled caller leaves the pull.
  Awaitable<PulledImage> pull(AgentPullRequest request);

  /// Tells the observers that a client has removed an image.
  void image_removed(const std::string& image_id);

  /// Those that run or wait, the oldest first.
  std::vector<RunningPull> running() const;
  std::uint64_t ended() const noexcept;
  /// Of one class: how many run, wait, and may run at once (0: no limit).
  struct QueueView {
    std::size_t running;
    std::size_t waiting;
    std::size_t limit;
  };
  QueueView queue(PullClass pull_class) const;
  const std::string& snapshotter() const noexcept;
  PullShared& shared() noexcept;

  /// New pulls are refused from now on.
  void stop_taking() noexcept;
  bool draining() const noexcept;
  /// `stop_taking`; then lets what is under way finish for as long as `patience`, cancels the rest, and
  /// returns when all have ended. If the caller is cancelled the rest is cancelled at once.
  Awaitable<> drain(std::chrono::milliseconds patience);

 private:
  friend class PullTicket;
  struct Impl;
  std::shared_ptr<Impl> impl_;  // pulls share it
};

}  // namespace lazypull
