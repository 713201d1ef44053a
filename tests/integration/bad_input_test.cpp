// What can go wrong, through a real containerd: each case gets an error that names the object, the documented
// exit code, and leaves nothing behind.

#include "tests/integration/support/containerd_state.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/scripted_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace lazypull::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* oci_manifest = "application/vnd.oci.image.manifest.v1+json";

struct Expectation {
  int exit_code;
  std::string code;
  std::string names;  ///< the object that the message must name
};

/// A registry that serves one image from memory, of which a test spoils what it likes.
class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { containerd = new Containerd({.isolated_content = true}); }
  static void TearDownTestSuite() { delete containerd; }

  BadInput() {
    server.otherwise([this](const ScriptedRequest& request) {
      const auto found = answers.find(request.method + " " + request.path());
      return found == answers.end() ? ScriptedResponse(404) : found->second;
    });
    serve(ImageBuilder().layer({tar::file("a", tar::noise(40'000))}).build());
  }

  void serve(const Image& served) {
    image = served;
    for (const auto& [digest, bytes] : image.blobs) {
      const bool manifest = digest == image.digest;
      answer("GET " + path_of(digest),
             ScriptedResponse(200, bytes,
                              {{"Content-Type", manifest ? oci_manifest : "application/octet-stream"}}));
    }
    tag(image.digest, image.blobs.at(image.digest), image.media_type);
  }

  std::string path_of(const std::string& digest) const {
    return (digest == image.digest ? "/v2/app/manifests/" : "/v2/app/blobs/") + digest;
  }

  /// Points app:1 at this manifest, in the answers to HEAD and GET.
  void tag(const std::string& digest, const std::string& bytes, const std::string& media_type) {
    const ScriptedResponse response(200, bytes,
                                    {{"Content-Type", media_type}, {"Docker-Content-Digest", digest}});
    for (const auto* method : {"HEAD", "GET"}) answer(std::string(method) + " /v2/app/manifests/1", response);
  }

  /// Serves a manifest of these bytes.
  void serve_manifest(const std::string& bytes, const std::string& media_type = oci_manifest) {
    const auto digest = digest_of(bytes);
    tag(digest, bytes, media_type);
    answer("GET /v2/app/manifests/" + digest, ScriptedResponse(200, bytes, {{"Content-Type", media_type}}));
  }

  void answer_layer(const ScriptedResponse& response) { answer("GET " + path_of(layer()), response); }
  /// Only before the request is made: the server answers on a thread of its own.
  void answer(const std::string& request, const ScriptedResponse& response) {
    answers.insert_or_assign(request, response);
  }
  const std::string& layer() const { return image.layers[0].digest; }
  std::string reference() const { return server.host() + "/app:1"; }

  void expect_failure(const Argv& arguments, const Expectation& expected) {
    const auto before = read_state(*containerd);
    const auto outcome = Lazypull(*containerd).run(arguments);
    EXPECT_EQ(outcome.process.exit_code, expected.exit_code) << outcome.process.err;
    EXPECT_EQ(outcome.error_code(), expected.code);
    EXPECT_THAT(outcome.error_message(), HasSubstr(expected.names));
    EXPECT_THAT(outcome.process.err, HasSubstr(expected.names)) << "people read standard error";
    const auto state = read_state(*containerd);
    EXPECT_THAT(state.images, IsEmpty());
    EXPECT_THAT(state.leases, IsEmpty());
    EXPECT_THAT(state.snapshots, IsEmpty());
    collect_garbage(*containerd);
    EXPECT_THAT(diff(before, read_state(*containerd)), IsEmpty());
  }
  void expect_pull_fails(const Expectation& expected) { expect_failure({"pull", reference()}, expected); }

  static Containerd* containerd;
  std::map<std::string, ScriptedResponse> answers;  ///< by "METHOD path"
  ScriptedServer server;
  Image image;
};
Containerd* BadInput::containerd = nullptr;

TEST_F(BadInput, TheImageIsGoodUntilItIsSpoilt) {
  EXPECT_EQ(Lazypull(*containerd, "good").run({"pull", reference()}).process.exit_code, 0);
}

TEST_F(BadInput, UnknownHost) {
  expect_failure({"pull", "nosuchhost.invalid/app:1"}, {5, "host_not_found", "nosuchhost.invalid"});
}

TEST_F(BadInput, RefusedConnection) {
  expect_failure({"pull", "127.0.0.1:1/app:1"}, {5, "unavailable", "127.0.0.1:1"});
}

TEST_F(BadInput, Unauthorized401) {
  answer("HEAD /v2/app/manifests/1", ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=\"r\""}}));
  expect_pull_fails({4, "unauthorized", "/v2/app/manifests/1"});
}

TEST_F(BadInput, Forbidden403) {
  const ScriptedResponse denied(
      403, R"({"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]})");
  answer("HEAD /v2/app/manifests/1", denied);
  answer("GET /v2/app/manifests/1", denied);
  expect_pull_fails({4, "forbidden", "requested access to the resource is denied"});
}

