// Layers that are extracted while they arrive, and put into their snapshots in chain order.

#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/labels.hpp"
#include "engine/puller.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace lazypull {
namespace {

using test::FakeImage;
using test::FakeLayer;
using test::FakeRegistry;
using test::FakeStores;
using test::make_image;
using test::run;
using testing::ElementsAre;
using testing::HasSubstr;

class StreamingPull : public ::testing::Test {
 protected:
  StreamingPull() {
    stores.streams = true;
    options.local_snapshotter = true;
  }

  void pull() { run(pull_image({registry, registry, stores}, reference, options, report)); }

  Error failure_of_pull() {
    try {
      pull();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the pull succeeded";
    return Error(Errc::internal, "");
  }

  FakeImage image_of(const std::vector<FakeLayer>& layers) {
    FakeImage image = make_image(registry, stores, layers);
    registry.tag(reference, image.manifest);
    return image;
  }

  std::vector<std::string> calls_that_begin(std::string_view prefix) const {
    std::vector<std::string> found;
    std::ranges::copy_if(stores.calls, std::back_inserter(found),
                         [&](const std::string& call) { return call.starts_with(prefix); });
    return found;
  }
  std::ptrdiff_t position(const std::string& call) const {
    return std::ranges::find(stores.calls, call) - stores.calls.begin();
  }

  FakeRegistry registry;
  FakeStores stores;
  Reference reference = Reference::parse("registry.example.com/app:1");
  PullOptions options;
  PullReport report;
};

std::string place(const Descriptor& layer) {
  return "place " + layer.digest.str();
}

TEST_F(StreamingPull, PlacesEachLayerInChainOrderAndAppliesNoneFromTheStore) {
  const auto image = image_of({{"one", {}}, {"two", {}}, {"three", {}}});
  pull();
  EXPECT_THAT(calls_that_begin("place"),
              ElementsAre(place(image.layers[0]), place(image.layers[1]), place(image.layers[2])));
  EXPECT_EQ(stores.count("apply"), 0U);
  for (const auto& layer : image.layers) EXPECT_TRUE(stores.content.contains(layer.digest));
  for (const auto& chain : image.chain_ids) EXPECT_TRUE(stores.snapshots.contains(chain));
  EXPECT_EQ(stores.active_snapshots(), 0U);
}

TEST_F(StreamingPull, OnlyTheFirstLayerIsTheLowest) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  pull();
  EXPECT_EQ(stores.count("start lowest " + image.layers[0].digest.str()), 1U);
  EXPECT_EQ(stores.count("start " + image.layers[1].digest.str()), 1U);
}

TEST_F(StreamingPull, AnUpperLayerIsExtractedBeforeTheLowerOneHasArrived) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  asio::io_context home(1);
  Event upper_is_done(home.get_executor());
  const std::string upper = "extracted " + image.layers[1].digest.str();
  stores.before_call = [&](std::string call) -> Awaitable<> {
    if (call == upper) upper_is_done.set();
    co_return;
  };
  const Digest lower = image.layers[0].digest;
  registry.before_body = [&](Digest digest) -> Awaitable<> {
    if (digest == lower) co_await upper_is_done.wait();
  };
  test::run_on(home, pull_image({registry, registry, stores}, reference, options, report));
  EXPECT_LT(position(upper), position(place(image.layers[0])));
  EXPECT_LT(position(place(image.layers[0])), position(place(image.layers[1])));
}

TEST_F(StreamingPull, TheBlobIsMarkedWithWhatItUnpacksTo) {
  const auto image = image_of({{"one", {}}});
  pull();
  EXPECT_EQ(stores.content.at(image.layers[0].digest).labels.at("containerd.io/uncompressed"),
            image.diff_ids[0].str());
}

TEST_F(StreamingPull, ALayerWithAnotherDiffIdIsNotPlaced) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  stores.diff_ids[image.layers[1].digest] = Digest::sha256_of("something else");
  const auto error = failure_of_pull();
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_THAT(error.message(), HasSubstr(image.diff_ids[1].str()));
  EXPECT_EQ(stores.count(place(image.layers[1])), 0U);
  EXPECT_EQ(stores.active_snapshots(), 0U);
  EXPECT_EQ(stores.leases, 0);
}

TEST_F(StreamingPull, BytesThatAreNotTheBlobsAreNotPlaced) {
  const auto image = image_of({{"one", {}}});
  registry.served_instead[image.layers[0].digest] = "eno";
  EXPECT_EQ(failure_of_pull().code(), Errc::digest_mismatch);
  EXPECT_EQ(stores.count("place"), 0U);
  EXPECT_FALSE(stores.content.contains(image.layers[0].digest));
  EXPECT_EQ(stores.ingests.size(), 0U);
}

