#pragma once

#include "engine/error.hpp"
#include "engine/ports.hpp"

#include <optional>

namespace lazypull {

/// A registry that remembers the kind of its last failure, so that the exit code can tell a registry that is
/// not reachable from a containerd that is not.
class ObservedRegistry final : public Resolver, public Fetcher {
 public:
  /// Both must outlive it.
  ObservedRegistry(Resolver& resolver, Fetcher& fetcher) : resolver_(resolver), fetcher_(fetcher) {}

  Awaitable<Descriptor> resolve(const Reference& reference) override;
  Awaitable<std::unique_ptr<BlobReader>> open(const Reference& repository, const Descriptor& descriptor,
                                              std::uint64_t offset) override;

  const std::optional<Errc>& last_failure() const noexcept { return *last_failure_; }

 private:
  Resolver& resolver_;
  Fetcher& fetcher_;
  // Shared with the readers, which the engine owns.
  std::shared_ptr<std::optional<Errc>> last_failure_ = std::make_shared<std::optional<Errc>>();
};

}  // namespace lazypull
