#pragma once

#include "engine/digest.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

namespace lazypull {

/// How far a SHA-256 has come: the intermediate hash value of FIPS 180-4 (section 6.2.2, step 4) and the
/// number of bytes that have gone into it, a multiple of 64. It is a notion of the standard, not of a
/// library, so it can be kept and gone on from by any implementation.
struct Sha256State {
  std::array<std::uint32_t, 8> chain{};
  std::uint64_t bytes = 0;

  friend bool operator==(const Sha256State&, const Sha256State&) = default;
};

/// A SHA-256 that can be interrupted.
class ResumableSha256 {
 public:
  static constexpr std::uint64_t block_bytes = 64;

  ResumableSha256();
  /// Goes on from there. Only where `works`.
  explicit ResumableSha256(const Sha256State& state);
  ResumableSha256(ResumableSha256&&) noexcept;
  ResumableSha256& operator=(ResumableSha256&&) noexcept;
  ~ResumableSha256();

  void update(std::span<const std::byte> bytes);
  /// After all whole blocks so far; up to 63 bytes are not in it yet. Only where `works`.
  Sha256State state() const;
  /// May be called once; it is spent afterwards.
  Digest finish();

  /// Whether the state that OpenSSL keeps is what we take it for, by two values of the standard's function:
  /// checked once, with the library that is loaded.
  static bool works();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A Hasher that is a ResumableSha256 where its algorithm allows.
class ResumableHasher {
 public:
  explicit ResumableHasher(std::string_view algorithm);

  void update(std::span<const std::byte> bytes);
  Digest finish();
  /// None where it cannot be gone on from.
  std::optional<Sha256State> state() const;
  /// Goes on from there instead of what it has been given. False, and nothing has happened, where it cannot.
  bool resume(const Sha256State& state);

 private:
  std::optional<ResumableSha256> sha256_;
  std::optional<Hasher> other_;
};

}  // namespace lazypull
