// What comes over connections that break, stall and crawl, and how often it is asked for again.
#include "engine/retry_budget.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/interrupted_blobs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;
using testing::HasSubstr;

class Resume : public test::RegistryFixture {
 protected:
  Resume() {
    while (content.size() < 300000) content += std::to_string(content.size()) + ",";
    layer = blob(content);
  }
  // Its threads may still be answering from the content, which goes before the server does.
  ~Resume() override {
    server.close_connections();
    mirror.close_connections();
  }

  void use_mirror() {
    options.hosts_directories = {folder.path()};
    auto name = server.host();
    name[name.find(':')] = '_';
    test::write_file(folder / (name + "_/hosts.toml"), "[host.\"" + mirror.url() + "\"]\n");
  }

  /// What a good server answers.
  ScriptedResponse answer(const ScriptedRequest& request, const test::HeaderList& headers = {}) const {
    const auto range = request.header("Range");
    ScriptedResponse response(200, content, headers);
    if (range.empty()) return response;
    const auto dash = range.find('-');
    const auto first = std::stoul(range.substr(6));
    const auto last = dash + 1 < range.size() ? std::stoul(range.substr(dash + 1)) : content.size() - 1;
    response.status = 206;
    response.body = content.substr(first, last - first + 1);
    response.headers.emplace_back(
        "Content-Range",
        "bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" + std::to_string(content.size()));
    return response;
  }
  ScriptedResponse cut(ScriptedResponse response, std::size_t after) const {
    response.cut_after = after;
    return response;
  }
  void serves(ScriptedServer& where) {
    where.on(blob_key(layer), [this](const ScriptedRequest& request) { return answer(request); });
  }

  /// Opens it anew where it has got to, as often as that brings something.
  static Awaitable<std::string> read_on(Fetcher& from, Reference reference, Descriptor what) {
    std::string bytes;
    for (auto before = std::string::npos; before != bytes.size();) {
      before = bytes.size();
      auto reader = co_await from.open(reference, what, bytes.size());
      std::exception_ptr failure;
      try {
        for (;;) {
          const auto piece = co_await reader->read();
          if (piece.empty()) co_return bytes;
          bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
        }
      } catch (...) {
        failure = std::current_exception();
      }
      if (as_error(failure).code() == Errc::digest_mismatch) std::rethrow_exception(failure);
    }
    throw Error(Errc::internal, "it does not get on");
  }
  std::string read_on() { return test::value_of(home, read_on(client(), reference(), layer)); }
  Error read_on_error() { return test::error_of(home, read_on(client(), reference(), layer)); }

  std::string content;
  Descriptor layer;
  test::TempDir folder{"hosts"};
  ScriptedServer mirror;
};

TEST_F(Resume, AsksForTheRestOnConditionThatTheBlobIsStillTheSame) {
  server.on(blob_key(layer), cut(ScriptedResponse(200, content, {{"ETag", "\"one\""}}), 100000));
  serves(server);
  EXPECT_EQ(read_on(), content);
  EXPECT_FALSE(server.requests().at(0).has_header("If-Range"));
  EXPECT_EQ(server.requests().at(1).header("Range"), "bytes=100000-");
  EXPECT_EQ(server.requests().at(1).header("If-Range"), "\"one\"");
}

TEST_F(Resume, AWeakETagIsNoCondition) {
  for (const auto* etag : {"W/\"one\"", "one", "\"o\"ne\"", "\""}) {
    ScriptedServer registry;
    registry.on(blob_key(layer), cut(ScriptedResponse(200, content, {{"ETag", etag}}), 100000));
    serves(registry);
    const auto where = Reference::parse(registry.host() + "/app:1");
    EXPECT_EQ(test::value_of(home, read_on(client(), where, layer)), content);
    EXPECT_EQ(registry.requests().at(1).header("Range"), "bytes=100000-");
    EXPECT_FALSE(registry.requests().at(1).has_header("If-Range")) << etag;
    registry.close_connections();
  }
}

TEST_F(Resume, TheETagOfAHostIsNoneOfAnother) {
  use_mirror();
  mirror.on(blob_key(layer), cut(ScriptedResponse(200, content, {{"ETag", "\"one\""}}), 100000));
  layer.size = content.size();
  mirror.on(blob_key(layer), ScriptedResponse(500));
  serves(server);
  EXPECT_EQ(fetched(layer), content);
  ASSERT_EQ(server.requests().size(), 1U);
  EXPECT_FALSE(server.requests()[0].has_header("If-Range"));
}

