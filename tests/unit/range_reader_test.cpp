// Large blobs in parts, several at once, as registries, caches and broken servers answer them.
#include "transport/range_reader.hpp"

#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"

#include <boost/asio/steady_timer.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>

namespace lazypull {
namespace {

using test::ScriptedRequest;
using test::ScriptedResponse;
using test::ScriptedServer;
using testing::HasSubstr;

constexpr std::size_t part_bytes = 100000;

class Ranges : public test::RegistryFixture {
 protected:
  Ranges() {
    options.range_bytes = part_bytes;
    options.max_parallel_ranges = 3;
    while (content.size() < 1234567) content += std::to_string(content.size()) + ",";
    content.resize(1234567);
    layer = blob(content);
  }
  // Its threads may still be answering from the content, which goes before the server does.
  ~Ranges() override { server.close_connections(); }

  static std::pair<std::size_t, std::size_t> range_of(const ScriptedRequest& request) {
    const auto text = request.header("Range");
    const auto dash = text.find('-');
    if (!text.starts_with("bytes=") || dash == std::string::npos || dash + 1 == text.size()) return {0, 0};
    return {std::stoul(text.substr(6)), std::stoul(text.substr(dash + 1))};
  }
  /// What a good server answers.
  ScriptedResponse part(const ScriptedRequest& request) const {
    const auto [first, last] = range_of(request);
    return ScriptedResponse(206, content.substr(first, last - first + 1),
                            {{"Content-Range", "bytes " + std::to_string(first) + "-" + std::to_string(last) +
                                                   "/" + std::to_string(content.size())}});
  }
  void serve(ScriptedServer& where) {
    where.on(blob_key(layer), [this](const ScriptedRequest& request) { return part(request); });
  }
  /// Answers like a good server, but for the part that begins at `first`, the first time it is asked for.
  void serve_but(ScriptedServer& where, std::size_t first, ScriptedServer::Handler wrong) {
    where.on(blob_key(layer), [this, first, wrong, done = std::make_shared<std::atomic<bool>>(false)](
                                  const ScriptedRequest& request) {
      if (range_of(request).first != first || done->exchange(true)) return part(request);
      return wrong(request);
    });
  }
  void use_mirror(const ScriptedServer& mirror) {
    options.hosts_directories = {folder.path()};
    auto name = server.host();
    name[name.find(':')] = '_';
    test::write_file(folder / (name + "_/hosts.toml"), "[host.\"" + mirror.url() + "\"]\n");
  }

