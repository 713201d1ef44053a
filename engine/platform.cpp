#include "engine/platform.hpp"

#include "engine/error.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace lazypull {

namespace {

constexpr std::size_t max_specifier_length = 255;

constexpr std::array<std::string_view, 17> known_systems{
    "aix",   "android", "darwin", "dragonfly", "freebsd", "hurd",    "illumos", "ios", "js",
    "linux", "nacl",    "netbsd", "openbsd",   "plan9",   "solaris", "windows", "zos",
};

constexpr std::array<std::string_view, 24> known_architectures{
    "386",     "amd64",   "amd64p32", "arm",    "armbe",  "arm64",    "arm64be",   "ppc64",
    "ppc64le", "loong64", "mips",     "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le",
    "ppc",     "riscv",   "riscv64",  "s390",   "s390x",  "sparc",    "sparc64",   "wasm",
};

constexpr std::string_view host_os =
#if defined(__APPLE__)
    "darwin";
#elif defined(__FreeBSD__)
    "freebsd";
#else
    "linux";
#endif

constexpr std::string_view host_architecture =
#if defined(__x86_64__)
    "amd64";
#elif defined(__i386__)
    "386";
#elif defined(__aarch64__)
    "arm64";
#elif defined(__arm__)
        "arm";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
        "ppc64le";
#elif defined(__powerpc64__)
        "ppc64";
#elif defined(__s390x__)
        "s390x";
#elif defined(__riscv) && __riscv_xlen == 64
        "riscv64";
#elif defined(__loongarch64)
        "loong64";
#elif defined(__mips64) && defined(__MIPSEL__)
        "mips64le";
#else
#error "the architecture of this machine is not known"
#endif

bool contains(const auto& list, std::string_view word) {
  return std::ranges::find(list, word) != list.end();
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string normalized_os(std::string_view os) {
  if (os.empty()) return std::string(host_os);
  auto result = lower(os);
  if (result == "macos") return "darwin";
  return result;
}

void normalize_architecture(std::string& architecture, std::string& variant) {
  architecture = lower(architecture);
  variant = lower(variant);
  if (architecture == "i386") {
    architecture = "386";
    variant.clear();
  } else if (architecture == "x86_64" || architecture == "x86-64" || architecture == "amd64") {
    architecture = "amd64";
    if (variant == "v1") variant.clear();
  } else if (architecture == "aarch64" || architecture == "arm64") {
    architecture = "arm64";
    if (variant == "8" || variant == "v8" || variant == "v8.0") variant.clear();
    if (variant == "9" || variant == "9.0" || variant == "v9.0") variant = "v9";
  } else if (architecture == "armhf") {
    architecture = "arm";
    variant = "v7";
  } else if (architecture == "armel") {
    architecture = "arm";
    variant = "v6";
  } else if (architecture == "arm") {
    if (variant.empty()) variant = "v7";
    if (variant == "5" || variant == "6" || variant == "7" || variant == "8") variant.insert(0, "v");
  }
}

std::string host_variant() {
  if (host_architecture != "arm") return {};
  utsname machine{};
  if (uname(&machine) != 0) return {};
  const std::string_view name(static_cast<const char*>(machine.machine));
  if (name.starts_with("armv5")) return "v5";
  if (name.starts_with("armv6")) return "v6";
  if (name.starts_with("armv8") || name == "aarch64") return "v8";
  return "v7";
}

/// The number in "v3"; nothing if the variant is of another form.
std::optional<int> version_of(std::string_view variant) {
  if (!variant.starts_with('v')) return std::nullopt;
  variant.remove_prefix(1);
  int value = 0;
  const auto [end, failure] = std::from_chars(variant.data(), variant.data() + variant.size(), value);
  constexpr int highest = 99;  // real ones are below ten; every version becomes an entry of the ranking
  if (failure != std::errc() || end != variant.data() + variant.size() || value < 0 || value > highest) {
    return std::nullopt;
  }
  return value;
}

Platform with_architecture(const Platform& platform, std::string_view architecture, std::string variant) {
  Platform result = platform;
  result.architecture = architecture;
  result.variant = std::move(variant);
  return result.normalized();
}

/// Appends v<from> down to v<to>.
void append_versions(std::vector<Platform>& ranked, const Platform& platform, std::string_view architecture,
                     int from, int to) {
  for (int version = from; version >= to; --version) {
    ranked.push_back(with_architecture(platform, architecture, "v" + std::to_string(version)));
  }
}

/// Every 64-bit Arm since v8 runs the code of the versions before its own; v9.N has what v8.(N+5) has.
void append_arm64_versions(std::vector<Platform>& ranked, const Platform& platform) {
  constexpr int last_of_v8 = 9;
  const auto append = [&](const std::string& major, int from) {
    for (int minor = from; minor > 0; --minor) {
      ranked.push_back(with_architecture(platform, "arm64", major + "." + std::to_string(minor)));
    }
  };
  const auto& variant = platform.variant;
  const bool has_minor = variant.size() == 4 && variant[2] == '.' && variant[3] >= '0' && variant[3] <= '9';
  const int minor = has_minor ? variant[3] - '0' : 0;
  if (variant == "v9" || (has_minor && variant.starts_with("v9"))) {
    append("v9", minor - 1);
    if (has_minor) ranked.push_back(with_architecture(platform, "arm64", "v9"));
    append("v8", std::min(minor + 5, last_of_v8));
  } else if (has_minor && variant.starts_with("v8")) {
    append("v8", minor - 1);
  }
  if (!variant.empty()) ranked.push_back(with_architecture(platform, "arm64", ""));
}

/// The platform and what a machine of its kind also runs, best first.
std::vector<Platform> compatible_with(const Platform& platform) {
  std::vector<Platform> ranked{platform};
  const auto version = version_of(platform.variant);
  if (platform.architecture == "amd64") {
    if (version) append_versions(ranked, platform, "amd64", *version - 1, 1);
    ranked.push_back(with_architecture(platform, "386", ""));
  } else if (platform.architecture == "arm") {
    if (version) append_versions(ranked, platform, "arm", *version - 1, 5);
  } else if (platform.architecture == "arm64") {
    append_arm64_versions(ranked, platform);
    append_versions(ranked, platform, "arm", 8, 5);
  }
  return ranked;
}

std::vector<std::string> split_specifier(std::string_view text) {
  const auto refuse = [text](std::string_view why) {
    std::string shown(text.substr(0, max_specifier_length));
    std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
    throw Error(Errc::invalid_argument, "\"" + shown + "\" is not a platform: " + std::string(why));
  };
  if (text.size() > max_specifier_length) refuse("it is too long");
  if (text.find('*') != std::string_view::npos) refuse("wildcards are not supported");
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('/', begin), text.size());
    const auto part = text.substr(begin, end - begin);
    if (part.empty() || !std::ranges::all_of(part, allowed)) {
      refuse("expected os/architecture[/variant] of letters, digits, '_', '-' and '.'");
    }
    parts.emplace_back(part);
    begin = end + 1;
  }
  if (parts.size() > 3) refuse("it has more than three parts");
  return parts;
}