TEST_F(Resume, AnAnswerFromTheStartIsReadPastWhatHasCome) {
  server.on(blob_key(layer), cut(ScriptedResponse(200, content, {{"ETag", "\"one\""}}), 100000));
  server.on(blob_key(layer), ScriptedResponse(200, content, {{"ETag", "\"another node's\""}}));
  EXPECT_EQ(read_on(), content);
  EXPECT_EQ(server.requests().size(), 2U);
}

TEST_F(Resume, AnAnswerFromTheStartWithOtherBytesIsNeverMixedWithWhatHasCome) {
  server.on(blob_key(layer), cut(ScriptedResponse(200, content), 100000));
  auto other = content;
  other[99990] = '!';
  server.on(blob_key(layer), ScriptedResponse(200, other));
  const auto error = read_on_error();
  EXPECT_EQ(error.code(), Errc::digest_mismatch);
  EXPECT_THAT(error.message(), HasSubstr("other bytes than have come before"));
  EXPECT_THAT(error.message(), HasSubstr(server.url()));
}

TEST_F(Resume, AServerThatIgnoresRangesIsNamedWhereItCannotBeGoneOnFrom) {
  server.on(blob_key(layer), cut(ScriptedResponse(200, content), 100000));
  server.on(blob_key(layer), cut(ScriptedResponse(200, content), 50000));
  const auto reader = test::value_of(home, client().open(reference(), layer, 100000));
  const auto error = test::error_of(home, reader->read());
  EXPECT_THAT(error.message(), HasSubstr("connection closed after"));
  ScriptedServer registry;
  registry.on(blob_key(layer), cut(ScriptedResponse(200, content), 50000));
  const auto where = Reference::parse(registry.host() + "/app:1");
  const auto later = test::value_of(home, client().open(where, layer, 100000));
  EXPECT_THAT(test::error_of(home, later->read()).message(),
              HasSubstr("the server ignores ranges, so that what comes before byte 100000"));
}

TEST_F(Resume, AConnectionThatIsCutInTheHeadIsTriedAgain) {
  ScriptedResponse half;
  half.raw = "HTTP/1.1 200 OK\r\nConte";
  server.on(blob_key(layer), half);
  serves(server);
  EXPECT_EQ(fetched(layer), content);
}

TEST_F(Resume, AManifestThatIsCutIsTriedAgain) {
  const std::string manifest = R"({"schemaVersion": 2, "mediaType": ")" +
                               std::string(media_type::oci_manifest) + R"(", "config": {}, "layers": []})";
  server.on("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  const ScriptedResponse whole(200, manifest, {{"Content-Type", std::string(media_type::oci_manifest)}});
  server.on("GET /v2/app/manifests/1", cut(whole, 10));
  server.on("GET /v2/app/manifests/1", whole);
  EXPECT_EQ(resolved(reference()).size, manifest.size());
}

TEST_F(Resume, ATokenThatExpiresInTheMiddleOfALayerIsRenewed) {
  server.on("GET /token", ScriptedResponse(200, R"({"token": "first", "expires_in": 300})"));
  server.on("GET /token", cut(ScriptedResponse(200, R"({"token": "second", "expires_in": 300})"), 12));
  server.on("GET /token", ScriptedResponse(200, R"({"token": "second", "expires_in": 300})"));
  auto valid = std::make_shared<std::atomic<bool>>(true);
  server.on(blob_key(layer), [this, valid](const ScriptedRequest& request) {
    const auto given = request.header("Authorization");
    if (given == "Bearer second") return answer(request);
    if (given == "Bearer first" && valid->exchange(false)) return cut(answer(request), 100000);
    return ScriptedResponse(
        401, "", {{"WWW-Authenticate", "Bearer realm=\"" + server.url() + "/token\",service=\"s\""}});
  });
  EXPECT_EQ(read_on(), content);
  EXPECT_EQ(server.requests(blob_key(layer)).back().header("Range"), "bytes=100000-");
  EXPECT_EQ(server.requests("GET /token").size(), 3U) << "the second answer was cut";
}

TEST_F(Resume, AMirrorThatStallsIsFollowedByTheNextHostFromThere) {
  use_mirror();
  options.http.mirror_timeout = milliseconds(1500);
  auto stalls = ScriptedResponse(200, std::string(5U << 20U, 'x'));
  content = stalls.body;
  layer = blob(content);
  stalls.stall_after = 1000000;
  mirror.on(blob_key(layer), stalls);
  serves(server);
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(server.requests().at(0).header("Range"), "bytes=1000000-");
}

TEST_F(Resume, AMirrorThatDoesNotAnswerCostsItsOwnTimeOnly) {
  use_mirror();
  options.http.mirror_timeout = milliseconds(100);
  ScriptedResponse silent;
  silent.stall = true;
  mirror.on(blob_key(layer), silent);
  serves(server);
  EXPECT_EQ(fetched(layer), content);
}

