#include "engine/chain_id.hpp"

#include <gtest/gtest.h>

#include <string>

namespace lazypull {
namespace {

Digest digest_of(char digit) {
  return Digest::parse("sha256:" + std::string(64, digit));
}

TEST(ChainId, OfNoLayersIsEmpty) {
  EXPECT_TRUE(chain_ids({}).empty());
}

TEST(ChainId, OfOneLayerIsItsDiffId) {
  const std::vector<Digest> diff_ids{digest_of('1')};
  EXPECT_EQ(chain_ids(diff_ids), diff_ids);
}

TEST(ChainId, OfFurtherLayersIsTheDigestOfParentAndDiffId) {
  const std::vector<Digest> diff_ids{digest_of('1'), digest_of('2'), digest_of('3')};
  const auto chain = chain_ids(diff_ids);
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_EQ(chain[0], diff_ids[0]);
  EXPECT_EQ(chain[1], Digest::sha256_of(diff_ids[0].str() + " " + diff_ids[1].str()));
  EXPECT_EQ(chain[2], Digest::sha256_of(chain[1].str() + " " + diff_ids[2].str()));
}

TEST(ChainId, MatchesValuesComputedElsewhere) {
  // printf 'sha256:11…11 sha256:22…22' | sha256sum, and so on.
  const std::vector<Digest> diff_ids{digest_of('1'), digest_of('2'), digest_of('3')};
  const auto chain = chain_ids(diff_ids);
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_EQ(chain[1].str(), "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5");
  EXPECT_EQ(chain[2].str(), "sha256:50127c0d6b338be78246434b4bce23ecf75e505158ea0bbd15effeb162fbf3ec");
}

TEST(ChainId, OfAPrefixDoesNotDependOnWhatIsAbove) {
  const std::vector<Digest> lower{digest_of('1'), digest_of('2')};
  const std::vector<Digest> all{digest_of('1'), digest_of('2'), digest_of('3')};
  EXPECT_EQ(chain_ids(lower)[1], chain_ids(all)[1]);
}

TEST(ChainId, DependsOnTheOrderOfLayers) {
  const std::vector<Digest> one{digest_of('1'), digest_of('2')};
  const std::vector<Digest> other{digest_of('2'), digest_of('1')};
  EXPECT_NE(chain_ids(one)[1], chain_ids(other)[1]);
}

TEST(ChainId, IsSha256EvenOfSha512DiffIds) {
  const auto wide = Digest::parse("sha512:" + std::string(128, 'a'));
  const std::vector<Digest> diff_ids{wide, wide};
  const auto chain = chain_ids(diff_ids);
  EXPECT_EQ(chain[0], wide);
  EXPECT_EQ(chain[1], Digest::sha256_of(wide.str() + " " + wide.str()));
}

}  // namespace
}  // namespace lazypull