TEST_F(StreamingPull, WhatTheMountsCannotTakeIsAppliedFromTheStore) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  stores.places = false;
  pull();
  EXPECT_EQ(stores.count("apply"), 2U);
  EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[1]));
}

TEST_F(StreamingPull, AResumedLayerIsExtractedFromTheStoreSinceItsFirstBytesHavePassed) {
  const auto image = image_of({{"one and more", {}}});
  stores.ingests[ingest_ref(image.layers[0])] = "one";
  pull();
  EXPECT_EQ(stores.count("open " + image.layers[0].digest.str()), 1U);
  EXPECT_EQ(stores.count("place"), 1U);
  EXPECT_LT(position("commit content " + ingest_ref(image.layers[0])),
            position("open " + image.layers[0].digest.str()));
}

TEST_F(StreamingPull, APresentLayerIsExtractedFromTheStore) {
  const auto image = image_of({{"one", {}}});
  stores.content[image.layers[0].digest] = {"one", {}};
  pull();
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 0U);
  EXPECT_EQ(stores.count("place"), 1U);
  EXPECT_EQ(report.images[0].layers[0].decision, LayerDecision::present);
}

TEST_F(StreamingPull, LayersWithTheSameContentAreDownloadedOnceAndPlacedEach) {
  const auto image = image_of({{"same", {}}, {"other", {}}, {"same", {}}});
  pull();
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 1U);
  EXPECT_EQ(stores.count(place(image.layers[0])), 2U);
}

TEST_F(StreamingPull, ABrokenConnectionGoesOnInTheSameExtraction) {
  const auto image = image_of({{"one and much more than a piece", {}}});
  registry.breaks[image.layers[0].digest] = {14};
  pull();
  EXPECT_EQ(registry.times_opened(image.layers[0].digest), 2U);
  EXPECT_EQ(stores.count("start"), 1U);
  EXPECT_EQ(stores.count("place"), 1U);
}

TEST_F(StreamingPull, FetchExtractsNothing) {
  image_of({{"one", {}}});
  options.unpack = false;
  pull();
  EXPECT_EQ(stores.count("start"), 0U);
}

TEST_F(StreamingPull, DiscardedLayersAreNeverStoredAndNothingRefersToThem) {
  options.discard_unpacked_layers = true;
  const auto image = image_of({{"one", {}}, {"two", {}}});
  pull();
  EXPECT_EQ(stores.count("ingest layer-"), 0U);
  for (const auto& layer : image.layers) EXPECT_FALSE(stores.content.contains(layer.digest));
  const auto& manifest = stores.content.at(image.manifest.digest).labels;
  EXPECT_TRUE(manifest.contains("containerd.io/gc.ref.content.config"));
  EXPECT_FALSE(manifest.contains("containerd.io/gc.ref.content.l.0"));
  EXPECT_TRUE(stores.snapshots.contains(image.chain_ids[1]));
}

TEST_F(StreamingPull, ADiscardedLayerIsStillVerified) {
  options.discard_unpacked_layers = true;
  const auto image = image_of({{"one", {}}});
  registry.served_instead[image.layers[0].digest] = "eno";
  EXPECT_EQ(failure_of_pull().code(), Errc::digest_mismatch);
  EXPECT_EQ(stores.count("place"), 0U);
}

TEST_F(StreamingPull, DiscardedLayersWithTheSameContentAreEachDownloaded) {
  options.discard_unpacked_layers = true;
  const auto image = image_of({{"same", {}}, {"other", {}}, {"same", {}}});
  pull();
  EXPECT_EQ(stores.count(place(image.layers[0])), 2U);
}

TEST_F(StreamingPull, WhereLayersCannotBeStreamedDiscardingLeavesThemToGarbageCollection) {
  stores.streams = false;
  options.discard_unpacked_layers = true;
  const auto image = image_of({{"one", {}}});
  pull();
  EXPECT_EQ(stores.count("apply"), 1U);
  EXPECT_FALSE(stores.content.at(image.manifest.digest).labels.contains("containerd.io/gc.ref.content.l.0"));
}

TEST_F(StreamingPull, AFailedLayerDropsWhatOthersHaveExtracted) {
  const auto image = image_of({{"one", {}}, {"two", {}}});
  registry.refuse.emplace(image.layers[0].digest, Error(Errc::not_found, "gone"));
  EXPECT_EQ(failure_of_pull().code(), Errc::not_found);
  EXPECT_EQ(stores.count("place"), 0U);
  EXPECT_EQ(stores.count("start "), stores.count("drop "));
}

}  // namespace
}  // namespace lazypull
