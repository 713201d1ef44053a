#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

/// What libFuzzer and the replay of past findings both run. A target is a function that takes any bytes,
/// throws nothing and dies where a property does not hold.
namespace lazypull::fuzz {

using Bytes = std::span<const std::byte>;

void fuzz_challenge(Bytes input);
void fuzz_docker_config(Bytes input);
void fuzz_hosts_toml(Bytes input);
void fuzz_http(Bytes input);
void fuzz_labels(Bytes input);
void fuzz_layer_record(Bytes input);
void fuzz_manifest(Bytes input);
void fuzz_platform(Bytes input);
void fuzz_reference(Bytes input);
void fuzz_tar(Bytes input);
void fuzz_url(Bytes input);

struct Target {
  std::string_view name;  ///< of the folders in corpus/ and findings/
  void (*run)(Bytes);
};
std::span<const Target> targets() noexcept;

inline std::string_view text_of(Bytes input) {
  return {reinterpret_cast<const char*>(input.data()), input.size()};
}

/// Dies if a property does not hold; unlike an assertion in every build.
inline void require(bool holds, std::string_view property, std::string_view subject = {}) {
  if (holds) return;
  std::fprintf(stderr, "property violated: %.*s\n  subject: %.*s\n", static_cast<int>(property.size()),
               property.data(), static_cast<int>(subject.size()), subject.data());
  std::abort();
}

/// A message goes into logs and onto terminals: bounded, and without control characters.
inline void require_message(std::string_view message, std::size_t limit = 2000) {
  require(message.size() <= limit, "messages are bounded", message);
  for (const char c : message) {
    require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "messages have no control characters",
            message);
  }
}

}  // namespace lazypull::fuzz