TEST_F(Resume, AMirrorThatIsTooSlowIsFollowedByTheNextHost) {
  use_mirror();
  options.http.min_speed = 1U << 30U;
  options.http.min_speed_window = milliseconds(100);
  content.assign(5U << 20U, 'x');
  layer = blob(content);
  ScriptedResponse crawls(200, content);
  crawls.stall_after = 1000000;
  mirror.on(blob_key(layer), crawls);
  serves(server);
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST_F(Resume, OnlyHostsThatOthersComeAfterHaveToBeFast) {
  HttpOptions http;
  http.response_timeout = std::chrono::minutes(2);
  http.progress_timeout = std::chrono::minutes(5);
  http.mirror_timeout = std::chrono::seconds(30);
  const HttpClient client(home.get_executor(), http);
  HttpRequest request("GET", Url::parse("https://registry.example.com/v2/"));
  EXPECT_EQ(client.response_timeout(request), std::chrono::minutes(2));
  EXPECT_EQ(client.progress_timeout(request), std::chrono::minutes(5));
  request.patient = false;
  EXPECT_EQ(client.response_timeout(request), std::chrono::seconds(30));
  EXPECT_EQ(client.progress_timeout(request), std::chrono::seconds(30));
}

TEST_F(Resume, TheRetriesOfAllRequestsOfAPullComeFromOneBudget) {
  server.otherwise([](const ScriptedRequest&) { return ScriptedResponse(503); });
  auto pull = client().with_budget(std::make_shared<RetryBudget>(2));
  const auto first = test::error_of(home, test::fetch(pull, reference(), layer));
  EXPECT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(first.code(), Errc::server_error);
  EXPECT_THAT(first.message(),
              HasSubstr("503 Service Unavailable; the retry budget of this pull (2) is spent"));
  const auto second = test::error_of(home, test::fetch(pull, reference(), blob("other")));
  EXPECT_EQ(server.requests().size(), 4U);
  EXPECT_THAT(second.message(), HasSubstr("the retry budget of this pull (2) is spent"));
  test::error_of(home, test::fetch(client(), reference(), layer));
  EXPECT_EQ(server.requests().size(), 9U) << "without a budget each request has its own attempts";
}

TEST_F(Resume, PartsThatAreCutAgainAndAgainComeWithoutOneByteAskedForTwice) {
  options.range_bytes = 100000;
  std::mt19937 random(7);
  auto served = std::make_shared<std::atomic<std::size_t>>(0);
  auto mutex = std::make_shared<std::mutex>();
  server.on(blob_key(layer), [this, served, mutex, &random](const ScriptedRequest& request) {
    const std::lock_guard lock(*mutex);
    auto response = answer(request);
    const auto after = std::uniform_int_distribution<std::size_t>(5000, 40000)(random);
    if (after < response.body.size()) response.cut_after = after;
    *served += std::min(after, response.body.size());
    return response;
  });
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(served->load(), content.size());
  server.close_connections();
}

TEST_F(Resume, APartThatDoesNotGetOnIsGivenUp) {
  options.range_bytes = 100000;
  server.on(blob_key(layer), [this](const ScriptedRequest& request) {
    auto response = answer(request);
    if (request.header("Range").starts_with("bytes=2")) response.cut_after = 0;
    return response;
  });
  EXPECT_THAT(fetch_error(layer).message(), HasSubstr("connection closed after 0 of 100000 bytes"));
}

TEST(InterruptedBlobs, RemembersTheLastBytesOfABlobForTheOffsetThatTheyReach) {
  InterruptedBlobs blobs;
  const auto digest = Digest::sha256_of("blob");
  BlobTail tail;
  const std::string bytes(10000, 'x');
  tail.add(std::as_bytes(std::span(bytes)));
  tail.add(std::as_bytes(std::span(std::string_view("end"))));
  EXPECT_EQ(tail.end, 10003U);
  EXPECT_EQ(tail.bytes, std::string(BlobTail::longest - 3, 'x') + "end");
  blobs.broke_off(digest, tail);
  EXPECT_EQ(blobs.tail(digest, 10003).bytes, tail.bytes);
  EXPECT_EQ(blobs.tail(digest, 10002).bytes, "");
  EXPECT_EQ(blobs.tail(digest, 10002).end, 10002U);
  blobs.complete(digest);
  EXPECT_EQ(blobs.tail(digest, 10003).bytes, "");
}

}  // namespace
}  // namespace lazypull
