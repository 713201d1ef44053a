#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lazypull {

/// os/architecture[/variant], normalised as containerd does (x86_64 is amd64, aarch64 is arm64, arm64/v8 is
/// arm64, arm is arm/v7, armhf is arm/v7, armel is arm/v6, i386 is 386, amd64/v1 is amd64, macos is darwin).
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string os_version;
  std::vector<std::string> os_features;

  /// "linux/arm/v7", "linux", "arm64": what is left out is filled from the host, as containerd does.
  /// Throws Error{invalid_argument}.
  static Platform parse(std::string_view text);
  static Platform host();

  Platform normalized() const;
  std::string str() const;  ///< os/architecture[/variant]

  friend bool operator==(const Platform&, const Platform&) = default;
};

/// Which of an index's platforms are wanted and in which order, after containerd's platforms package.
class PlatformMatcher {
 public:
  /// The platform and what also runs on it, best first: amd64/v3 before v2 before v1 before 386; arm64 before
  /// arm/v8, v7, v6, v5. The best one of an index is chosen (containerd: platforms.Only).
  static PlatformMatcher only(const Platform& platform);
  /// Every given platform exactly, all of those are wanted (`--platform` given several times).
  static PlatformMatcher any(std::vector<Platform> platforms);
  static PlatformMatcher all();

  bool matches(const Platform& candidate) const;
  /// True if `a` is to be preferred to `b`; both must match.
  bool less(const Platform& a, const Platform& b) const;
  bool wants_all() const noexcept { return all_; }
  /// The one platform, the list, or "all", for messages.
  std::string str() const;

 private:
  std::vector<Platform> ranked_;
  std::string description_;
  bool all_ = false;
};

}  // namespace lazypull
