// Layers that a mirror has served wrong, or that have come in pieces which do not fit together: they are
// fetched again, alone.
#include "engine/error.hpp"
#include "engine/puller.hpp"
#include "engine/retry_budget.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

using test::FakeImage;
using test::FakeLayer;
using test::FakeRegistry;
using test::FakeStores;
using test::make_image;
using test::run;
using testing::HasSubstr;

class LayerRetry : public ::testing::TestWithParam<bool> {
 protected:
  LayerRetry() {
    stores.streams = GetParam();
    options.local_snapshotter = true;
    image = make_image(registry, stores, {{"the first layer", {}}, {"the second layer", {}}});
    registry.tag(reference, image.manifest);
  }

  void pull() { run(pull_image({registry, registry, stores}, reference, options, report)); }
  Error failure_of_pull() {
    try {
      pull();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the pull succeeded";
    return {Errc::internal, ""};
  }
  const Digest& first() const { return image.layers[0].digest; }
  const Digest& second() const { return image.layers[1].digest; }
  /// As many bytes as the second layer has.
  static std::string wrong(std::size_t number = 0) {
    return "a wrong" + std::string(8, 'x') + std::to_string(number);
  }

  void expect_all_right() {
    EXPECT_EQ(stores.content.at(second()).bytes, "the second layer");
    EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[1]));
    EXPECT_EQ(stores.ingests.size(), 0U);
    EXPECT_EQ(stores.active_snapshots(), 0U);
    EXPECT_EQ(registry.times_opened(first()), 1U) << "the other layer is none of its business";
    EXPECT_EQ(registry.times_opened(image.manifest.digest), 1U);
  }

  Reference reference = Reference::parse("registry.example.com/app:1");
  FakeRegistry registry;
  FakeStores stores;
  PullOptions options;
  PullReport report;
  FakeImage image;
};

INSTANTIATE_TEST_SUITE_P(OnTheWay, LayerRetry, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Extracted" : "Stored"; });

TEST_P(LayerRetry, WhatAMirrorHasServedWrongIsFetchedAgainAlone) {
  registry.corrupt_mirror[second()] = {1, wrong()};
  pull();
  EXPECT_EQ(registry.times_opened(second()), 2U);
  EXPECT_EQ(registry.opened.back().second, 0U) << "from the first byte";
  EXPECT_EQ(report.images[0].layers[1].bytes_done, 16U);
  expect_all_right();
}

TEST_P(LayerRetry, AsOftenAsThereAreMirrorsThatServeItWrong) {
  registry.corrupt_mirror[second()] = {5, wrong()};
  pull();
  EXPECT_EQ(registry.times_opened(second()), 6U);
  expect_all_right();
}

TEST_P(LayerRetry, ButNotForEver) {
  registry.corrupt_mirror[second()] = {1000, wrong()};
  EXPECT_EQ(failure_of_pull().code(), Errc::digest_mismatch);
  EXPECT_LE(registry.times_opened(second()), 10U);
  EXPECT_EQ(stores.ingests.count("layer-" + second().str()), 0U);
}

TEST_P(LayerRetry, EachTryIsOneOfTheBudget) {
  registry.corrupt_mirror[second()] = {1000, wrong()};
  options.retries = std::make_shared<RetryBudget>(2);
  EXPECT_THAT(failure_of_pull().message(), HasSubstr("the retry budget of this pull (2) is spent"));
  EXPECT_EQ(registry.times_opened(second()), 3U);
}

TEST_P(LayerRetry, WhatTheRegistryItselfServesWrongInOneGoIsNotAskedForAgain) {
  registry.served_instead[second()] = wrong();
  EXPECT_EQ(failure_of_pull().code(), Errc::digest_mismatch);
  EXPECT_EQ(registry.times_opened(second()), 1U);
}

TEST_P(LayerRetry, AnEarlierTryThatLeftWrongBytesIsStartedAnew) {
  stores.ingests["layer-" + second().str()] = "something";
  pull();
  EXPECT_EQ(registry.times_opened(second()), 2U);
  expect_all_right();
}

TEST_P(LayerRetry, AConnectionThatBrokeAndBytesThatAreWrongAreTriedAFewTimes) {
  registry.served_instead[second()] = wrong();
  registry.breaks[second()] = {5, 1000, 5, 1000, 5, 1000, 5, 1000};
  EXPECT_EQ(failure_of_pull().code(), Errc::digest_mismatch);
  EXPECT_EQ(registry.times_opened(second()), 6U) << "three tries of two connections";
}

TEST_P(LayerRetry, AnArchiveThatAMirrorHasBrokenIsItsFault) {
  registry.corrupt_mirror[second()] = {1, "!nvalid archive "};
  pull();
  EXPECT_EQ(registry.times_opened(second()), 2U);
  expect_all_right();
}

TEST_P(LayerRetry, WhatIsNotStoredIsFetchedAgainAsWell) {
  if (!GetParam()) return;  // only what is extracted on the way can do without the store
  options.discard_unpacked_layers = true;
  registry.corrupt_mirror[second()] = {1, "!nvalid archive "};
  pull();
  EXPECT_EQ(registry.times_opened(second()), 2U);
  EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[1]));
  EXPECT_FALSE(stores.content.contains(second()));
}

TEST_P(LayerRetry, AManifestThatIsCutGoesOnWhereItWas) {
  registry.breaks[image.manifest.digest] = {10, 20};
  pull();
  EXPECT_EQ(registry.times_opened(image.manifest.digest), 3U);
  EXPECT_EQ(registry.opened[2].second, 20U);
}

}  // namespace
}  // namespace lazypull
