// The embedded registry as a client sees it: raw bytes in, raw bytes out.

#include "transport/registry_server.hpp"

#include "engine/error.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/temp_dir.hpp"
#include "transport/registry_server_answer.hpp"
#include "transport/registry_server_log.hpp"
#include "transport/registry_server_range.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <mutex>
#include <netinet/in.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace lazypull {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

const std::string manifest_type(media_type::oci_manifest);
const std::string layer_type = "application/vnd.oci.image.layer.v1.tar";

/// A layout with one image, whose layer is `content`.
struct TestLayout {
  explicit TestLayout(const std::string& content, const std::string& name = "1") {
    layer = put(content);
    const auto config = put("{}");
    const std::string text = R"({"schemaVersion":2,"config":)" +
                             describe(std::string(media_type::oci_config), config, 2) + R"(,"layers":[)" +
                             describe(layer_type, layer, content.size()) + "]}";
    manifest = put(text);
    manifest_text = text;
    auto entry = describe(manifest_type, manifest, text.size());
    entry.insert(entry.size() - 1, R"(,"annotations":{"org.opencontainers.image.ref.name":")" + name + "\"}");
    test::write_file(root() / "index.json", R"({"schemaVersion":2,"manifests":[)" + entry + "]}");
  }

  std::filesystem::path root() const { return folder / "demo"; }
  std::filesystem::path file(const Digest& digest) const {
    return root() / "blobs" / digest.algorithm() / digest.hex();
  }
  Digest put(const std::string& bytes) const {
    auto digest = Digest::sha256_of(bytes);
    test::write_file(file(digest), bytes);
    return digest;
  }
  static std::string describe(const std::string& type, const Digest& digest, std::size_t size) {
    return R"({"mediaType":")" + type + R"(","digest":")" + digest.str() + R"(","size":)" +
           std::to_string(size) + "}";
  }
  ServedLayouts load(const std::string& repository = {}) const {
    return ServedLayouts::load({{root(), repository}});
  }

  test::TempDir folder{"layout"};
  Digest layer;
  Digest manifest;
  std::string manifest_text;
};

/// A blocking connection; whoever waits for more than ten seconds fails.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect");
    }
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { ::close(socket_); }

  RawClient& send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) throw std::runtime_error("send");
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return *this;
  }
  void wait_for_answer() const {
    char byte = 0;
    if (::recv(socket_, &byte, 1, MSG_PEEK) != 1) throw std::runtime_error("no answer");
  }
  /// Everything until the server closes the connection.
  std::string read_all() {
    std::string bytes = std::exchange(buffer_, {});
    while (read_more(bytes)) continue;
    return bytes;
  }
  /// Until the response is complete as its Content-Length says.
  std::string read_response() {
    for (;;) {
      const auto end = buffer_.find("\r\n\r\n");
      if (end != std::string::npos) {
        const auto length = buffer_.find("Content-Length: ");
        const auto body = length < end ? std::stoul(buffer_.substr(length + 16)) : 0;
        if (buffer_.size() >= end + 4 + body) {
          auto response = buffer_.substr(0, end + 4 + body);
          buffer_.erase(0, end + 4 + body);
          return response;
        }
      }
      if (!read_more(buffer_)) throw std::runtime_error("closed after: " + buffer_);
    }
  }

 private:
  bool read_more(std::string& bytes) const {
    std::array<char, 65536> piece{};
    const auto got = ::recv(socket_, piece.data(), piece.size(), 0);
    if (got < 0) throw std::runtime_error("nothing more was received, after: " + bytes);
    bytes.append(piece.data(), static_cast<std::size_t>(got));
    return got > 0;
  }

  int socket_;
  std::string buffer_;
};