TEST_F(BadInput, NoSuchTag404) {
  expect_failure({"pull", server.host() + "/app:nosuch"}, {3, "not_found", "/v2/app/manifests/nosuch"});
}

TEST_F(BadInput, NoSuchLayer404) {
  answer_layer(ScriptedResponse(404));
  expect_pull_fails({3, "not_found", layer()});
}

TEST_F(BadInput, TooManyRequests429) {
  const ScriptedResponse busy(429, "", {{"Retry-After", "0"}});
  answer("HEAD /v2/app/manifests/1", busy);
  answer("GET /v2/app/manifests/1", busy);
  expect_pull_fails({5, "too_many_requests", "429"});
  EXPECT_GT(server.requests("HEAD /v2/app/manifests/1").size(), 1U) << "it is worth another try";
}

TEST_F(BadInput, ServerError500) {
  answer_layer(ScriptedResponse(500, "oh dear"));
  expect_pull_fails({5, "server_error", layer()});
}

TEST_F(BadInput, AManifestThatIsNotItsDigest) {
  auto other = image.blobs.at(image.digest);
  other.back() = ' ';
  answer("GET " + path_of(image.digest), ScriptedResponse(200, other, {{"Content-Type", oci_manifest}}));
  expect_pull_fails({6, "digest_mismatch", image.digest});
}

TEST_F(BadInput, ALayerThatIsNotItsDigest) {
  auto other = image.blobs.at(layer());
  other[other.size() / 2] ^= 1;
  answer_layer(ScriptedResponse(200, other));
  expect_pull_fails({6, "digest_mismatch", layer()});
}

TEST_F(BadInput, AResponseThatClaimsAnotherSize) {
  answer_layer(ScriptedResponse(200, image.blobs.at(layer()) + "more"));
  expect_pull_fails({6, "size_mismatch", layer()});
}

TEST_F(BadInput, ABodyThatIsLongerThanItsDescriptor) {
  ScriptedResponse response(200, image.blobs.at(layer()) + "more");
  response.chunked = true;
  answer_layer(response);
  expect_pull_fails({6, "size_mismatch", layer()});
}

TEST_F(BadInput, ABodyThatIsShorterThanItsDescriptor) {
  ScriptedResponse response(200, image.blobs.at(layer()).substr(0, 1000));
  response.chunked = true;
  answer_layer(response);
  const auto outcome = Lazypull(*containerd).run({"pull", reference()});
  EXPECT_EQ(outcome.process.exit_code, 6) << outcome.process.err;
  EXPECT_THAT(outcome.error_message(), HasSubstr(layer()));
  collect_garbage(*containerd);
  EXPECT_THAT(read_state(*containerd).content, IsEmpty());
}

TEST_F(BadInput, ABodyThatIsCutShortEachTime) {
  ScriptedResponse response(200, image.blobs.at(layer()));
  response.cut_after = 1000;
  answer_layer(response);
  const auto outcome = Lazypull(*containerd).run({"pull", reference()});
  EXPECT_THAT(outcome.process.exit_code, testing::AnyOf(5, 6)) << outcome.process.err;
  EXPECT_THAT(outcome.error_message(), HasSubstr(layer()));
  const auto state = read_state(*containerd);
  EXPECT_THAT(state.snapshots, IsEmpty());
  EXPECT_THAT(state.leases, IsEmpty());
  EXPECT_THAT(state.images, IsEmpty());
}

TEST_F(BadInput, MalformedJson) {
  serve_manifest(R"({"schemaVersion":2,)");
  expect_pull_fails({6, "bad_response", digest_of(R"({"schemaVersion":2,)")});
}