  std::string content;
  Descriptor layer;
  test::TempDir folder{"hosts"};
};

TEST_F(Ranges, AreBoundedAndPutTogetherInOrder) {
  serve(server);
  EXPECT_EQ(fetched(layer), content);
  std::set<std::string> asked;
  for (const auto& request : server.requests()) asked.insert(request.header("Range"));
  EXPECT_EQ(asked.size(), 13U);
  EXPECT_EQ(server.requests().size(), 13U);
  EXPECT_TRUE(asked.contains("bytes=0-99999"));
  EXPECT_TRUE(asked.contains("bytes=1200000-1234566"));
  EXPECT_LE(server.connections(), 3U);
}

TEST_F(Ranges, StartAtAnOffset) {
  serve(server);
  EXPECT_EQ(fetched(layer, 777777), content.substr(777777));
  EXPECT_EQ(server.requests().at(0).header("Range"), "bytes=777777-877776");
}

TEST_F(Ranges, AreNotUsedForWhatFitsIntoOnePart) {
  server.on(blob_key(layer), ScriptedResponse(206, content.substr(1134567),
                                              {{"Content-Range", "bytes 1134567-1234566/1234567"}}));
  EXPECT_EQ(fetched(layer, 1134567), content.substr(1134567));
  EXPECT_EQ(server.requests().at(0).header("Range"), "bytes=1134567-");
}

TEST_F(Ranges, AreOffUnlessAskedFor) {
  options.range_bytes = 0;
  server.on(blob_key(layer), ScriptedResponse(200, content));
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(server.requests().at(0).has_header("Range"));
}

TEST_F(Ranges, AHostThatIgnoresThemIsReadAsASingleStreamAndRemembered) {
  server.on(blob_key(layer), ScriptedResponse(200, content));
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(server.requests().size(), 1U) << "the answer is used";
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(server.requests().at(1).has_header("Range"));
  EXPECT_EQ(fetched(layer, 1000000), content.substr(1000000));
}

TEST_F(Ranges, AHostThatAnswersOtherRangesIsNotAskedForThemAgain) {
  for (const auto* range : {"bytes 0-99998/1234567", "bytes 1-100000/1234567", "bytes 0-99999/99", "x"}) {
    ScriptedServer registry;
    registry.on(blob_key(layer),
                ScriptedResponse(206, content.substr(0, part_bytes), {{"Content-Range", range}}));
    registry.on(blob_key(layer), ScriptedResponse(200, content));
    const auto where = Reference::parse(registry.host() + "/app:1");
    const auto error = test::error_of(home, test::fetch(client(), where, layer));
    EXPECT_TRUE(error.code() == Errc::bad_response || error.code() == Errc::size_mismatch) << range;
    EXPECT_EQ(test::value_of(home, test::fetch(client(), where, layer)), content) << range;
    EXPECT_FALSE(registry.requests().at(1).has_header("Range"));
  }
}

TEST_F(Ranges, LaterPartsAreCheckedAsWell) {
  serve_but(server, 300000, [](const ScriptedRequest&) {
    return ScriptedResponse(206, std::string(part_bytes, 'x'), {{"Content-Range", "bytes 0-99999/1234567"}});
  });
  const auto error = fetch_error(layer);
  EXPECT_EQ(error.code(), Errc::bad_response);
  EXPECT_THAT(error.message(), HasSubstr("asked for bytes 300000-399999, got 0-99999"));
}

TEST_F(Ranges, ABodyOfAnotherLengthIsNoticed) {
  for (const std::size_t length : {part_bytes - 1, part_bytes + 1}) {
    ScriptedServer registry;
    serve_but(registry, 200000, [&](const ScriptedRequest& request) {
      auto wrong = part(request);
      wrong.body.resize(length, 'x');
      wrong.chunked = true;
      return wrong;
    });
    const auto where = Reference::parse(registry.host() + "/app:1");
    EXPECT_EQ(test::error_of(home, test::fetch(client(), where, layer)).code(), Errc::bad_response) << length;
  }
}

TEST_F(Ranges, APartThatBreaksOffGoesOnWhereItWas) {
  serve_but(server, 0, [this](const ScriptedRequest& request) {
    auto cut = part(request);
    cut.cut_after = 50000;
    return cut;
  });
  EXPECT_EQ(fetched(layer), content);
  std::set<std::string> asked;
  for (const auto& request : server.requests()) asked.insert(request.header("Range"));
  EXPECT_TRUE(asked.contains("bytes=50000-99999"));
}

TEST_F(Ranges, APartThatFailsIsFetchedFromTheNextHost) {
  ScriptedServer mirror;
  use_mirror(mirror);
  serve(server);
  serve_but(mirror, 500000, [](const ScriptedRequest&) { return ScriptedResponse(500); });
  EXPECT_EQ(fetched(layer), content);
  ASSERT_EQ(server.requests().size(), 1U);
  EXPECT_EQ(server.requests()[0].header("Range"), "bytes=500000-599999");
}

TEST_F(Ranges, AMirrorThatDiesInTheMiddleIsFollowedByTheNextHost) {
  ScriptedServer mirror;
  use_mirror(mirror);
  serve(server);
  mirror.on(blob_key(layer), [this](const ScriptedRequest& request) {
    if (range_of(request).first < 400000) return part(request);
    ScriptedResponse gone;
    gone.hang_up = true;
    return gone;
  });
  EXPECT_EQ(fetched(layer), content);
}

TEST_F(Ranges, AMirrorWithoutTheBlobIsPassedOver) {
  ScriptedServer mirror;
  use_mirror(mirror);
  serve(server);
  EXPECT_EQ(fetched(layer), content);
  EXPECT_EQ(mirror.requests().size(), 1U);
}

TEST_F(Ranges, AreNotReadFurtherAheadThanTheBufferHolds) {
  serve(server);
  auto read_a_little = [](RegistryClient& from, Reference ref, Descriptor what,
                          ScriptedServer& where) -> Awaitable<std::size_t> {
    auto reader = co_await from.open(ref, what, 0);
    co_await reader->read();
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer pause(executor, std::chrono::milliseconds(200));
    co_await pause.async_wait(asio::use_awaitable);
    co_return where.requests().size();
  };
  EXPECT_LE(test::value_of(home, read_a_little(client(), reference(), layer, server)), 3U);
}

TEST_F(Ranges, AllEndWhenTheReaderIsCancelled) {
  server.on(blob_key(layer), [this](const ScriptedRequest& request) {
    auto stalls = part(request);
    stalls.stall_after = 1000;
    return stalls;
  });
  const auto arrived = [&] { return server.requests().size() == 3; };
  EXPECT_EQ(test::error_after_cancel(home, test::fetch(client(), reference(), layer), arrived).code(),
            Errc::cancelled);
  home.restart();
  home.run_for(std::chrono::milliseconds(50));
  EXPECT_TRUE(home.stopped()) << "nothing is left that waits for anything";
}

TEST_F(Ranges, AReaderMayBeLeftInTheMiddle) {
  serve(server);
  auto leave = [](RegistryClient& from, Reference ref, Descriptor what) -> Awaitable<std::size_t> {
    auto reader = co_await from.open(ref, what, 0);
    const auto piece = co_await reader->read();
    co_return piece.size();
  };
  EXPECT_GT(test::value_of(home, leave(client(), reference(), layer)), 0U);
}

TEST_F(Ranges, ManifestsAreNeverReadInParts) {
  layer.media_type = std::string(media_type::oci_manifest);
  server.on("GET /v2/app/manifests/" + layer.digest.str(), ScriptedResponse(200, content));
  EXPECT_EQ(fetched(layer), content);
  EXPECT_FALSE(server.requests().at(0).has_header("Range"));
}

TEST_F(Ranges, ABlobThatIsSmallerThanItsDescriptorSaysIsASizeMismatch) {
  server.on(blob_key(layer), ScriptedResponse(416));
  EXPECT_EQ(fetch_error(layer).code(), Errc::size_mismatch);
}

}  // namespace
}  // namespace lazypull
