#include "engine/digest.hpp"

#include "engine/error.hpp"

#include <gtest/gtest.h>

#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace lazypull {
namespace {

const std::string sha256_empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const std::string sha256_abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string sha512_abc =
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string refusal_of(std::string_view text) {
  try {
    Digest::parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  ADD_FAILURE() << text << " was accepted";
  return {};
}

TEST(Digest, ParsesSha256AndSha512) {
  const auto digest = Digest::parse(sha256_abc);
  EXPECT_EQ(digest.str(), sha256_abc);
  EXPECT_EQ(digest.algorithm(), "sha256");
  EXPECT_EQ(digest.hex(), sha256_abc.substr(7));
  EXPECT_EQ(Digest::parse(sha512_abc).algorithm(), "sha512");
  EXPECT_EQ(Digest::parse(sha512_abc).hex().size(), 128U);
}

TEST(Digest, RefusesWhatIsNotADigest) {
  const std::string hex(64, 'f');
  const std::vector<std::string> bad{
      "",
      ":",
      "sha256",
      "sha256:",
      hex,
      ":" + hex,
      "sha256:" + hex.substr(1),
      "sha256:" + hex + "f",
      "sha256:" + std::string(64, 'F'),
      "sha256:" + hex.substr(1) + "g",
      "sha256:" + hex.substr(1) + " ",
      " sha256:" + hex,
      "sha256: " + hex.substr(1),
      "SHA256:" + hex,
      "sha1:" + std::string(40, 'f'),
      "md5:" + std::string(32, 'f'),
      "sha384:" + std::string(96, 'f'),
      "sha512:" + hex,
      "sha256:" + std::string(128, 'f'),
      "sha256+b64:" + hex,
      "sha256:../../../../../../../../../../../../../../../../../../etc/passwd",
      std::string("sha256:") + std::string(63, 'f') + '\0',
  };
  for (const auto& text : bad) {
    EXPECT_FALSE(Digest::try_parse(text)) << text;
    EXPECT_THROW(Digest::parse(text), Error) << text;
  }
}

TEST(Digest, SaysWhatIsWrong) {
  EXPECT_NE(refusal_of("nothing").find("no algorithm"), std::string::npos);
  EXPECT_NE(refusal_of("md5:00").find("neither sha256 nor sha512"), std::string::npos);
  EXPECT_NE(refusal_of("sha256:00").find("wrong number"), std::string::npos);
  EXPECT_NE(refusal_of("sha256:" + std::string(64, 'A')).find("lower-case"), std::string::npos);
}

TEST(Digest, MessagesAreShortAndHarmlessToATerminal) {
  const auto message = refusal_of("sha256:\x1b[31m" + std::string(100'000, 'x'));
  EXPECT_LT(message.size(), 300U);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Digest, DefaultIsEmpty) {
  const Digest none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.algorithm(), "");
  EXPECT_EQ(none.hex(), "");
  EXPECT_NE(none, Digest::parse(sha256_abc));
}

TEST(Digest, IsComparedByItsText) {
  const auto a = Digest::parse("sha256:" + std::string(64, 'a'));
  const auto b = Digest::parse("sha256:" + std::string(64, 'b'));
  EXPECT_LT(a, b);
  EXPECT_EQ(a, Digest::parse(a.str()));
  const std::unordered_set<Digest> set{a, b, a};
  EXPECT_EQ(set.size(), 2U);
}

TEST(Digest, ComputesSha256) {
  EXPECT_EQ(Digest::sha256_of("").str(), sha256_empty);
  EXPECT_EQ(Digest::sha256_of("abc").str(), sha256_abc);
  EXPECT_EQ(Digest::sha256_of(bytes_of("abc")).str(), sha256_abc);
}

TEST(Hasher, DigestsPiecesAsTheWhole) {
  const std::string text(100'000, 'z');
  Hasher hasher;
  std::size_t at = 0;
  for (std::size_t piece = 0; at < text.size(); piece = piece * 3 + 1) {
    const auto part = std::string_view(text).substr(at, piece);
    hasher.update(bytes_of(part));
    at += part.size();
  }
  EXPECT_EQ(hasher.finish(), Digest::sha256_of(text));
}

TEST(Hasher, KnowsSha512) {
  Hasher hasher("sha512");
  hasher.update(bytes_of("abc"));
  EXPECT_EQ(hasher.finish().str(), sha512_abc);
}

TEST(Hasher, UsesTheAlgorithmOfTheExpectedDigest) {
  for (const auto& expected : {sha256_abc, sha512_abc}) {
    Hasher hasher(Digest::parse(expected).algorithm());
    hasher.update(bytes_of("abc"));
    EXPECT_EQ(hasher.finish().str(), expected);
  }
}

TEST(Hasher, RefusesAnUnknownAlgorithm) {
  EXPECT_THROW(Hasher("md5"), Error);
}

TEST(Hasher, IsSpentByFinish) {
  Hasher hasher;
  hasher.finish();
  EXPECT_THROW(hasher.update(bytes_of("a")), Error);
  EXPECT_THROW(hasher.finish(), Error);
}

TEST(Hasher, KeepsItsStateWhenMoved) {
  Hasher first;
  first.update(bytes_of("a"));
  Hasher second(std::move(first));
  second.update(bytes_of("bc"));
  Hasher third("sha512");
  third = std::move(second);
  EXPECT_EQ(third.finish().str(), sha256_abc);
}

}  // namespace
}  // namespace lazypull