/// A server on a home thread of its own.
class TestServer {
 public:
  explicit TestServer(ServedLayouts layouts, RegistryServerOptions options = {}) {
    options.access_log = [this](std::string_view line) {
      const std::lock_guard lock(mutex_);
      lines_.emplace_back(line);
    };
    server_.emplace(home_.get_executor(), std::move(layouts), std::move(options));
    thread_ = std::thread([this] { test::run_on(home_, server_->serve()); });
  }
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    asio::post(home_, [this] { server_->stop(); });
    thread_.join();
  }
  std::uint16_t port() const { return server_->address().port(); }
  /// Of all that was answered; stops the server, so that all of it is there.
  std::vector<std::string> log() {
    stop();
    return lines_;
  }

  /// The response to one request on a connection of its own.
  std::string ask(const std::string& line, const std::string& fields = {}) const {
    RawClient client(port());
    return client.send(line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields + "\r\n").read_all();
  }

 private:
  asio::io_context home_{1};
  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::optional<RegistryServer> server_;
  std::thread thread_;
};

std::string body(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

std::string status(const std::string& response) {
  return response.substr(9, 3);
}

const std::string content = "0123456789";

class RegistryServerTest : public ::testing::Test {
 protected:
  std::string blob_path(const Digest& digest) const { return "/v2/any/name/blobs/" + digest.str(); }
  std::string ask(const std::string& line, const std::string& fields = {}) const {
    return server.ask(line, fields);
  }

  TestLayout layout{content};
  TestServer server{layout.load()};
};

TEST(RegistryServerRange, FollowsRfc9110) {
  using Kind = ServedRange::Kind;
  struct Case {
    std::string_view field;
    std::uint64_t size;
    ServedRange expected;
  };
  const ServedRange whole{Kind::whole, 0, 10};
  const ServedRange none{Kind::unsatisfiable, 0, 0};
  const Case cases[] = {
      {"bytes=0-0", 10, {Kind::part, 0, 1}},
      {"bytes=2-5", 10, {Kind::part, 2, 4}},
      {"bytes=0-9", 10, {Kind::part, 0, 10}},
      {"bytes=5-99", 10, {Kind::part, 5, 5}},
      {"bytes=5-", 10, {Kind::part, 5, 5}},
      {"bytes=-3", 10, {Kind::part, 7, 3}},
      {"bytes=-99", 10, {Kind::part, 0, 10}},
      {"BYTES=1-2", 10, {Kind::part, 1, 2}},
      {"bytes= 1-2 ", 10, {Kind::part, 1, 2}},
      {"bytes=5-99999999999999999999999", 10, {Kind::part, 5, 5}},
      {"bytes=-99999999999999999999999", 10, {Kind::part, 0, 10}},
      {"bytes=10-", 10, none},
      {"bytes=10-20", 10, none},
      {"bytes=99999999999999999999999-", 10, none},
      {"bytes=-0", 10, none},
      {"bytes=0-", 0, none},
      {"bytes=-1", 0, none},
      {"bytes=5-2", 10, whole},
      {"bytes=0-1,3-4", 10, whole},
      {"bytes=-", 10, whole},
      {"bytes=", 10, whole},
      {"bytes=a-b", 10, whole},
      {"bytes=+1-2", 10, whole},
      {"bytes=1 -2", 10, whole},
      {"bytes=--2", 10, whole},
      {"lines=1-2", 10, whole},
      {"bytes", 10, whole},
      {"", 10, whole},
  };
  for (const auto& c : cases) EXPECT_EQ(parse_range(c.field, c.size), c.expected) << c.field;
}

TEST(RegistryServerLog, IsOfTheCombinedFormat) {
  AccessRecord record;
  record.client = "192.0.2.1";
  record.time = std::chrono::system_clock::from_time_t(1'700'000'000);
  record.method = "GET";
  record.target = "/v2/";
  record.status = 200;
  record.bytes = 2;
  record.user_agent = "agent/1";
  EXPECT_EQ(access_log_line(record),
            R"(192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] "GET /v2/ HTTP/1.1" 200 2 "-" "agent/1")");
}

TEST(RegistryServerLog, LetsNobodyForgeALine) {
  AccessRecord record;
  record.method = "GET";
  record.target = "/\"\n";
  record.user_agent = std::string(5000, 'a') + "\n";
  const auto line = access_log_line(record);
  EXPECT_THAT(line, HasSubstr(R"("GET /\x22\x0a HTTP/1.1")"));
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_LT(line.size(), 1200U);
}

TEST(RegistryServerNames, FollowTheSpecification) {
  for (const char* name : {"a", "a/b", "library/a-b_c.d", "a__b", "a---b", "0"}) {
    EXPECT_TRUE(is_repository_name(name)) << name;
  }
  for (const char* name : {"", "/a", "a/", "a//b", "A", "a..b", "..", "a___b", "-a", "a-", "a/../b", "a b"}) {
    EXPECT_FALSE(is_repository_name(name)) << name;
  }
  EXPECT_FALSE(is_repository_name(std::string(256, 'a')));
  for (const char* tag : {"1", "_x", "v1.0-rc_1", "A"}) EXPECT_TRUE(is_tag(tag)) << tag;
  for (const char* tag : {"", ".x", "-x", "a/b", "a:b", "a b"}) EXPECT_FALSE(is_tag(tag)) << tag;
  EXPECT_FALSE(is_tag(std::string(129, 'a')));
}

TEST(RegistryServerLayout, TakesNamesFromTheAnnotation) {
  struct Case {
    const char* annotation;
    const char* repository;  ///< as it was given
    const char* found_in;
    const char* tag;
  };
  const Case cases[] = {
      {"1", "", "demo", "1"},
      {"1", "team/app", "team/app", "1"},
      {"app:2", "", "app", "2"},
      {"registry.example.com:5000/team/app:2", "", "team/app", "2"},
      {"localhost/app:2", "", "app", "2"},
      {"team/app:2", "demo", "team/app", "2"},
  };
  for (const auto& c : cases) {
    const TestLayout layout(content, c.annotation);
    const auto layouts = layout.load(c.repository);
    EXPECT_EQ(layouts.find(c.found_in, c.tag), layout.manifest) << c.annotation;
    EXPECT_THAT(layouts.repositories(), ElementsAre(c.found_in)) << c.annotation;
  }
}

TEST(RegistryServerLayout, ServesAnEntryWithAnotherNameByItsDigest) {
  const TestLayout layout(content, "no such: name");
  const auto layouts = layout.load();
  EXPECT_THAT(layouts.repositories(), IsEmpty());
  ASSERT_NE(layouts.manifest_type(layout.manifest), nullptr);
  EXPECT_EQ(*layouts.manifest_type(layout.manifest), manifest_type);
}

TEST(RegistryServerLayout, KnowsWhatAnIndexLeadsTo) {
  const TestLayout layout(content);
  const auto text = R"({"schemaVersion":2,"manifests":[)" +
                    TestLayout::describe(manifest_type, layout.manifest, layout.manifest_text.size()) + "]}";
  const auto index = layout.put(text);
  test::write_file(layout.root() / "index.json",
                   R"({"schemaVersion":2,"manifests":[)" +
                       TestLayout::describe(std::string(media_type::oci_index), index, text.size()) + "]}");
  const auto layouts = layout.load();
  ASSERT_NE(layouts.manifest_type(index), nullptr);
  ASSERT_NE(layouts.manifest_type(layout.manifest), nullptr);
  EXPECT_EQ(layouts.blob_type(layout.layer), layer_type);
}

TEST(RegistryServerLayout, SaysWhichFileIsMissingOrWrong) {
  const TestLayout layout(content);
  const auto failure = [&] {
    try {
      layout.load();
    } catch (const Error& error) {
      return error;
    }
    return Error(Errc::internal, "there was no error");
  };
  test::write_file(layout.root() / "index.json", "[]");
  EXPECT_EQ(failure().code(), Errc::bad_response);
  EXPECT_THAT(failure().message(), HasSubstr("demo/index.json"));
  std::filesystem::remove(layout.root() / "index.json");
  EXPECT_EQ(failure().code(), Errc::not_found);
  EXPECT_THAT(failure().message(), HasSubstr("demo/index.json"));
  std::filesystem::remove_all(layout.root());
  EXPECT_EQ(failure().code(), Errc::not_found);
}

TEST_F(RegistryServerTest, AnswersTheBase) {
  const auto response = ask("GET /v2/");
  EXPECT_THAT(response, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(response, HasSubstr("\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"));
  EXPECT_EQ(body(response), "{}");
}

TEST_F(RegistryServerTest, ServesManifestsByTagAndDigest) {
  for (const auto& reference : {std::string("1"), layout.manifest.str()}) {
    const auto response = ask("GET /v2/demo/manifests/" + reference);
    EXPECT_EQ(status(response), "200");
    EXPECT_THAT(response, HasSubstr("\r\nContent-Type: " + manifest_type + "\r\n"));
    EXPECT_THAT(response, HasSubstr("\r\nDocker-Content-Digest: " + layout.manifest.str() + "\r\n"));
    EXPECT_EQ(body(response), layout.manifest_text);
  }
}

TEST_F(RegistryServerTest, ServesBlobsUnderAnyName) {
  const auto response = ask("GET " + blob_path(layout.layer));
  EXPECT_EQ(status(response), "200");
  EXPECT_THAT(response, HasSubstr("\r\nContent-Type: " + layer_type + "\r\n"));
  EXPECT_THAT(response, HasSubstr("\r\nETag: \"" + layout.layer.str() + "\"\r\n"));
  EXPECT_THAT(response, HasSubstr("\r\nAccept-Ranges: bytes\r\n"));
  EXPECT_EQ(body(response), content);
}

TEST_F(RegistryServerTest, AnswersHeadWithoutABody) {
  for (const auto& path :
       {blob_path(layout.layer), std::string("/v2/demo/manifests/9"), std::string("/v2/")}) {
    const auto get = ask("GET " + path);
    const auto head = ask("HEAD " + path);
    EXPECT_EQ(body(head), "") << path;
    EXPECT_EQ(status(head), status(get)) << path;
    EXPECT_THAT(head, HasSubstr("\r\nContent-Length: " + std::to_string(body(get).size()) + "\r\n")) << path;
  }
}

TEST_F(RegistryServerTest, ServesRangesOfBlobs) {
  const auto part = ask("GET " + blob_path(layout.layer), "Range: bytes=2-5\r\n");
  EXPECT_EQ(status(part), "206");
  EXPECT_THAT(part, HasSubstr("\r\nContent-Range: bytes 2-5/10\r\n"));
  EXPECT_EQ(body(part), "2345");

  const auto beyond = ask("GET " + blob_path(layout.layer), "Range: bytes=10-\r\n");
  EXPECT_EQ(status(beyond), "416");
  EXPECT_THAT(beyond, HasSubstr("\r\nContent-Range: bytes */10\r\n"));

  EXPECT_EQ(status(ask("HEAD " + blob_path(layout.layer), "Range: bytes=2-5\r\n")), "200");
}

TEST_F(RegistryServerTest, ServesARangeOnlyIfItIsStillOfTheSame) {
  const auto etag = "\"" + layout.layer.str() + "\"";
  const std::string range = "Range: bytes=2-5\r\n";
  EXPECT_EQ(body(ask("GET " + blob_path(layout.layer), range + "If-Range: " + etag + "\r\n")), "2345");
  for (const auto& other :
       {std::string("\"other\""), "W/" + etag, std::string("Sat, 01 Jan 2050 00:00:00 GMT")}) {
    EXPECT_EQ(body(ask("GET " + blob_path(layout.layer), range + "If-Range: " + other + "\r\n")), content);
  }
}

TEST_F(RegistryServerTest, DoesNotSendWhatTheClientHas) {
  const auto etag = "\"" + layout.layer.str() + "\"";
  for (const auto& list : {etag, "W/" + etag, "\"other\", " + etag, std::string("*")}) {
    const auto response = ask("GET " + blob_path(layout.layer), "If-None-Match: " + list + "\r\n");
    EXPECT_EQ(status(response), "304") << list;
    EXPECT_EQ(body(response), "") << list;
  }
  EXPECT_EQ(status(ask("GET " + blob_path(layout.layer), "If-None-Match: \"other\"\r\n")), "200");
}

TEST_F(RegistryServerTest, ListsTagsAndRepositories) {
  EXPECT_EQ(body(ask("GET /v2/demo/tags/list")), R"({"name":"demo","tags":["1"]})");
  EXPECT_EQ(body(ask("GET /v2/_catalog")), R"({"repositories":["demo"]})");
}

TEST_F(RegistryServerTest, ListsInPages) {
  EXPECT_EQ(body(ask("GET /v2/demo/tags/list?last=1")), R"({"name":"demo","tags":[]})");
  EXPECT_EQ(body(ask("GET /v2/demo/tags/list?n=5&last=0")), R"({"name":"demo","tags":["1"]})");
  EXPECT_EQ(status(ask("GET /v2/demo/tags/list?n=-1")), "400");
}

TEST(RegistryServerAnswer, LinksToTheNextPage) {
  const TestLayout first(content, "app:1");
  const TestLayout second("other", "app:2");
  const auto layouts = ServedLayouts::load({{first.root(), ""}, {second.root(), ""}});
  ServedRequest request;
  request.method = "GET";
  request.target = "/v2/app/tags/list?n=1";
  const auto page = std::get<ServedResponse>(route(layouts, request));
  EXPECT_EQ(page.text, R"({"name":"app","tags":["1"]})");
  EXPECT_EQ(page.fields.find("Link"), R"(</v2/app/tags/list?n=1&last=1>; rel="next")");
  request.target = "/v2/app/tags/list?n=1&last=1";
  const auto rest = std::get<ServedResponse>(route(layouts, request));
  EXPECT_EQ(rest.text, R"({"name":"app","tags":["2"]})");
  EXPECT_EQ(rest.fields.find("Link"), std::nullopt);
}

TEST_F(RegistryServerTest, SaysWhatIsWrongInTheSpecificationsJson) {
  const auto unknown = Digest::sha256_of("unknown").str();
  struct Case {
    std::string line;
    const char* status;
    const char* code;
  };
  const Case cases[] = {
      {"GET /v2/demo/manifests/2", "404", "MANIFEST_UNKNOWN"},
      {"GET /v2/other/manifests/1", "404", "MANIFEST_UNKNOWN"},
      {"GET /v2/demo/manifests/" + unknown, "404", "MANIFEST_UNKNOWN"},
      {"GET /v2/demo/manifests/" + layout.layer.str(), "404", "MANIFEST_UNKNOWN"},
      {"GET /v2/demo/manifests/sha256:12", "400", "DIGEST_INVALID"},
      {"GET /v2/demo/blobs/" + unknown, "404", "BLOB_UNKNOWN"},
      {"GET /v2/demo/blobs/sha256:" + std::string(64, 'A'), "400", "DIGEST_INVALID"},
      {"GET /v2/demo/blobs/md5:" + std::string(32, 'a'), "400", "DIGEST_INVALID"},
      {"GET /v2/demo/blobs/index.json", "400", "DIGEST_INVALID"},
      {"GET /v2/UPPER/blobs/" + unknown, "400", "NAME_INVALID"},
      {"GET /v2/other/tags/list", "404", "NAME_UNKNOWN"},
      {"GET /v2/demo/tags/other", "404", "UNSUPPORTED"},
      {"GET /v2/demo", "404", "UNSUPPORTED"},
      {"GET /v2//blobs/" + unknown, "400", "NAME_INVALID"},
      {"GET /", "404", "UNSUPPORTED"},
      {"DELETE /v2/demo/manifests/1", "405", "UNSUPPORTED"},
      {"PUT /v2/demo/manifests/1", "405", "UNSUPPORTED"},
  };
  for (const auto& c : cases) {
    const auto response = ask(c.line);
    EXPECT_EQ(status(response), c.status) << c.line;
    EXPECT_THAT(response, HasSubstr("\r\nContent-Type: application/json\r\n")) << c.line;
    EXPECT_THAT(body(response), StartsWith(R"({"errors":[{"code":")" + std::string(c.code) + "\"")) << c.line;
  }
}

TEST_F(RegistryServerTest, StaysBelowTheLayoutWhateverThePathSays) {
  test::write_file(layout.folder / "secret", "secret");
  for (const char* path : {"/v2/demo/blobs/../../../secret", "/v2/demo/blobs/sha256:../../../secret",
                           "/v2/demo/blobs/sha256%3A..%2F..%2F..%2Fsecret", "/v2/../secret",
                           "/v2/demo/manifests/..%2f..%2fsecret", "/../secret", "/v2/demo/blobs/%00",
                           "/v2/demo/blobs/%zz", "/v2/demo/blobs/%2"}) {
    const auto response = ask("GET " + std::string(path));
    EXPECT_THAT(status(response), StartsWith("4")) << path;
    EXPECT_THAT(response, Not(HasSubstr("secret\""))) << path;
  }
}

TEST_F(RegistryServerTest, FollowsNoLinkOutOfTheLayout) {
  test::write_file(layout.folder / "secret", "secret");
  std::filesystem::remove(layout.file(layout.layer));
  std::filesystem::create_symlink(layout.folder / "secret", layout.file(layout.layer));
  EXPECT_EQ(status(ask("GET " + blob_path(layout.layer))), "404");
}

TEST_F(RegistryServerTest, ServesOnlyRegularFiles) {
  std::filesystem::remove(layout.file(layout.layer));
  std::filesystem::create_directory(layout.file(layout.layer));
  EXPECT_EQ(status(ask("GET " + blob_path(layout.layer))), "404");
}

TEST_F(RegistryServerTest, UnderstandsPercentEncodingAndTheAbsoluteForm) {
  auto encoded = blob_path(layout.layer);
  encoded.replace(encoded.find(':'), 1, "%3a");
  EXPECT_EQ(body(ask("GET " + encoded)), content);
  EXPECT_EQ(body(ask("GET http://x" + blob_path(layout.layer))), content);
}

TEST_F(RegistryServerTest, AnswersOneRequestAfterTheOtherOnAConnection) {
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) {
    client.send("GET " + blob_path(layout.layer) + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(body(client.read_response()), content);
  }
}

TEST_F(RegistryServerTest, AnswersPipelinedRequestsInTheirOrder) {
  RawClient client(server.port());
  client.send("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET " + blob_path(layout.layer) +
              " HTTP/1.1\r\nHost: x\r\n\r\nHEAD /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(body(client.read_response()), "{}");
  EXPECT_EQ(body(client.read_response()), content);
  EXPECT_THAT(client.read_all(), HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(RegistryServerTest, DoesNotTakeABodyForARequest) {
  RawClient client(server.port());
  const std::string smuggled = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
  client.send("POST /v2/demo/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: " +
              std::to_string(smuggled.size()) + "\r\n\r\n" + smuggled);
  const auto all = client.read_all();
  EXPECT_EQ(status(all), "405");
  EXPECT_THAT(all, HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(all.substr(1), Not(HasSubstr("HTTP/1.1 200")));
}

TEST_F(RegistryServerTest, SpeaksHttp10) {
  RawClient client(server.port());
  const auto response = client.send("GET " + blob_path(layout.layer) + " HTTP/1.0\r\n\r\n").read_all();
  EXPECT_EQ(body(response), content);
}

TEST_F(RegistryServerTest, RefusesWhatIsNoRequest) {
  struct Case {
    std::string bytes;
    const char* status;
  };
  const Case cases[] = {
      {"nonsense\r\n\r\n", "400"},
      {"GET /v2/ HTTP/1.1\r\n\r\n", "400"},
      {"GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
      {"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"},
      {"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + std::string(20000, 'a') + "\r\n\r\n", "431"},
      {"GET /v2/" + std::string(20000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n", "431"},
  };
  for (const auto& c : cases) {
    RawClient client(server.port());
    const auto response = client.send(c.bytes).read_all();
    EXPECT_EQ(status(response), c.status) << c.bytes.substr(0, 80);
    EXPECT_THAT(response, HasSubstr("\r\nConnection: close\r\n")) << c.bytes.substr(0, 80);
  }
}

TEST_F(RegistryServerTest, LogsEachResponse) {
  ask("GET " + blob_path(layout.layer), "User-Agent: agent/1\r\nAuthorization: Basic c2VjcmV0\r\n");
  ask("HEAD /v2/");
  const auto lines = server.log();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], StartsWith("127.0.0.1 - - ["));
  EXPECT_THAT(lines[0],
              HasSubstr("\"GET " + blob_path(layout.layer) + " HTTP/1.1\" 200 10 \"-\" \"agent/1\""));
  EXPECT_THAT(lines[0], Not(HasSubstr("c2VjcmV0")));
  EXPECT_THAT(lines[1], HasSubstr("\"HEAD /v2/ HTTP/1.1\" 200 0 "));
}

TEST(RegistryServerLarge, SendsBlobsThatTheSocketCannotHold) {
  std::string large(40U << 20U, '\0');
  for (std::size_t i = 0; i < large.size(); i += 4096) large[i] = static_cast<char>(i >> 12U);
  const TestLayout layout(large);
  const TestServer server(layout.load());
  EXPECT_TRUE(body(server.ask("GET /v2/demo/blobs/" + layout.layer.str())) == large);
}

TEST(RegistryServerLarge, HangsUpOnABlobThatBecameShorter) {
  const TestLayout layout(std::string(40U << 20U, 'x'));
  const TestServer server(layout.load());
  RawClient client(server.port());
  client.send("GET /v2/demo/blobs/" + layout.layer.str() + " HTTP/1.1\r\nHost: x\r\n\r\n");
  client.wait_for_answer();
  // Most is still in the file: no socket holds so much.
  std::filesystem::resize_file(layout.file(layout.layer), 0);
  EXPECT_LT(client.read_all().size(), 40U << 20U);
}

TEST(RegistryServerLimits, ClosesIdleConnections) {
  const TestLayout layout(content);
  RegistryServerOptions options;
  options.idle_timeout = milliseconds(20);
  const TestServer server(layout.load(), options);
  EXPECT_EQ(RawClient(server.port()).read_all(), "");
}

TEST(RegistryServerLimits, WaitsOnlySoLongForAHead) {
  const TestLayout layout(content);
  RegistryServerOptions options;
  options.head_timeout = milliseconds(20);
  const TestServer server(layout.load(), options);
  EXPECT_EQ(status(RawClient(server.port()).send("GET /v2/ HT").read_all()), "408");
}

TEST(RegistryServerLimits, HangsUpOnAClientThatTakesNothing) {
  const TestLayout layout(std::string(40U << 20U, 'x'));
  RegistryServerOptions options;
  options.stall_timeout = milliseconds(20);
  options.max_connections = 1;
  const TestServer server(layout.load(), options);
  RawClient stalled(server.port());
  stalled.send("GET /v2/demo/blobs/" + layout.layer.str() + " HTTP/1.1\r\nHost: x\r\n\r\n");
  // It has the only place, so this answer comes once it has lost it.
  EXPECT_EQ(status(server.ask("GET /v2/")), "200");
}

TEST(RegistryServerLimits, LetsFurtherClientsWait) {
  const TestLayout layout(content);
  RegistryServerOptions options;
  options.max_connections = 1;
  const TestServer server(layout.load(), options);
  std::optional<RawClient> first(std::in_place, server.port());
  first->send("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n");
  first->read_response();
  RawClient second(server.port());
  second.send("GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  first.reset();
  EXPECT_EQ(status(second.read_all()), "200");
}

TEST(RegistryServerEnd, StopsWithConnectionsOpen) {
  const TestLayout layout(std::string(40U << 20U, 'x'));
  TestServer server(layout.load());
  RawClient idle(server.port());
  idle.send("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").read_response();
  RawClient busy(server.port());
  busy.send("GET /v2/demo/blobs/" + layout.layer.str() + " HTTP/1.1\r\nHost: x\r\n\r\n");
  server.stop();
  EXPECT_EQ(idle.read_all(), "");
}

TEST(RegistryServerEnd, IsCancelledLikeEverythingElse) {
  const TestLayout layout(content);
  asio::io_context home(1);
  RegistryServer server(home.get_executor(), layout.load(), {});
  auto serve = [](RegistryServer& registry) -> Awaitable<int> {
    co_await registry.serve();
    co_return 0;
  };
  int turns = 0;
  const auto error = test::error_after_cancel(home, serve(server), [&] { return ++turns > 3; });
  EXPECT_EQ(error.code(), Errc::cancelled);
}

TEST(RegistryServerEnd, SaysThatItsAddressIsTaken) {
  const TestLayout layout(content);
  asio::io_context home(1);
  const RegistryServer first(home.get_executor(), layout.load(), {});
  RegistryServerOptions options;
  options.address = first.address();
  try {
    const RegistryServer second(home.get_executor(), layout.load(), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
    EXPECT_EQ("http://" + error.message().substr(10, error.message().find(": ") - 10), first.url());
  }
}

}  // namespace
}  // namespace lazypull
