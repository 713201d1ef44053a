#pragma once

#include "tools/faults/profile.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// Experiments on how long containers take to start: what is varied, how it is measured, and what is said of
/// it (docs/experiments.md).
namespace lazypull::experiment {

/// Who pulls.
enum class Puller { lazypull, ctr, ctr_remote };
enum class SnapshotterKind { overlayfs, native, stargz, lazypull };
/// Who extracts layers; of `lazypull pull` only.
enum class Unpack { none, automatic, direct, diff_service };
/// What of the image is in containerd before the measured pull.
enum class CacheState { cold, base_warm, all_warm };

std::string_view to_string(Puller puller) noexcept;
std::string_view to_string(SnapshotterKind snapshotter) noexcept;
std::string_view to_string(Unpack unpack) noexcept;
std::string_view to_string(CacheState cache) noexcept;

/// How it is found out that a container is ready.
struct Readiness {
  enum class Kind { first_line, log, tcp, command };
  Kind kind = Kind::first_line;
  std::string log;                   ///< a text that a line of its output has
  std::uint16_t port = 0;            ///< of the loopback, which takes a connection
  std::vector<std::string> command;  ///< which ends with 0 inside the container
};

struct ImageSpec {
  std::string name;
  std::filesystem::path layout;      ///< an OCI image layout with one image
  std::filesystem::path estargz;     ///< the same as eStargz; empty: it is converted before the first run
  std::size_t base_layers = 0;       ///< the lowest layers, which are there before a pull in state base_warm
  bool start = true;                 ///< start a container after the pull
  std::vector<std::string> command;  ///< instead of the image's
  std::vector<std::string> env;      ///< in addition to the image's
  std::string user;                  ///< "uid[:gid]" instead of the image's
  Readiness ready;
  std::chrono::milliseconds timeout{60'000};  ///< until it is ready
  std::chrono::milliseconds settle{0};        ///< how long it goes on after that, being watched
};

/// What lies between the registry and the node.
struct NetworkProfile {
  std::string name;
  FaultProfile faults;

  /// There is no proxy in between.
  bool direct() const { return faults == FaultProfile(); }
};

/// Where the programs are; a name without a slash is looked up in PATH.
struct Programs {
  std::string lazypull;  ///< empty: this program itself
  std::string containerd = "containerd";
  std::string ctr = "ctr";
  std::string ctr_remote = "ctr-remote";
  std::string stargz;  ///< the stargz snapshotter: takes -root DIR and -address SOCKET
};

/// Coordinates that are left out of the matrix; empty is any.
struct Exclusion {
  std::string image;
  std::string puller;
  std::string snapshotter;
  std::string unpack;
  std::string network;
  std::string cache;
};

struct Spec {
  std::string name;
  std::uint64_t seed = 1;
  std::size_t repetitions = 5;
  std::vector<ImageSpec> images;
  std::vector<Puller> pullers{Puller::lazypull};
  std::vector<SnapshotterKind> snapshotters{SnapshotterKind::overlayfs};
  std::vector<Unpack> unpack{Unpack::automatic};
  std::vector<NetworkProfile> networks;
  std::vector<CacheState> caches{CacheState::cold};
  std::vector<Exclusion> exclude;
  Programs programs;
  std::size_t publish_layers = 0;  ///< of each image, in the storage of snapshotter lazypull; 0 is all
  std::filesystem::path work;      ///< where everything runs; empty is a new folder in /dev/shm or /tmp
  std::chrono::milliseconds pull_timeout{600'000};
};

/// What a specification may have at most.
struct SpecLimits {
  static constexpr std::size_t bytes = 1U << 20U;
  static constexpr std::size_t images = 64;
  static constexpr std::size_t networks = 32;
  static constexpr std::size_t words = 256;  ///< of a command, an environment or the exclusions
  static constexpr std::size_t word_bytes = 16U << 10U;
  static constexpr std::size_t repetitions = 1000;
  static constexpr std::size_t runs = 100'000;
};

/// Reads YAML, strictly: an unknown or repeated key is an error. Relative paths are resolved against
/// `folder`. Throws Error{invalid_argument} with the line: "SPEC.yaml:12: images[0].start: unknown key
/// 'comand'".
Spec parse_spec(const std::string& text, const std::string& what, const std::filesystem::path& folder);

/// The same from a file. Throws Error{not_found} or {permission_denied} that names it too.
Spec read_spec(const std::filesystem::path& file);

}  // namespace lazypull::experiment
