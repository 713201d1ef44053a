// Pulls over bad lines: connections that break, stall or are lost with their process, mirrors that serve
// something else, tokens that expire on the way.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/push.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/integration/support/token_server.hpp"
#include "tests/support/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <functional>
#include <mutex>
#include <random>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::Ge;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Image noisy_image(std::size_t layers, std::size_t layer_bytes) {
  ImageBuilder builder;
  for (std::size_t i = 0; i < layers; ++i) {
    builder.layer({tar::file("noise" + std::to_string(i), tar::noise(layer_bytes, i + 1))});
  }
  return builder.build();
}

/// Serves an image, each response as far as the test lets it.
class BadLine {
 public:
  /// How many bytes of a body get through.
  using Cut = std::function<std::size_t(const ScriptedRequest&)>;

  BadLine(const Image& image, Cut cut) : image_(image), cut_(std::move(cut)) {
    const test::HeaderList headers{{"Content-Type", image.media_type},
                                   {"Docker-Content-Digest", image.digest}};
    for (const auto& name : {std::string("1"), image.digest}) {
      for (const auto* method : {"HEAD ", "GET "}) {
        server_.on(std::string(method) + "/v2/app/manifests/" + name,
                   [this, headers](const ScriptedRequest& request) {
                     return answer(request, image_.blobs.at(image_.digest), headers);
                   });
      }
    }
    for (const auto& [digest, bytes] : image.blobs) {
      server_.on("GET /v2/app/blobs/" + digest, [this, &bytes, digest](const ScriptedRequest& request) {
        return answer(request, bytes, {{"ETag", "\"" + digest + "\""}});
      });
    }
  }
  ~BadLine() { server_.close_connections(); }

  std::string reference() const { return server_.host() + "/app:1"; }
  ScriptedServer& server() { return server_; }
  std::size_t sent() const { return sent_; }

 private:
  ScriptedResponse answer(const ScriptedRequest& request, const std::string& bytes, HeaderList headers) {
    const std::lock_guard lock(mutex_);
    const auto range = request.header("Range");
    const std::size_t first = range.empty() ? 0 : std::stoul(range.substr(6));
    const auto dash = range.find('-');
    const bool bounded = !range.empty() && dash + 1 < range.size();
    const auto last = bounded ? std::stoul(range.substr(dash + 1)) : bytes.size() - 1;
    const auto rest = last + 1 - first;
    const auto through = std::min(rest, cut_(request));
    ScriptedResponse response(range.empty() ? 200 : 206, bytes.substr(first, through), std::move(headers));
    response.claimed_length = rest;
    if (through < rest) response.cut_after = through;
    if (!range.empty()) {
      response.headers.emplace_back(
          "Content-Range",
          "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(bytes.size()));
    }
    if (request.method == "GET") sent_ += through;
    return response;
  }

  const Image& image_;
  Cut cut_;
  std::mutex mutex_;
  std::atomic<std::size_t> sent_ = 0;
  ScriptedServer server_;
};

std::size_t bytes_of_blobs(const Image& image) {
  std::size_t all = 0;
  for (const auto& [digest, bytes] : image.blobs) all += bytes.size();
  return all;
}

class ResumedPull : public ::testing::Test {
 protected:
  void expect_whole(const PullOutcome& outcome) {
    ASSERT_EQ(outcome.process.exit_code, 0) << outcome.process.err;
    const auto store = lazypull.open();
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});  // what a killed one has left
    EXPECT_THAT(faults(*store), IsEmpty());
  }
  /// The file of the one partial blob that there is, or an empty path.
  fs::path partial_blob() const {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(lazypull.directory() / "ingest", none)) {
      if (fs::file_size(entry.path() / "data", none) == first_part_size) return entry.path() / "data";
    }
    return {};
  }
  /// For a line over which only the beginning of the layer comes, until it is good.
  std::size_t first_part_of_layer(const Image& image, const ScriptedRequest& request) {
    if (line_is_good || request.path().find(image.layers[0].digest) == std::string::npos) return SIZE_MAX;
    return std::exchange(first_part_, 0);
  }
  void kill_after_first_part(const BadLine& line) {
    auto process = lazypull.start({"pull", line.reference()});
    wait_until([&] { return !partial_blob().empty(); }, "the first part to arrive");
    process.signal(SIGKILL);
    ASSERT_TRUE(process.wait(std::chrono::seconds(30)).has_value());
    line_is_good = true;
  }

  static constexpr std::size_t first_part_size = 9'000'000;
  StoreLazypull lazypull;
  std::size_t first_part_ = first_part_size;
  std::atomic<bool> line_is_good = false;
};