/// Like containerd, compares what decides whether an image runs; versions of Windows are not among it here.
bool same_kind(const Platform& a, const Platform& b) {
  return a.os == b.os && a.architecture == b.architecture && a.variant == b.variant;
}

constexpr std::size_t unranked = std::numeric_limits<std::size_t>::max();

std::size_t rank_of(const std::vector<Platform>& ranked, const Platform& candidate) {
  const auto wanted = candidate.normalized();
  const auto found = std::ranges::find_if(ranked, [&](const Platform& p) { return same_kind(p, wanted); });
  return found == ranked.end() ? unranked : static_cast<std::size_t>(found - ranked.begin());
}

}  // namespace

Platform Platform::parse(std::string_view text) {
  auto parts = split_specifier(text);
  Platform result;
  if (parts.size() > 1) {
    result.os = parts[0];
    result.architecture = parts[1];
    if (parts.size() > 2) result.variant = parts[2];
    return result.normalized();
  }
  const auto os = normalized_os(parts[0]);
  if (contains(known_systems, os)) {
    result = host();
    result.os = os;
    return result;
  }
  result.architecture = parts[0];
  result = result.normalized();  // fills in the host's operating system
  if (!contains(known_architectures, result.architecture)) {
    throw Error(Errc::invalid_argument,
                "\"" + parts[0] + "\" is not a platform: unknown operating system or architecture");
  }
  return result;
}

Platform Platform::host() {
  Platform result;
  result.os = host_os;
  result.architecture = host_architecture;
  result.variant = host_variant();
  return result.normalized();
}

Platform Platform::normalized() const {
  Platform result = *this;
  result.os = normalized_os(os);
  normalize_architecture(result.architecture, result.variant);
  return result;
}

std::string Platform::str() const {
  if (os.empty()) return "unknown";
  std::string result = os;
  if (!architecture.empty()) result += "/" + architecture;
  if (!variant.empty()) result += "/" + variant;
  return result;
}

PlatformMatcher PlatformMatcher::only(const Platform& platform) {
  PlatformMatcher matcher;
  matcher.ranked_ = compatible_with(platform.normalized());
  matcher.description_ = platform.normalized().str();
  return matcher;
}

PlatformMatcher PlatformMatcher::any(std::vector<Platform> platforms) {
  PlatformMatcher matcher;
  for (auto& platform : platforms) {
    platform = platform.normalized();
    if (!matcher.description_.empty()) matcher.description_ += ", ";
    matcher.description_ += platform.str();
  }
  matcher.ranked_ = std::move(platforms);
  return matcher;
}

PlatformMatcher PlatformMatcher::all() {
  PlatformMatcher matcher;
  matcher.description_ = "all";
  matcher.all_ = true;
  return matcher;
}

bool PlatformMatcher::matches(const Platform& candidate) const {
  return all_ || rank_of(ranked_, candidate) != unranked;
}

bool PlatformMatcher::less(const Platform& a, const Platform& b) const {
  return !all_ && rank_of(ranked_, a) < rank_of(ranked_, b);
}

std::string PlatformMatcher::str() const {
  return description_;
}

}  // namespace lazypull
