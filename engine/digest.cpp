#include "engine/digest.hpp"

#include "engine/error.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

namespace lazypull {

namespace {

struct Algorithm {
  std::string_view name;
  std::size_t hex_digits;
  const EVP_MD* (*function)();
};

constexpr std::array algorithms{Algorithm{"sha256", 64, &EVP_sha256}, Algorithm{"sha512", 128, &EVP_sha512}};

const Algorithm* find_algorithm(std::string_view name) noexcept {
  const auto* found = std::ranges::find(algorithms, name, &Algorithm::name);
  return found == algorithms.end() ? nullptr : found;
}

bool is_lower_hex(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/// Why `text` is not a digest; nullptr if it is one.
const char* problem_of(std::string_view text) noexcept {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) return "it has no algorithm";
  const auto* algorithm = find_algorithm(text.substr(0, colon));
  if (algorithm == nullptr) return "its algorithm is neither sha256 nor sha512";
  const auto hex = text.substr(colon + 1);
  if (hex.size() != algorithm->hex_digits) return "it has a wrong number of hex digits";
  if (!std::ranges::all_of(hex, is_lower_hex)) return "it has characters that are not lower-case hex digits";
  return nullptr;
}

/// For messages: no more than a digest would have, and nothing that a terminal would act upon.
std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 140;
  std::string result = "\"";
  for (const char c : text.substr(0, longest)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > longest ? "…\"" : "\"");
}

struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};

}  // namespace

Digest Digest::parse(std::string_view text) {
  if (const char* problem = problem_of(text)) {
    throw Error(Errc::invalid_argument, quoted(text) + " is not a digest: " + problem);
  }
  return Digest(std::string(text));
}

std::optional<Digest> Digest::try_parse(std::string_view text) noexcept {
  if (problem_of(text) != nullptr) return std::nullopt;
  return Digest(std::string(text));
}

Digest Digest::sha256_of(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

Digest Digest::sha256_of(std::string_view text) {
  return sha256_of(std::as_bytes(std::span(text)));
}

std::string_view Digest::algorithm() const noexcept {
  return std::string_view(text_).substr(0, std::min(text_.find(':'), text_.size()));
}

std::string_view Digest::hex() const noexcept {
  const auto colon = text_.find(':');
  return colon == std::string::npos ? std::string_view() : std::string_view(text_).substr(colon + 1);
}

struct Hasher::Impl {
  const Algorithm* algorithm = nullptr;
  std::unique_ptr<EVP_MD_CTX, ContextDeleter> context;
};

Hasher::Hasher(std::string_view algorithm) : impl_(std::make_unique<Impl>()) {
  impl_->algorithm = find_algorithm(algorithm);
  if (impl_->algorithm == nullptr) {
    throw Error(Errc::invalid_argument, quoted(algorithm) + " is not a supported digest algorithm");
  }
  impl_->context.reset(EVP_MD_CTX_new());
  if (!impl_->context ||
      EVP_DigestInit_ex(impl_->context.get(), impl_->algorithm->function(), nullptr) != 1) {
    throw Error(Errc::internal, "OpenSSL cannot compute " + std::string(algorithm));
  }
}

Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::~Hasher() = default;

void Hasher::update(std::span<const std::byte> bytes) {
  if (!impl_ || EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()) != 1) {
    throw Error(Errc::internal, "a hasher was used after its end");
  }
}

Digest Hasher::finish() {
  const auto spent = std::exchange(impl_, nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
  unsigned int length = 0;
  if (!spent || EVP_DigestFinal_ex(spent->context.get(), sum.data(), &length) != 1) {
    throw Error(Errc::internal, "a hasher was used after its end");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text(spent->algorithm->name);
  text += ':';
  for (const unsigned char byte : std::span(sum).first(length)) {
    text += digits[byte >> 4U];
    text += digits[byte & 0x0fU];
  }
  return Digest::parse(text);
}

}  // namespace lazypull
