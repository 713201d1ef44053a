// The parts of an experiment's run that need neither root nor containerd.

#include "engine/chain_id.hpp"
#include "engine/error.hpp"
#include "engine/platform.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/experiment/container.hpp"
#include "tools/experiment/layouts.hpp"
#include "tools/experiment/pulling.hpp"
#include "tools/experiment/registry.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lazypull::experiment {
namespace {

namespace json = boost::json;
using test::read_file;
using test::TempDir;
using test::write_file;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(ExperimentTraffic, AddsUpWhatWasAnswered) {
  const auto sum = count_traffic(
      "127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /v2/a/blobs/sha256:ab HTTP/1.1\" 200 1234 \"-\" "
      "\"ctr\"\n"
      "127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /v2/a/blobs/sha256:ab HTTP/1.1\" 206 100 \"-\" "
      "\"x\"\n"
      "127.0.0.1 - - [01/Jan/2026:00:00:00 +0000] \"HEAD /v2/a/manifests/1 HTTP/1.1\" 200 - \"-\" \"-\"\n");
  EXPECT_EQ(sum.bytes, 1334U);
  EXPECT_EQ(sum.requests, 3U);
}

TEST(ExperimentTraffic, WhatIsNoLineCountsForNothing) {
  for (const auto* text :
       {"", "\n\n", "nonsense\n", "\"GET\"\n", "\"GET\" 200\n", "\"GET\" 200 many\n", "\"\n"}) {
    EXPECT_EQ(count_traffic(text).bytes, 0U) << text;
    EXPECT_EQ(count_traffic(text).requests, 0U) << text;
  }
}

TEST(ExperimentLineWatch, FindsALineThatComesInPieces) {
  LineWatch watch("now ready");
  watch.add("starting\nnow re");
  EXPECT_TRUE(watch.any_line());
  EXPECT_FALSE(watch.found());
  watch.add("ady");
  EXPECT_FALSE(watch.found()) << "the line has not ended";
  watch.add("\n");
  EXPECT_TRUE(watch.found());
}

TEST(ExperimentLineWatch, TakesNothingOverALinesEnd) {
  LineWatch watch("ab");
  watch.add("a\nb\n");
  EXPECT_FALSE(watch.found());
}

TEST(ExperimentLineWatch, KeepsLittleOfALineWithoutEnd) {
  LineWatch watch("end");
  for (int i = 0; i < 100; ++i) watch.add(std::string(1 << 20, 'x'));
  watch.add("end\n");
  EXPECT_TRUE(watch.any_line());
  EXPECT_FALSE(watch.found()) << "only the line's begin is looked at";
}

ContainerRequest request() {
  ContainerRequest made;
  made.id = "one";
  made.image.command = {"/bin/server", "--port", "80"};
  made.image.env = {"PATH=/bin", "LANG=C"};
  made.spec.name = "web";
  return made;
}

json::object spec_of(const ContainerRequest& of) {
  return json::parse(runtime_spec(of)).as_object();
}

std::string process_of(const ContainerRequest& of, const char* key) {
  return json::serialize(spec_of(of).at("process").at(key));
}

TEST(ExperimentContainer, RunsTheImagesCommandUnlessAnotherIsGiven) {
  auto of = request();
  EXPECT_EQ(process_of(of, "args"), R"(["/bin/server","--port","80"])");
  of.spec.command = {"/bin/sh"};
  EXPECT_EQ(process_of(of, "args"), R"(["/bin/sh"])");
  of.spec.command.clear();
  of.image.command.clear();
  EXPECT_THROW(runtime_spec(of), Error);
}

TEST(ExperimentContainer, GivenVariablesReplaceThoseOfTheImage) {
  auto of = request();
  of.spec.env = {"LANG=C.UTF-8", "EXTRA=1"};
  EXPECT_EQ(process_of(of, "env"), R"(["PATH=/bin","LANG=C.UTF-8","EXTRA=1"])");
}

TEST(ExperimentContainer, UsersAreNumbers) {
  auto of = request();
  of.image.user = "33:34";
  EXPECT_EQ(process_of(of, "user"), R"({"uid":33,"gid":34})");
  of.image.user = "www-data";
  EXPECT_THROW(runtime_spec(of), Error);
  of.spec.user = "5";
  EXPECT_EQ(process_of(of, "user"), R"({"uid":5,"gid":0})");
  of.spec.user = "1:";
  EXPECT_THROW(runtime_spec(of), Error);
}

TEST(ExperimentContainer, UsesTheNetworkOfTheHost) {
  const auto text = json::serialize(spec_of(request()).at("linux").at("namespaces"));
  EXPECT_THAT(text, HasSubstr("\"pid\""));
  EXPECT_THAT(text, testing::Not(HasSubstr("network")));
}

TEST(ExperimentPulling, EachPullerHasItsCommand) {
  Programs programs;
  programs.lazypull = "lazypull";
  const auto command = [&](const char* puller, const char* snapshotter, const char* unpack) {
    Coordinates at;
    at.puller = puller;
    at.snapshotter = snapshotter;
    at.unpack = unpack;
    return pull_command(programs, at, "/s", "localhost/a:1", "/t");
  };
  EXPECT_THAT(command("ctr", "native", "-"),
              ElementsAre("ctr", "--address", "/s", "images", "pull", "--plain-http", "--snapshotter",
                          "native", "localhost/a:1"));
  EXPECT_THAT(command("ctr-remote", "stargz", "-"), ElementsAre("ctr-remote", "--address", "/s", "images",
                                                                "rpull", "--plain-http", "localhost/a:1"));
  EXPECT_THAT(
      command("lazypull", "overlayfs", "direct"),
      ElementsAre("lazypull", "--address", "/s", "pull", "--snapshotter", "overlayfs", "--unpack", "direct",
                  "--output", "json", "--progress", "none", "--trace", "/t", "localhost/a:1"));
}

TEST(ExperimentPulling, PhasesAreThoseThatThePullerTells) {
  const auto details = parse_pull_result(R"({"phases":{"resolve":1.5,"layers":20},"totalMs":22})");
  EXPECT_THAT(details.phases, ElementsAre(testing::Pair("resolve", 1.5), testing::Pair("layers", 20)));
  EXPECT_THROW(parse_pull_result("{}"), Error);
  EXPECT_THROW(parse_pull_result("nonsense"), Error);
}

TEST(ExperimentPulling, SpansComeFromTheTrace) {
  const auto trace = parse_trace(
      R"({"traceEvents":[{"ph":"X","name":"pull","ts":1000,"dur":5000,"pid":1,"tid":1,"args":{"id":1,"object":"a"}},)"
      R"({"ph":"X","name":"resolve","ts":2000,"dur":500,"pid":1,"tid":1,"args":{"id":2,"parent":1}}]})",
      "trace");
  const auto spans = spans_of(trace);
  ASSERT_EQ(spans.size(), 2U);
  EXPECT_EQ(spans[0].object, "a");
  EXPECT_EQ(spans[1].name, "resolve");
  EXPECT_DOUBLE_EQ(spans[1].start_ms, 1);
  EXPECT_DOUBLE_EQ(spans[1].duration_ms, 0.5);
  EXPECT_EQ(spans[1].depth, 1U);
}

class ExperimentLayouts : public ::testing::Test {
 protected:
  ExperimentLayouts() {
    json::array layers;
    json::array diff_ids;
    for (const auto* content : {"lowest", "middle", "top"}) {
      layers.push_back(put(content, "application/vnd.oci.image.layer.v1.tar+gzip"));
      diffs.push_back(Digest::sha256_of(std::string_view(std::string("tar of ") + content)));
      diff_ids.push_back(json::value(diffs.back().str()));
    }
    const json::object config{
        {"architecture", Platform::host().architecture},
        {"os", "linux"},
        {"config",
         {{"Entrypoint", json::array{"/entry"}}, {"Cmd", json::array{"run"}}, {"WorkingDir", "/srv"}}},
        {"rootfs", {{"type", "layers"}, {"diff_ids", diff_ids}}}};
    const json::object manifest{
        {"schemaVersion", 2},
        {"mediaType", "application/vnd.oci.image.manifest.v1+json"},
        {"config", put(json::serialize(config), "application/vnd.oci.image.config.v1+json")},
        {"layers", layers}};
    const json::object index{{"schemaVersion", 2},
                             {"manifests", json::array{put(json::serialize(manifest),
                                                           "application/vnd.oci.image.manifest.v1+json")}}};
    write_file(source / "index.json", json::serialize(index));
  }

