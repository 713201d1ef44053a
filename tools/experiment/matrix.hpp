#pragma once

#include "tools/experiment/spec.hpp"

#include <compare>
#include <cstddef>
#include <string>
#include <vector>

namespace lazypull::experiment {

/// Where in the matrix a run is, by names. `unpack` is "-" where the puller leaves no choice.
struct Coordinates {
  std::string image;
  std::string puller;
  std::string snapshotter;
  std::string unpack;
  std::string network;
  std::string cache;
  std::size_t repetition = 0;

  /// "image/puller/snapshotter/unpack/network/cache#repetition".
  std::string id() const;
  /// The same without the repetition.
  std::string configuration() const;

  auto operator<=>(const Coordinates&) const = default;
};

/// Whether the puller can do that at all: `ctr` and `ctr-remote` leave no choice how to unpack; ctr-remote is
/// for stargz and ctr for containerd's own snapshotters; extracting directly needs overlayfs's mounts, and
/// what stargz mounts is not extracted.
bool is_possible(Puller puller, SnapshotterKind snapshotter, Unpack unpack) noexcept;

/// All runs in the order in which they are made: every configuration once before any comes a second time,
/// each round in another order, which is that of the seed. Throws Error{invalid_argument} if there is nothing
/// to run or too much.
std::vector<Coordinates> plan_runs(const Spec& spec);

}  // namespace lazypull::experiment
