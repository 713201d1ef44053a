#include "engine/sha256_state.hpp"

#include "engine/error.hpp"

// The functions with a visible state are deprecated for what they cannot do (engines, FIPS providers). They
// run the same code as EVP's.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace lazypull {

struct ResumableSha256::Impl {
  SHA256_CTX context{};

  Impl() {
    if (SHA256_Init(&context) != 1) throw Error(Errc::internal, "OpenSSL cannot compute sha256");
  }
  std::uint64_t bytes() const noexcept {
    const auto bits = (std::uint64_t{context.Nh} << 32U) | context.Nl;
    return bits / 8;
  }
};

ResumableSha256::ResumableSha256() : impl_(std::make_unique<Impl>()) {}

ResumableSha256::ResumableSha256(const Sha256State& state) : ResumableSha256() {
  auto& context = impl_->context;
  std::ranges::copy(state.chain, context.h);
  const auto bits = state.bytes * 8;
  context.Nl = static_cast<SHA_LONG>(bits & 0xffffffffU);
  context.Nh = static_cast<SHA_LONG>(bits >> 32U);
}

ResumableSha256::ResumableSha256(ResumableSha256&&) noexcept = default;
ResumableSha256& ResumableSha256::operator=(ResumableSha256&&) noexcept = default;
ResumableSha256::~ResumableSha256() = default;

void ResumableSha256::update(std::span<const std::byte> bytes) {
  if (!impl_ || SHA256_Update(&impl_->context, bytes.data(), bytes.size()) != 1) {
    throw Error(Errc::internal, "a hasher was used after its end");
  }
}

Sha256State ResumableSha256::state() const {
  if (!impl_) throw Error(Errc::internal, "a hasher was used after its end");
  Sha256State state;
  std::ranges::copy(impl_->context.h, state.chain.begin());
  state.bytes = impl_->bytes() / block_bytes * block_bytes;
  return state;
}

Digest ResumableSha256::finish() {
  const auto spent = std::exchange(impl_, nullptr);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> sum{};
  if (!spent || SHA256_Final(sum.data(), &spent->context) != 1) {
    throw Error(Errc::internal, "a hasher was used after its end");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "sha256:";
  for (const unsigned char byte : sum) {
    text += digits[byte >> 4U];
    text += digits[byte & 0x0fU];
  }
  return Digest::parse(text);
}

bool ResumableSha256::works() {
  static const bool verdict = [] {
    // After one block of the letter a, and with "abc" behind it.
    const Sha256State known{{0xdf5bb81cU, 0xe81e0626U, 0xfb45a894U, 0x4fd40f31U, 0xb25e6816U, 0xd6d499c1U,
                             0xab904929U, 0x00635e66U},
                            block_bytes};
    constexpr std::string_view whole =
        "sha256:18917c887594f95a0a81701c589533ff21c74b1fb567e4521272f37815a64275";
    const std::string block(block_bytes, 'a');
    const std::string_view rest = "abc";
    ResumableSha256 from_start;
    from_start.update(std::as_bytes(std::span(block)));
    from_start.update(std::as_bytes(std::span(rest)));
    if (from_start.state() != known) return false;
    ResumableSha256 resumed(known);
    resumed.update(std::as_bytes(std::span(rest)));
    return resumed.finish().str() == whole && from_start.finish().str() == whole;
  }();
  return verdict;
}

ResumableHasher::ResumableHasher(std::string_view algorithm) {
  if (algorithm == "sha256" && ResumableSha256::works()) {
    sha256_.emplace();
  } else {
    other_.emplace(algorithm);
  }
}

void ResumableHasher::update(std::span<const std::byte> bytes) {
  if (sha256_) {
    sha256_->update(bytes);
  } else {
    other_->update(bytes);
  }
}

Digest ResumableHasher::finish() {
  return sha256_ ? sha256_->finish() : other_->finish();
}

std::optional<Sha256State> ResumableHasher::state() const {
  if (!sha256_) return std::nullopt;
  return sha256_->state();
}

bool ResumableHasher::resume(const Sha256State& state) {
  if (!sha256_) return false;
  sha256_.emplace(state);
  return true;
}

}  // namespace lazypull
