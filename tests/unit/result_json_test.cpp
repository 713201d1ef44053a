#include "tools/result_json.hpp"

#include <boost/json/parse.hpp>
#include <gtest/gtest.h>

namespace lazypull {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

Digest digest(char digit) {
  return Digest::parse("sha256:" + std::string(64, digit));
}

PullReport report() {
  PullReport report;
  report.reference = "registry.example.com/app:1";
  report.target.digest = digest('a');
  report.target.media_type = "application/vnd.oci.image.index.v1+json";
  report.target.size = 777;
  report.snapshotter = "stargz";
  report.metadata_bytes = 4321;
  report.total = 1234567us;
  report.phases = {{"resolve", 12500us}, {"layers", 1s}};
  ImageReport image;
  image.platform.os = "linux";
  image.platform.architecture = "amd64";
  image.manifest = digest('b');
  image.config = digest('c');
  image.chain_id = digest('d');
  LayerReport remote;
  remote.digest = digest('1');
  remote.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
  remote.size = 1000;
  remote.diff_id = digest('2');
  remote.chain_id = digest('3');
  remote.state = LayerState::done;
  remote.decision = LayerDecision::remote;
  remote.remote_hint = true;
  remote.ask = 3ms;
  LayerReport downloaded = remote;
  downloaded.digest = digest('4');
  downloaded.chain_id = digest('d');
  downloaded.size = 5'000'000'000;
  downloaded.decision = LayerDecision::download;
  downloaded.remote_hint = false;
  downloaded.bytes_done = downloaded.size;
  downloaded.bytes_fetched = 4'999'999'999;
  downloaded.queue = 1500us;
  downloaded.fetch = 2s;
  downloaded.unpack = 250ms;
  image.layers = {remote, downloaded};
  report.images.push_back(image);
  return report;
}

json::object parse_line(const std::string& line) {
  EXPECT_FALSE(line.empty());
  EXPECT_EQ(line.find('\n'), line.size() - 1) << "not exactly one line";
  return json::parse(line).as_object();
}

TEST(ResultJson, HoldsWhatWasPulled) {
  const auto object = parse_line(result_json(report()));
  EXPECT_EQ(object.at("reference"), "registry.example.com/app:1");
  EXPECT_EQ(object.at("snapshotter"), "stargz");
  EXPECT_EQ(object.at("target"), (json::value{{"digest", digest('a').str()},
                                              {"mediaType", "application/vnd.oci.image.index.v1+json"},
                                              {"size", 777}}));
  EXPECT_EQ(object.at("platforms"), json::array({"linux/amd64"}));
}

TEST(ResultJson, HoldsEachImage) {
  const auto object = parse_line(result_json(report()));
  const auto& images = object.at("images").as_array();
  ASSERT_EQ(images.size(), 1U);
  const auto& image = images[0].as_object();
  EXPECT_EQ(image.at("platform"), "linux/amd64");
  EXPECT_EQ(image.at("manifest"), json::value(digest('b').str()));
  EXPECT_EQ(image.at("config"), json::value(digest('c').str()));
  EXPECT_EQ(image.at("chainID"), json::value(digest('d').str()));
  EXPECT_EQ(image.at("alreadyThere"), false);
  EXPECT_EQ(image.at("layers").as_array().size(), 2U);
}

TEST(ResultJson, HoldsEachLayerWithItsDecisionBytesAndMilliseconds) {
  const auto object = parse_line(result_json(report()));
  const auto& layers = object.at("images").as_array()[0].as_object().at("layers").as_array();
  const auto& remote = layers[0].as_object();
  EXPECT_EQ(remote.at("digest"), json::value(digest('1').str()));
  EXPECT_EQ(remote.at("diffID"), json::value(digest('2').str()));
  EXPECT_EQ(remote.at("chainID"), json::value(digest('3').str()));
  EXPECT_EQ(remote.at("mediaType"), "application/vnd.oci.image.layer.v1.tar+gzip");
  EXPECT_EQ(remote.at("decision"), "remote");
  EXPECT_EQ(remote.at("remoteHint"), true);
  EXPECT_EQ(remote.at("bytesFetched").to_number<std::uint64_t>(), 0U);
  EXPECT_DOUBLE_EQ(remote.at("askMs").to_number<double>(), 3);

  const auto& downloaded = layers[1].as_object();
  EXPECT_EQ(downloaded.at("decision"), "download");
  EXPECT_EQ(downloaded.at("remoteHint"), false);
  EXPECT_EQ(downloaded.at("size").to_number<std::uint64_t>(), 5'000'000'000U);
  EXPECT_EQ(downloaded.at("bytesFetched").to_number<std::uint64_t>(), 4'999'999'999U);
  EXPECT_DOUBLE_EQ(downloaded.at("queueMs").to_number<double>(), 1.5);
  EXPECT_DOUBLE_EQ(downloaded.at("fetchMs").to_number<double>(), 2000);
  EXPECT_DOUBLE_EQ(downloaded.at("unpackMs").to_number<double>(), 250);
}

TEST(ResultJson, HoldsSumsAndPhases) {
  const auto object = parse_line(result_json(report()));
  const auto& totals = object.at("totals").as_object();
  EXPECT_EQ(totals.at("layers").to_number<std::uint64_t>(), 2U);
  EXPECT_EQ(totals.at("size").to_number<std::uint64_t>(), 5'000'001'000U);
  EXPECT_EQ(totals.at("fetchedBytes").to_number<std::uint64_t>(), 4'999'999'999U);
  EXPECT_EQ(totals.at("avoidedBytes").to_number<std::uint64_t>(), 1000U);
  EXPECT_EQ(totals.at("metadataBytes").to_number<std::uint64_t>(), 4321U);
  const auto& phases = object.at("phases").as_object();
  EXPECT_DOUBLE_EQ(phases.at("resolve").to_number<double>(), 12.5);
  EXPECT_DOUBLE_EQ(phases.at("layers").to_number<double>(), 1000);
  EXPECT_DOUBLE_EQ(object.at("totalMs").to_number<double>(), 1234.567);
}

TEST(ResultJson, WhatDoesNotExistIsNull) {
  PullReport attestation = report();
  auto& image = attestation.images[0];
  image.chain_id.reset();
  image.layers.resize(1);
  image.layers[0].diff_id = Digest();
  image.layers[0].chain_id = Digest();
  const auto object = parse_line(result_json(attestation));
  const auto& parsed = object.at("images").as_array()[0].as_object();
  EXPECT_TRUE(parsed.at("chainID").is_null());
  const auto& layer = parsed.at("layers").as_array()[0].as_object();
  EXPECT_TRUE(layer.at("diffID").is_null());
  EXPECT_TRUE(layer.at("chainID").is_null());
}

TEST(ResultJson, HostileTextStaysInItsString) {
  PullReport hostile = report();
  hostile.images[0].layers[0].media_type = "a\",\"b\":\"\n\x1b[2J\xff";
  const auto object = parse_line(result_json(hostile));
  const auto& layers = object.at("images").as_array()[0].as_object().at("layers").as_array();
  EXPECT_EQ(layers[0].as_object().at("mediaType"), "a\",\"b\":\"  [2J?");
}

TEST(ErrorJson, HoldsCodeAndMessage) {
  const auto object =
      parse_line(error_json("not_found", "pull a: GET \"https://registry.example.com\": 404\n"));
  EXPECT_EQ(object, (json::object{{"error",
                                   {{"code", "not_found"},
                                    {"message", "pull a: GET \"https://registry.example.com\": 404 "}}}}));
}

TEST(VersionJson, TellsBothVersions) {
  EXPECT_EQ(parse_line(version_json("0.1.0", "1.6.20", "abc")),
            (json::object{{"client", {{"version", "0.1.0"}}},
                          {"server", {{"version", "1.6.20"}, {"revision", "abc"}}}}));
}

}  // namespace
}  // namespace lazypull
