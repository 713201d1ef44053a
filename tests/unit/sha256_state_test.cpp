// A SHA-256 that is interrupted and gone on from.
#include "engine/sha256_state.hpp"

#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string content(std::size_t size) {
  std::string text;
  while (text.size() < size) text += std::to_string(text.size()) + ",";
  text.resize(size);
  return text;
}

TEST(ResumableSha256, WorksWithTheOpenSslThatIsLoaded) {
  EXPECT_TRUE(ResumableSha256::works());
}

TEST(ResumableSha256, GivesTheDigestOfTheStandard) {
  ResumableSha256 hasher;
  hasher.update(bytes_of("abc"));
  EXPECT_EQ(hasher.finish().str(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(ResumableSha256, ItsStateIsTheIntermediateHashValueOfTheStandard) {
  // FIPS 180-4: the initial value, and that after one block of the letter a.
  EXPECT_EQ(ResumableSha256().state().chain[0], 0x6a09e667U);
  ResumableSha256 hasher;
  hasher.update(bytes_of(std::string(64, 'a')));
  const Sha256State expected{{0xdf5bb81cU, 0xe81e0626U, 0xfb45a894U, 0x4fd40f31U, 0xb25e6816U, 0xd6d499c1U,
                              0xab904929U, 0x00635e66U},
                             64};
  EXPECT_EQ(hasher.state(), expected);
  hasher.update(bytes_of("less than a block"));
  EXPECT_EQ(hasher.state(), expected);
}

TEST(ResumableSha256, CanBeGoneOnFromAtEveryByte) {
  const auto text = content(1000);
  const auto whole = Digest::sha256_of(text);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    ResumableSha256 first;
    first.update(bytes_of(text).first(cut));
    const auto state = first.state();
    ASSERT_EQ(state.bytes, cut / 64 * 64);
    ResumableSha256 second(state);
    second.update(bytes_of(text).subspan(static_cast<std::size_t>(state.bytes)));
    ASSERT_EQ(second.finish(), whole) << cut;
  }
}

TEST(ResumableSha256, CountsBeyondFourGigabytesOfBits) {
  // 2^32 bits are 512 MiB.
  const std::string piece(1U << 20U, 'x');
  ResumableSha256 whole;
  Hasher other("sha256");
  Sha256State state;
  for (int i = 0; i < 530; ++i) {
    if (i == 520) state = whole.state();
    whole.update(bytes_of(piece));
    other.update(bytes_of(piece));
  }
  ResumableSha256 resumed(state);
  for (int i = 520; i < 530; ++i) resumed.update(bytes_of(piece));
  const auto expected = other.finish();
  EXPECT_EQ(whole.finish(), expected);
  EXPECT_EQ(resumed.finish(), expected);
}

TEST(ResumableHasher, HasNoStateForOtherAlgorithms) {
  ResumableHasher hasher("sha512");
  hasher.update(bytes_of("abc"));
  EXPECT_EQ(hasher.state(), std::nullopt);
  EXPECT_FALSE(hasher.resume(Sha256State()));
  Hasher expected("sha512");
  expected.update(bytes_of("abc"));
  EXPECT_EQ(hasher.finish(), expected.finish());
}

}  // namespace
}  // namespace lazypull
