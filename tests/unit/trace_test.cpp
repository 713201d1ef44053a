#include "engine/trace.hpp"

#include "engine/error.hpp"
#include "engine/puller.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/fake_ports.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace lazypull {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::SizeIs;

std::vector<std::string> names(const std::vector<SpanRecord>& spans) {
  std::vector<std::string> names;
  for (const auto& span : spans) names.emplace_back(span.name);
  return names;
}

std::vector<std::string> tree(const Tracer& tracer) {
  std::vector<std::string> lines;
  for (const auto& span : tracer.live()) {
    lines.push_back(std::string(span.depth, '>') + std::string(span.name) +
                    (span.object.empty() ? "" : " " + span.object));
  }
  return lines;
}

TEST(Trace, ASpanWithoutATracerIsNothing) {
  Span span(TracePoint(), "resolve", "registry", "app:1");
  span.argument("bytes", 5);
  span.take_requests();
  EXPECT_FALSE(span.open());
  EXPECT_EQ(span.point().tracer, nullptr);
}

TEST(Trace, SpansKnowTheirParentAndWhatTheyAreAbout) {
  Tracer tracer(TraceMode::recording);
  {
    const Span outer(tracer.root(), "pull", "pull", "app:1");
    Span inner(outer.point(), "connect", "registry", "registry.example.com");
    inner.argument("bytes", 12);
    inner.argument("why", "because");
  }
  ASSERT_THAT(names(tracer.ended()), ElementsAre("connect", "pull"));
  const auto& inner = tracer.ended()[0];
  const auto& outer = tracer.ended()[1];
  EXPECT_EQ(inner.parent, outer.id);
  EXPECT_EQ(outer.parent, 0U);
  EXPECT_EQ(inner.object, "registry.example.com");
  EXPECT_EQ(inner.category, "registry");
  EXPECT_LE(outer.start, inner.start);
  EXPECT_GE(outer.end, inner.end);
  ASSERT_THAT(inner.arguments, SizeIs(2));
  EXPECT_EQ(std::get<std::uint64_t>(inner.arguments[0].value), 12U);
  EXPECT_EQ(std::get<std::string>(inner.arguments[1].value), "because");
}

TEST(Trace, WhatHasNotEndedIsATreeWithAges) {
  Tracer tracer(TraceMode::live);
  const Span pull(tracer.root(), "pull", "pull", "app:1");
  const Span first(pull.point(), "fetch", "layer", "a");
  const Span second(pull.point(), "fetch", "layer", "b");
  const Span connect(first.point(), "connect", "registry");
  const Span other(tracer.root(), "pull", "pull", "db:7");
  EXPECT_THAT(tree(tracer), ElementsAre("pull app:1", ">fetch a", ">>connect", ">fetch b", "pull db:7"));
  const auto later = tracer.live(std::chrono::steady_clock::now() + 1h);
  EXPECT_GE(later[0].age, 1h);
  EXPECT_GE(later[0].age, later[1].age);
}

TEST(Trace, AChildOutlivesItsParentAsARoot) {
  Tracer tracer(TraceMode::live);
  Span parent(tracer.root(), "pull", "pull");
  const Span child(parent.point(), "fetch", "layer");
  parent.end();
  EXPECT_THAT(tree(tracer), ElementsAre("fetch"));
}

TEST(Trace, InLiveModeWhatHasEndedIsForgotten) {
  Tracer tracer(TraceMode::live);
  for (int i = 0; i < 1000; ++i) const Span span(tracer.root(), "fetch", "layer");
  record_work(tracer.root(), "inflate", "unpack", "a", {tracer.started(), tracer.started() + 1s, 0s});
  EXPECT_THAT(tracer.ended(), IsEmpty());
  EXPECT_EQ(tracer.live_count(), 0U);
}

TEST(Trace, BeyondTheLimitsSpansAreCountedAndTheirChildrenMoveUp) {
  Tracer tracer(TraceMode::recording, {.live = 2, .ended = 3});
  {
    const Span one(tracer.root(), "one", "pull");
    Span two(one.point(), "two", "pull");
    const Span dropped(two.point(), "dropped", "pull");
    EXPECT_FALSE(dropped.open());
    EXPECT_EQ(dropped.point().span, two.point().span);
    two.end();
    for (int i = 0; i < 3; ++i) const Span more(dropped.point(), "more", "pull");
  }
  EXPECT_THAT(names(tracer.ended()), ElementsAre("two", "more", "more"));
  EXPECT_EQ(tracer.dropped(), 3U);
}

TEST(Trace, AnExceptionMarksTheSpansThatItEnds) {
  Tracer tracer(TraceMode::recording);
  const Span outer(tracer.root(), "outer", "pull");
  try {
    const Span inner(outer.point(), "inner", "pull");
    throw Error(Errc::not_found, "no");
  } catch (const Error&) {
    const Span clean_up(outer.point(), "clean up", "pull");
  }
  ASSERT_THAT(names(tracer.ended()), ElementsAre("inner", "clean up"));
  EXPECT_TRUE(tracer.ended()[0].failed);
  EXPECT_FALSE(tracer.ended()[1].failed);
}

