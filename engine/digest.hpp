#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lazypull {

/// A content digest as in the OCI image specification ("sha256:" and 64 lower-case hex digits; sha512 too).
/// A default-constructed Digest is empty and names nothing.
class Digest {
 public:
  Digest() = default;

  /// Throws Error{invalid_argument} for an unknown algorithm, a wrong length or upper-case digits.
  static Digest parse(std::string_view text);
  static std::optional<Digest> try_parse(std::string_view text) noexcept;
  static Digest sha256_of(std::span<const std::byte> bytes);
  static Digest sha256_of(std::string_view text);

  bool empty() const noexcept { return text_.empty(); }
  const std::string& str() const noexcept { return text_; }
  std::string_view algorithm() const noexcept;
  std::string_view hex() const noexcept;

  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  explicit Digest(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

/// Digests bytes as they come, with the algorithm of the digest that is expected.
class Hasher {
 public:
  explicit Hasher(std::string_view algorithm = "sha256");
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  ~Hasher();

  void update(std::span<const std::byte> bytes);
  /// May be called once; the hasher is spent afterwards.
  Digest finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lazypull

template <>
struct std::hash<lazypull::Digest> {
  std::size_t operator()(const lazypull::Digest& digest) const noexcept {
    return std::hash<std::string>{}(digest.str());
  }
};