TEST_F(BadInput, MissingConfig) {
  answer("GET " + path_of(image.config_digest), ScriptedResponse(404));
  expect_pull_fails({3, "not_found", image.config_digest});
}

TEST_F(BadInput, DiffIdMismatch) {
  auto wrong = make_layer({tar::file("a", "1")});
  wrong.diff_id = digest_of("something else");
  serve(ImageBuilder().layer(wrong).build());
  expect_pull_fails({6, "digest_mismatch", wrong.digest});
}

TEST_F(BadInput, FewerDiffIdsThanLayers) {
  const std::string config =
      R"({"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}})";
  const auto config_digest = digest_of(config);
  answer("GET /v2/app/blobs/" + config_digest, ScriptedResponse(200, config));
  auto manifest = image.blobs.at(image.digest);
  const auto at = manifest.find(image.config_digest);
  manifest.replace(at, image.config_digest.size(), config_digest);
  const auto old_size = "\"size\":" + std::to_string(image.blobs.at(image.config_digest).size());
  const auto size_at = manifest.find(old_size);
  ASSERT_NE(size_at, std::string::npos);
  manifest.replace(size_at, old_size.size(), "\"size\":" + std::to_string(config.size()));
  serve_manifest(manifest);
  expect_pull_fails({6, "invalid_image", config_digest});
}

TEST_F(BadInput, UnsupportedManifestType) {
  serve_manifest(R"({"schemaVersion":1})", "application/vnd.docker.distribution.manifest.v1+prettyjws");
  expect_pull_fails({6, "unsupported", "schema 1"});
}

TEST_F(BadInput, UnsupportedLayerType) {
  auto strange = make_layer({tar::file("a", "1")});
  strange.media_type = "application/vnd.example.strange";
  serve(ImageBuilder().layer(strange).build());
  expect_pull_fails({6, "unsupported", "application/vnd.example.strange"});
}

TEST_F(BadInput, ALayerThatIsNoArchive) {
  auto garbage =
      make_layer(std::string_view("this is no tar archive, however long one looks at it"), Compression::none);
  serve(ImageBuilder().layer(garbage).build());
  expect_pull_fails({6, "invalid_image", garbage.digest});
}

TEST_F(BadInput, PlatformNotFound) {
  Registry registry;
  const auto reference = registry.store(make_index({image}), "multi:1");
  expect_failure({"pull", "--platform", "linux/s390x", reference}, {3, "platform_not_found", "linux/s390x"});
}

TEST_F(BadInput, UnknownSnapshotter) {
  expect_failure({"pull", "--snapshotter", "nosuch", reference()}, {7, "invalid_argument", "nosuch"});
}

TEST_F(BadInput, ABadReferenceIsAUsageError) {
  expect_failure({"pull", "UPPER/case:bad:tag"}, {2, "invalid_argument", "UPPER/case"});
}

class NoContainerd : public ::testing::Test {
 protected:
  ProcessResult pull(const std::string& address) {
    return run(
        {LAZYPULL_BINARY, "--address", address, "--connect-timeout", "2s", "pull", "127.0.0.1:1/app:1"});
  }
  TempDir folder{"no-containerd"};
};

TEST_F(NoContainerd, NotRunning) {
  const auto socket = (folder / "containerd.sock").string();
  const auto result = pull(socket);
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_THAT(result.err, HasSubstr(socket));
}

TEST_F(NoContainerd, PermissionDeniedOnItsSocket) {
  Containerd containerd;
  // Another user may not open root's socket. The binary must be reachable for that user, wherever the build
  // is.
  const auto binary = folder / "lazypull";
  std::filesystem::copy_file(LAZYPULL_BINARY, binary);
  ::chmod(folder.path().c_str(), 0755);
  ::chmod(binary.c_str(), 0755);
  const auto socket = folder / "containerd.sock";
  run_ok({"sh", "-c",
          "chmod 0755 \"$(dirname '" + containerd.socket().string() + "')\"; chmod 0600 '" +
              containerd.socket().string() + "'"});
  const auto result = run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "--address",
                           containerd.socket(), "pull", "127.0.0.1:1/app:1"});
  EXPECT_EQ(result.exit_code, 7) << result.err;
  EXPECT_THAT(result.err, HasSubstr("ermission denied"));
  EXPECT_THAT(result.err, HasSubstr(containerd.socket().string()));
}

}  // namespace
}  // namespace lazypull::test