TEST(Trace, AMovedSpanEndsOnce) {
  Tracer tracer(TraceMode::recording);
  {
    Span first(tracer.root(), "first", "pull");
    Span second = std::move(first);
    Span third(tracer.root(), "third", "pull");
    third = std::move(second);
    EXPECT_THAT(names(tracer.ended()), ElementsAre("third"));
  }
  EXPECT_THAT(names(tracer.ended()), ElementsAre("third", "first"));
}

TEST(Trace, RequestsFindTheSpanThatTakesThem) {
  Tracer tracer(TraceMode::live);
  Span download(tracer.root(), "download", "layer", "sha256:a");
  download.take_requests();
  const auto id = download.point().span;
  EXPECT_EQ(tracer.taker_of("sha256:a", "app:1").span, id);
  EXPECT_EQ(tracer.taker_of("latest", "sha256:a").span, id);
  EXPECT_EQ(tracer.taker_of("sha256:b", "app:1").span, 0U);
  download.end();
  EXPECT_EQ(tracer.taker_of("sha256:a", "app:1").span, 0U);
}

TEST(Trace, WorkOfOtherThreadsIsRecordedWithItsOwnTimes) {
  Tracer tracer(TraceMode::recording);
  const auto start = tracer.started() + 5ms;
  record_work(tracer.root(), "inflate", "unpack", "sha256:a", {start, start + 20ms, 7ms});
  record_work(tracer.root(), "extract", "unpack", "sha256:a", WorkTime());
  ASSERT_THAT(tracer.ended(), SizeIs(1)) << "what has not happened is no span";
  EXPECT_EQ(tracer.ended()[0].start, start);
  EXPECT_EQ(tracer.ended()[0].end, start + 20ms);
  EXPECT_EQ(std::get<std::uint64_t>(tracer.ended()[0].arguments.at(0).value), 7000U);
}

class TracedPull : public ::testing::Test {
 protected:
  TracedPull() {
    image = test::make_image(registry, stores, {{"one", {}}, {"two", {}}, {"three", {}}});
    registry.tag(reference, image.manifest);
    options.platforms = {Platform::parse("linux/amd64")};
    options.trace = tracer.root();
  }

  void pull() {
    PullReport report;
    test::run(pull_image({registry, registry, stores}, reference, options, report));
  }

  std::vector<SpanRecord> spans(std::string_view name) const {
    std::vector<SpanRecord> found;
    for (const auto& span : tracer.ended()) {
      if (span.name == name) found.push_back(span);
    }
    return found;
  }

  std::string parent_of(const SpanRecord& span) const {
    for (const auto& other : tracer.ended()) {
      if (other.id == span.parent) return std::string(other.name);
    }
    return "";
  }

  test::FakeRegistry registry;
  test::FakeStores stores;
  Tracer tracer{TraceMode::recording};
  PullOptions options;
  Reference reference = Reference::parse("registry.example.com/app:1");
  test::FakeImage image;
};

TEST_F(TracedPull, HasASpanForEachThingThatIsDone) {
  pull();
  EXPECT_THAT(names(tracer.ended()),
              IsSupersetOf({"pull", "resolve", "lease", "metadata", "manifest", "config", "layers", "layer",
                            "Stat", "Prepare", "fetch", "wait", "download", "commit", "extract", "Commit",
                            "record", "image record", "release"}));
  EXPECT_THAT(spans("fetch"), SizeIs(3));
  EXPECT_THAT(spans("Prepare"), SizeIs(3));
  EXPECT_THAT(spans("Commit"), SizeIs(3));
  EXPECT_EQ(tracer.live_count(), 0U);
}

TEST_F(TracedPull, SpansBelongToWhatTheyArePartOf) {
  pull();
  EXPECT_EQ(parent_of(spans("layers").at(0)), "pull");
  EXPECT_EQ(parent_of(spans("fetch").at(0)), "layers");
  EXPECT_EQ(parent_of(spans("download").at(0)), "fetch");
  EXPECT_EQ(parent_of(spans("Prepare").at(0)), "layer");
  EXPECT_EQ(parent_of(spans("manifest").at(0)), "metadata");
  EXPECT_EQ(parent_of(spans("image record").at(0)), "record");
  EXPECT_EQ(spans("config").at(0).object, image.config.digest.str());
  EXPECT_EQ(spans("Commit").at(0).object, image.chain_ids.at(0));
}

TEST_F(TracedPull, NoSpanIsLongerThanItsParent) {
  stores.streams = true;
  pull();
  for (const auto& span : tracer.ended()) {
    for (const auto& parent : tracer.ended()) {
      if (parent.id != span.parent) continue;
      EXPECT_GE(span.start, parent.start) << span.name << " in " << parent.name;
      EXPECT_LE(span.end, parent.end) << span.name << " in " << parent.name;
    }
  }
}

TEST_F(TracedPull, AFailedPullSaysWhichSpansHaveFailed) {
  registry.refuse.emplace(image.layers[1].digest, Error(Errc::forbidden, "no"));
  EXPECT_THROW(pull(), Error);
  EXPECT_TRUE(spans("pull").at(0).failed);
  EXPECT_TRUE(spans("layers").at(0).failed);
  EXPECT_FALSE(spans("resolve").at(0).failed);
  EXPECT_EQ(tracer.live_count(), 0U);
}

}  // namespace
}  // namespace lazypull