  json::object put(const std::string& text, const char* type) {
    const auto digest = Digest::sha256_of(std::string_view(text));
    write_file(source / "blobs/sha256" / std::string(digest.hex()), text);
    return {{"mediaType", type}, {"digest", digest.str()}, {"size", text.size()}};
  }

  TempDir folder{"layouts"};
  std::filesystem::path source = folder / "source";
  std::vector<Digest> diffs;
};

TEST_F(ExperimentLayouts, AnImageIsServedAsItIs) {
  const auto image = serve_image(source, folder / "web");
  EXPECT_EQ(image.repository, "web");
  EXPECT_EQ(image.layers, 3U);
  EXPECT_EQ(image.chain_id, chain_ids(diffs)[2]);
  EXPECT_THAT(image.command, ElementsAre("/entry", "run"));
  EXPECT_EQ(image.folder, "/srv");
  const auto index = json::parse(read_file(folder / "web/index.json")).at("manifests").at(0);
  EXPECT_EQ(index.at("annotations").at("org.opencontainers.image.ref.name").as_string(), "latest");
  EXPECT_EQ(index.at("digest"),
            json::parse(read_file(source / "index.json")).at("manifests").at(0).at("digest"));
}

TEST_F(ExperimentLayouts, ItsLowestLayersAreAnImageTooWithTheSameChainIds) {
  const auto whole = serve_image(source, folder / "web");
  const auto base = serve_image(whole.layout, folder / "web-base", 2, whole.layout);
  EXPECT_EQ(base.layers, 2U);
  EXPECT_EQ(base.chain_id, chain_ids(diffs)[1]);
  const auto again = serve_image(base.layout, folder / "again");
  EXPECT_EQ(again.chain_id, base.chain_id) << "it is a complete image";
  std::size_t shared = 0;
  for (const auto& blob : std::filesystem::directory_iterator(folder / "web-base/blobs/sha256")) {
    shared += std::filesystem::hard_link_count(blob.path()) > 1 ? 1 : 0;
  }
  EXPECT_EQ(shared, 2U) << "layers are not copied again";
}

TEST_F(ExperimentLayouts, MoreLayersThanThereAreIsAnError) {
  EXPECT_THROW(serve_image(source, folder / "web", 4), Error);
}

TEST_F(ExperimentLayouts, ALayoutThatIsNotThereIsNamed) {
  try {
    serve_image(folder / "nowhere", folder / "web");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("nowhere"));
  }
}

}  // namespace
}  // namespace lazypull::experiment
