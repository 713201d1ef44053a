// What a specification of an experiment may say, and how it is told what is wrong with it.

#include "engine/error.hpp"
#include "tools/experiment/spec.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::experiment {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr const char* complete = R"(
name: start-up
seed: 7
repetitions: 3
pull_timeout: 2m
images:
  - name: web
    layout: images/web
    base_layers: 2
    start:
      command: [httpd, -p, "8000"]
      env: [HOME=/root]
      user: "1:1"
      ready: {tcp: 8000}
      timeout: 5s
  - name: db
    layout: /images/db
    base_layers: 1
    start: false
networks:
  - {name: near}
  - {name: far, latency: 20ms, bandwidth: 10M}
matrix:
  pullers: [lazypull, ctr]
  snapshotters: [overlayfs, native]
  unpack: [direct, diff-service]
  caches: [cold, base-warm]
  exclude:
    - {image: db, puller: ctr}
programs: {stargz: peers/stargz}
work: scratch
)";

Spec parse(const std::string& text) {
  return parse_spec(text, "spec.yaml", "/here");
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.message();
  }
  ADD_FAILURE() << "it was accepted";
  return "";
}

/// A specification with one more line.
std::string with(const std::string& line) {
  return "name: a\nimages: [{name: web, layout: web}]\n" + line + "\n";
}

TEST(ExperimentSpec, SaysWhatIsVaried) {
  const auto spec = parse(complete);
  EXPECT_EQ(spec.name, "start-up");
  EXPECT_EQ(spec.seed, 7U);
  EXPECT_EQ(spec.repetitions, 3U);
  EXPECT_EQ(spec.pull_timeout, 2min);
  EXPECT_THAT(spec.pullers, ElementsAre(Puller::lazypull, Puller::ctr));
  EXPECT_THAT(spec.snapshotters, ElementsAre(SnapshotterKind::overlayfs, SnapshotterKind::native));
  EXPECT_THAT(spec.unpack, ElementsAre(Unpack::direct, Unpack::diff_service));
  EXPECT_THAT(spec.caches, ElementsAre(CacheState::cold, CacheState::base_warm));
  ASSERT_EQ(spec.exclude.size(), 1U);
  EXPECT_EQ(spec.exclude[0].image, "db");
  EXPECT_EQ(spec.exclude[0].puller, "ctr");
}

TEST(ExperimentSpec, SaysHowAContainerIsStarted) {
  const auto spec = parse(complete);
  ASSERT_EQ(spec.images.size(), 2U);
  const auto& web = spec.images[0];
  EXPECT_THAT(web.command, ElementsAre("httpd", "-p", "8000"));
  EXPECT_THAT(web.env, ElementsAre("HOME=/root"));
  EXPECT_EQ(web.user, "1:1");
  EXPECT_EQ(web.ready.kind, Readiness::Kind::tcp);
  EXPECT_EQ(web.ready.port, 8000);
  EXPECT_EQ(web.timeout, 5s);
  EXPECT_FALSE(spec.images[1].start);
}

TEST(ExperimentSpec, PathsAreRelativeToItsFolder) {
  const auto spec = parse(complete);
  EXPECT_EQ(spec.images[0].layout, "/here/images/web");
  EXPECT_EQ(spec.images[1].layout, "/images/db");
  EXPECT_EQ(spec.work, "/here/scratch");
  EXPECT_EQ(spec.programs.stargz, "/here/peers/stargz");
  EXPECT_EQ(spec.programs.ctr, "ctr");
}

TEST(ExperimentSpec, ANetworkWithoutFaultsNeedsNoProxy) {
  const auto spec = parse(complete);
  ASSERT_EQ(spec.networks.size(), 2U);
  EXPECT_TRUE(spec.networks[0].direct());
  EXPECT_FALSE(spec.networks[1].direct());
  EXPECT_EQ(spec.networks[1].faults.latency, 20ms);
  EXPECT_EQ(spec.networks[1].faults.bandwidth, 10U << 20U);
}

TEST(ExperimentSpec, ANetworkMayLoseConnections) {
  const auto spec = parse(with("networks: [{name: bad, cut_mean: 5M, faults: ['status,code=503,times=1']}]"));
  EXPECT_EQ(spec.networks[0].faults.cut_mean, 5U << 20U);
  ASSERT_EQ(spec.networks[0].faults.rules.size(), 1U);
  EXPECT_EQ(spec.networks[0].faults.rules[0].kind, FaultKind::status);
  EXPECT_THAT(refusal(with("networks: [{name: bad, faults: [nonsense]}]")),
              HasSubstr("networks[0].faults[0]"));
}

TEST(ExperimentSpec, ASmallOneHasDefaults) {
  const auto spec = parse(with(""));
  EXPECT_EQ(spec.repetitions, 5U);
  EXPECT_THAT(spec.pullers, ElementsAre(Puller::lazypull));
  EXPECT_THAT(spec.caches, ElementsAre(CacheState::cold));
  ASSERT_EQ(spec.networks.size(), 1U);
  EXPECT_EQ(spec.networks[0].name, "direct");
  EXPECT_EQ(spec.images[0].ready.kind, Readiness::Kind::first_line);
}