TEST_F(ResumedPull, ArrivesThoughEveryConnectionIsCutAndAlmostNoByteComesTwice) {
  const auto image = noisy_image(3, 12'000'000);
  std::mt19937 random(1);
  std::exponential_distribution<double> length(1.0 / 146'000);  // a packet in a hundred
  BadLine line(image, [&](const ScriptedRequest&) { return static_cast<std::size_t>(length(random)); });
  expect_whole(lazypull.run({"pull", line.reference()}));
  EXPECT_LT(line.sent(), bytes_of_blobs(image) * 105 / 100);
  EXPECT_THAT(line.server().requests(), SizeIs(Ge(200U)));
}

TEST_F(ResumedPull, ArrivesInPartsThoughEveryConnectionIsCut) {
  const auto image = noisy_image(2, 6'000'000);
  std::mt19937 random(2);
  std::exponential_distribution<double> length(1.0 / 146'000);
  BadLine line(image, [&](const ScriptedRequest&) { return static_cast<std::size_t>(length(random)); });
  expect_whole(lazypull.run({"pull", line.reference(), "--concurrent-layer-fetch-buffer", "512k"}));
  EXPECT_LT(line.sent(), bytes_of_blobs(image) * 105 / 100);
}

TEST_F(ResumedPull, ThatWasKilledGoesOnFromItsIngest) {
  const auto image = noisy_image(1, 20'000'000);
  const std::string layer = image.layers[0].digest;
  BadLine line(image, [&](const ScriptedRequest& request) { return first_part_of_layer(image, request); });
  kill_after_first_part(line);
  const auto before = line.sent();
  const auto outcome = lazypull.run({"pull", line.reference()});
  expect_whole(outcome);
  EXPECT_LT(line.sent() - before, image.layers[0].blob.size() - 9'000'000 + 100'000);
  EXPECT_EQ(line.server().requests("GET /v2/app/blobs/" + layer).back().header("Range"), "bytes=9000000-");
}

TEST_F(ResumedPull, WhosePartialBlobWasDamagedFetchesItAnew) {
  const auto image = noisy_image(1, 20'000'000);
  BadLine line(image, [&](const ScriptedRequest& request) { return first_part_of_layer(image, request); });
  kill_after_first_part(line);
  const auto data = partial_blob();
  auto bytes = read_file(data);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file(data, bytes);
  expect_whole(lazypull.run({"pull", line.reference()}));
  EXPECT_FALSE(line.server().requests().back().has_header("Range")) << "from the first byte";
}

TEST_F(ResumedPull, ThatWasKilledGoesOnFromTheIngestOfContainerd) {
  const auto image = noisy_image(1, 20'000'000);
  const auto& layer = image.layers[0];
  BadLine line(image, [&](const ScriptedRequest& request) { return first_part_of_layer(image, request); });
  Containerd containerd;
  const auto checkpoint = [&] {
    std::error_code none;
    for (const auto& entry :
         fs::directory_iterator(containerd.root() / "io.containerd.content.v1.content/ingest", none)) {
      const auto size = fs::file_size(entry.path() / "data", none);
      if (size == first_part_size) return fs::exists(entry.path() / "checkpoint", none);
    }
    return false;
  };
  auto process = Lazypull(containerd).start({"pull", line.reference(), "--unpack", "direct"});
  wait_until(checkpoint, "the first part to arrive");
  process.signal(SIGKILL);
  ASSERT_TRUE(process.wait(std::chrono::seconds(30)).has_value());
  line_is_good = true;
  Lazypull(containerd).run_ok({"pull", line.reference(), "--unpack", "direct"});
  EXPECT_EQ(line.server().requests("GET /v2/app/blobs/" + layer.digest).back().header("Range"),
            "bytes=9000000-");
  EXPECT_EQ(digest_of(containerd.ctr_ok({"content", "get", layer.digest})), layer.digest);
  EXPECT_THAT(read_state(containerd).ingests, IsEmpty());
}

TEST_F(ResumedPull, AStalledConnectionIsReplaced) {
  const auto image = noisy_image(1, 6'000'000);
  ScriptedServer stalling;
  BadLine line(image, [](const ScriptedRequest&) { return SIZE_MAX; });
  const std::string key = "GET /v2/app/blobs/" + image.layers[0].digest;
  const auto& blob = image.layers[0].blob;
  ScriptedResponse stalls(200, blob);
  stalls.stall_after = 3'000'000;
  stalling.on(key, stalls);
  stalling.on(key, [&](const ScriptedRequest& request) {
    const auto first = std::stoul(request.header("Range").substr(6));
    return ScriptedResponse(
        206, blob.substr(first),
        {{"Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(blob.size() - 1) + "/" +
                               std::to_string(blob.size())}});
  });
  stalling.otherwise([&](const ScriptedRequest& request) {
    ScriptedResponse there(307);
    there.headers.emplace_back("Location", line.server().url() + request.target);
    return there;
  });
  const auto outcome = lazypull.run({"pull", stalling.host() + "/app:1", "--progress-timeout", "300ms"});
  expect_whole(outcome);
  EXPECT_EQ(stalling.requests(key).back().header("Range"), "bytes=3000000-");
}

TEST_F(ResumedPull, TheRetryBudgetIsNamedWhereItEndsThePull) {
  ScriptedServer server;
  server.otherwise([](const ScriptedRequest&) { return ScriptedResponse(503); });
  const auto outcome = lazypull.run({"pull", server.host() + "/app:1", "--retry-budget", "1"});
  EXPECT_NE(outcome.process.exit_code, 0);
  EXPECT_THAT(outcome.error_message(),
              HasSubstr("503 Service Unavailable; the retry budget of this pull (1) is spent"));
  EXPECT_THAT(server.requests(), SizeIs(2));
}

TEST_F(ResumedPull, AnExpiredTokenIsRenewedInTheMiddleOfALayer) {
  TokenServerOptions options;
  options.expires_in = -56;  // docker-registry accepts a token for a minute more
  TokenServer tokens(options);
  Registry registry({.tokens = &tokens});
  const auto image = noisy_image(1, 16'000'000);
  const auto reference = registry.store(image, "public/app:1");
  expect_whole(
      lazypull.run({"pull", reference, "--concurrent-layer-fetch-buffer", "512k", "--limit-rate", "2M"}));
  bool came = false;
  bool refused_in_the_middle = false;
  for (const auto& request : registry.requests()) {
    if (request.path.find(image.layers[0].digest) == std::string::npos) continue;
    if (request.status == 401 && came) refused_in_the_middle = true;
    if (request.status == 206) came = true;
  }
  EXPECT_TRUE(refused_in_the_middle);
  EXPECT_THAT(tokens.requests(), SizeIs(Ge(2U)));
}

class BadMirror : public ResumedPull, public testing::WithParamInterface<Compression> {
 protected:
  /// The same image twice, and the mirror has a byte of one layer wrong.
  void set_up(const Image& image) {
    mirror.store(image, "app:1");
    reference = registry.store(image, "app:1");
    auto bytes = image.layers[1].blob;
    bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
    write_file(mirror.blob_file(image.layers[1].digest), bytes);
    auto host = registry.host();
    host[host.find(':')] = '_';
    write_file(folder / (host + "_/hosts.toml"), "[host.\"http://" + mirror.host() + "\"]\n");
  }

  Registry mirror;
  Registry registry;
  std::string reference;
  TempDir folder{"certs.d"};
};

INSTANTIATE_TEST_SUITE_P(Compressed, BadMirror,
                         testing::Values(Compression::none, Compression::gzip, Compression::zstd));

TEST_P(BadMirror, OnlyTheLayerThatItServesWrongIsFetchedFromTheRegistry) {
  ImageBuilder builder;
  for (unsigned i = 0; i < 3; ++i) {
    builder.layer({tar::file("noise" + std::to_string(i), tar::noise(6'000'000, i + 1))}, GetParam());
  }
  const auto image = builder.build();
  set_up(image);
  const auto outcome = lazypull.run({"pull", reference, "--hosts-dir", folder.path()});
  expect_whole(outcome);
  EXPECT_THAT(registry.fetched_blobs("lazypull"), ElementsAre(image.layers[1].digest));
}

}  // namespace
}  // namespace lazypull::test