TEST(ExperimentSpec, AnUnknownKeyIsRefusedWithItsLine) {
  EXPECT_EQ(refusal(with("repetition: 3")), "spec.yaml:3: repetition: there is no such key");
  EXPECT_THAT(refusal(with("matrix: {puller: [ctr]}")), HasSubstr("matrix.puller: there is no such key"));
  EXPECT_THAT(refusal("name: a\nimages: [{name: web, layout: web, start: {ready: {udp: 53}}}]\n"),
              HasSubstr("images[0].start.ready.udp: there is no such key"));
}

TEST(ExperimentSpec, AKeyThatIsThereTwiceIsRefused) {
  EXPECT_THAT(refusal(with("seed: 1\nseed: 2")), HasSubstr("spec.yaml:4: seed: is there twice"));
}

TEST(ExperimentSpec, WhatIsMissingIsNamed) {
  EXPECT_THAT(refusal("images: [{name: web, layout: web}]"), HasSubstr("'name' is missing"));
  EXPECT_THAT(refusal("name: a"), HasSubstr("'images' is missing"));
  EXPECT_THAT(refusal("name: a\nimages: [{name: web}]"), HasSubstr("images[0]: 'layout' is missing"));
  EXPECT_THAT(refusal("name: a\nimages: []"), HasSubstr("images: is empty"));
}

TEST(ExperimentSpec, ValuesThatAreOutOfBoundsAreRefused) {
  EXPECT_THAT(refusal(with("repetitions: 0")), HasSubstr("'0' is not a number from 1 to 1000"));
  EXPECT_THAT(refusal(with("repetitions: -1")), HasSubstr("'-1' is not a number"));
  EXPECT_THAT(refusal(with("repetitions: 1001")), HasSubstr("not a number from 1 to 1000"));
  EXPECT_THAT(refusal(with("pull_timeout: soon")), HasSubstr("'soon' is not a duration"));
  EXPECT_THAT(refusal(with("matrix: {pullers: [docker]}")),
              HasSubstr("'docker' is none of lazypull, ctr, ctr-remote"));
  EXPECT_THAT(refusal(with("matrix: {pullers: [ctr, ctr]}")), HasSubstr("matrix.pullers[1]: is there twice"));
  EXPECT_THAT(refusal(with("matrix: {pullers: []}")), HasSubstr("matrix.pullers: is empty"));
  EXPECT_THAT(refusal(with("networks: [{name: far, latency: fast}]")), HasSubstr("networks[0].latency"));
}

TEST(ExperimentSpec, NamesAreSafeInPathsAndReferences) {
  for (const auto* name : {"../up", "Web", "a b", "-a", "a/b", ".."}) {
    EXPECT_THAT(refusal("name: a\nimages: [{name: '" + std::string(name) + "', layout: web}]"),
                HasSubstr("is no name"))
        << name;
  }
  EXPECT_THAT(refusal("name: a\nimages: [{name: web, layout: a}, {name: web, layout: b}]"),
              HasSubstr("images[1]: the name 'web' is there twice"));
}

TEST(ExperimentSpec, ExactlyOneSignSaysThatAContainerIsReady) {
  EXPECT_THAT(refusal("name: a\nimages: [{name: web, layout: a, start: {ready: {tcp: 1, log: up}}}]"),
              HasSubstr("needs exactly one of log, tcp and command"));
  EXPECT_THAT(refusal("name: a\nimages: [{name: web, layout: a, start: {ready: {}}}]"),
              HasSubstr("needs exactly one"));
}

TEST(ExperimentSpec, WarmBaseLayersMustBeCounted) {
  EXPECT_THAT(refusal(with("matrix: {caches: [base-warm]}")), HasSubstr("image 'web' needs base_layers"));
}

TEST(ExperimentSpec, AnExclusionMustNameWhatThereIs) {
  EXPECT_THAT(refusal(with("matrix: {exclude: [{image: wbe}]}")), HasSubstr("there is no image 'wbe'"));
  EXPECT_THAT(refusal(with("matrix: {exclude: [{network: lan}]}")), HasSubstr("there is no network 'lan'"));
}

TEST(ExperimentSpec, WhatIsNoYamlIsRefusedWithItsLine) {
  EXPECT_THAT(refusal("name: a\nimages: [\n"), HasSubstr("spec.yaml:"));
  EXPECT_THAT(refusal("- a\n- b\n"), HasSubstr("is not a mapping"));
  EXPECT_THAT(refusal(""), HasSubstr("spec.yaml"));
  EXPECT_THAT(refusal("name: a\n---\nname: b\n"), HasSubstr("is not one YAML document"));
  EXPECT_THAT(refusal(std::string(SpecLimits::bytes + 1, '#')), HasSubstr("is longer than"));
}

TEST(ExperimentSpec, AFileThatIsNotThereIsNamed) {
  try {
    read_spec("/nowhere/spec.yaml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::not_found);
    EXPECT_THAT(error.message(), HasSubstr("/nowhere/spec.yaml"));
  }
}

}  // namespace
}  // namespace lazypull::experiment
