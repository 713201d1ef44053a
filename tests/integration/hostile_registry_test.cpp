// Whole pulls, by the command as users run it, from registries and of images that are made to do harm. Each
// case ends with the exit code and the error that it must give, and leaves nothing in the store. What can be
// shown without a whole pull is in tests/unit/hostile_*_test.cpp.

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/scripted_registry.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::milliseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* oci_manifest = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* oci_index = "application/vnd.oci.image.index.v1+json";

struct Expectation {
  int exit_code;
  std::string code;
  std::string says;
};

class HostileRegistry : public testing::Test {
 protected:
  HostileRegistry() {
    serve(ImageBuilder().layer({tar::directory("d"), tar::file("d/a", tar::noise(40'000))}).build());
  }

  void serve(const Image& served) {
    image = served;
    registry.serve(image);
  }
  void serve_layer(const std::vector<tar::Entry>& entries) { serve(ImageBuilder().layer(entries).build()); }
  const std::string& layer() const { return image.layers[0].digest; }

  PullOutcome pull(const Argv& flags = {}, ProcessOptions options = {}) {
    return pull_from(registry, flags, std::move(options));
  }
  PullOutcome pull_from(const ScriptedRegistry& from, const Argv& flags, ProcessOptions options = {}) {
    Argv arguments{"pull", from.reference()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return lazypull.run(arguments, std::move(options));
  }

  void expect_failed(const PullOutcome& outcome, const Expectation& expected) {
    EXPECT_EQ(outcome.process.exit_code, expected.exit_code) << outcome.process.err;
    EXPECT_EQ(outcome.error_code(), expected.code);
    EXPECT_THAT(outcome.error_message(), HasSubstr(expected.says));
    EXPECT_THAT(outcome.process.err, HasSubstr(expected.says)) << "people read standard error";
    expect_nothing_left();
  }
  void expect_pull_fails(const Expectation& expected, const Argv& flags = {}) {
    expect_failed(pull(flags), expected);
  }
  void expect_nothing_left() {
    const auto store = lazypull.open();
    EXPECT_THAT(store->images().list(), IsEmpty());
    store->collect_garbage({.ingest_age = std::chrono::seconds(0)});
    EXPECT_THAT(store->content().list(), IsEmpty());
    EXPECT_THAT(store->snapshots().list(), IsEmpty());
    EXPECT_THAT(faults(*store), IsEmpty());
  }

  json::object config_descriptor() const {
    return {{"mediaType", "application/vnd.oci.image.config.v1+json"},
            {"digest", image.config_digest},
            {"size", image.blobs.at(image.config_digest).size()}};
  }

  ScriptedRegistry registry;
  StoreLazypull lazypull;
  Image image;
};

TEST_F(HostileRegistry, TheImageIsGoodUntilItIsSpoilt) {
  EXPECT_EQ(pull().process.exit_code, 0);
}

// ---- manifests and indexes ----

TEST_F(HostileRegistry, AManifestOfMoreThan4MiBIsRefused) {
  const std::string manifest = image.blobs.at(image.digest);
  registry.serve_manifest(manifest + std::string((4U << 20U) - manifest.size() + 1, ' '), oci_manifest);
  expect_pull_fails({6, "invalid_image", "4194305 bytes, more than the limit of 4194304"});
}

TEST_F(HostileRegistry, IndexesThatAreNestedTooDeepAreRefused) {
  Image nested = image;
  for (int i = 0; i < 6; ++i) nested = make_index({nested});
  registry.serve(nested);
  expect_pull_fails({6, "invalid_image", ": nested too deep"});
}

TEST_F(HostileRegistry, AnIndexOfTooManyEntriesIsRefused) {
  json::array entries;
  for (int i = 0; i < 2001; ++i) {
    entries.push_back(
        json::object{{"mediaType", oci_manifest}, {"digest", image.digest}, {"size", image.size}});
  }
  registry.serve_manifest(json::serialize(json::object{{"schemaVersion", 2}, {"manifests", entries}}),
                          oci_index);
  expect_pull_fails({6, "invalid_image", "index.manifests: it has more than 2000 elements"});
}

TEST_F(HostileRegistry, AManifestOfTooManyLayersIsRefused) {
  json::array layers;
  for (int i = 0; i < 1001; ++i) {
    layers.push_back(json::object{{"mediaType", "application/vnd.oci.image.layer.v1.tar+gzip"},
                                  {"digest", layer()},
                                  {"size", image.layers[0].blob.size()}});
  }
  registry.serve_manifest(json::serialize(json::object{
                              {"schemaVersion", 2}, {"config", config_descriptor()}, {"layers", layers}}),
                          oci_manifest);
  expect_pull_fails({6, "invalid_image", "manifest.layers: it has more than 1000 elements"});
}

TEST_F(HostileRegistry, ADuplicateKeyIsRefused) {
  auto manifest = image.blobs.at(image.digest);
  manifest.insert(1, R"("layers":[],)");
  const auto digest = registry.serve_manifest(manifest, oci_manifest);
  expect_pull_fails(
      {6, "bad_response", "manifest " + digest + ": manifest: a key occurs twice in one object"});
}

TEST_F(HostileRegistry, DeepNestingIsRefused) {
  auto manifest = image.blobs.at(image.digest);
  manifest.insert(1, R"("x":)" + std::string(100'000, '[') + std::string(100'000, ']') + ",");
  registry.serve_manifest(manifest, oci_manifest);
  expect_pull_fails({6, "bad_response", "manifest: it is not valid JSON: "});
}

TEST_F(HostileRegistry, InvalidUtf8IsRefused) {
  auto manifest = image.blobs.at(image.digest);
  manifest.insert(1, "\"x\":\"\xed\xa0\x80\",");
  registry.serve_manifest(manifest, oci_manifest);
  expect_pull_fails({6, "bad_response", "manifest: it is not valid JSON: "});
}

TEST_F(HostileRegistry, AManifestThatIsAnIndexAsWellIsRefused) {
  auto manifest = image.blobs.at(image.digest);
  manifest.insert(1, R"("manifests":[],)");
  registry.serve_manifest(manifest, oci_manifest);
  expect_pull_fails({6, "bad_response", "manifest.manifests: it must not be in a document of type"});
}

// ---- digests ----

TEST_F(HostileRegistry, ADigestHeaderThatLiesIsNoticed) {
  const auto other = digest_of("something else");
  const ScriptedResponse lie(200, image.blobs.at(image.digest),
                             {{"Content-Type", oci_manifest}, {"Docker-Content-Digest", other}});
  registry.answer("HEAD /v2/app/manifests/1", lie);
  registry.answer(manifest_request(other), lie);
  expect_pull_fails({6, "digest_mismatch", "manifest " + other + ": "});
}

TEST_F(HostileRegistry, ATagThatMovesBetweenHeadAndGetIsPulledAsItWasResolved) {
  const auto moved = ImageBuilder().layer({tar::file("other", "1")}).build();
  registry.serve(moved, "2");
  // After HEAD the tag leads to another image, also where a digest should be asked for.
  registry.answer("GET /v2/app/manifests/1", ScriptedResponse(200, moved.blobs.at(moved.digest),
                                                              {{"Content-Type", oci_manifest},
                                                               {"Docker-Content-Digest", moved.digest}}));
  ASSERT_EQ(pull().process.exit_code, 0);
  const auto store = lazypull.open();
  ASSERT_EQ(store->images().list().size(), 1U);
  EXPECT_EQ(store->images().list()[0].record.target.digest.str(), image.digest);
}

TEST_F(HostileRegistry, ATagThatMovesAndTakesTheOldManifestWithItIsNotFound) {
  registry.answer(manifest_request(image.digest), ScriptedResponse(404));
  expect_pull_fails({3, "not_found", image.digest});
}

TEST_F(HostileRegistry, AnotherManifestUnderTheDigestIsRefused) {
  const auto moved = ImageBuilder().layer({tar::file("other", "1")}).build();
  registry.answer(manifest_request(image.digest), ScriptedResponse(200, moved.blobs.at(moved.digest)));
  const auto outcome = pull();
  EXPECT_THAT(outcome.error_code(), testing::AnyOf("digest_mismatch", "size_mismatch"));
  EXPECT_EQ(outcome.process.exit_code, 6);
  EXPECT_THAT(outcome.error_message(), HasSubstr(image.digest));
  expect_nothing_left();
}

// ---- credentials and TLS ----

TEST_F(HostileRegistry, CredentialsAreNotTakenToWhereARedirectLeads) {
  ScriptedServer thief;
  thief.otherwise([](const ScriptedRequest&) {
    return ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=\"give\""}});
  });
  const auto to_thief = [&](const ScriptedRequest& request) {
    if (!request.has_header("Authorization"))
      return ScriptedResponse(401, "", {{"WWW-Authenticate", "Basic realm=\"r\""}});
    return ScriptedResponse(307, "", {{"Location", thief.url() + "/take?x=y"}});
  };
  registry.answer(blob_request(layer()), to_thief);
  const auto outcome = pull({"-u", "somebody:verysecret"});
  expect_failed(outcome, {4, "unauthorized", "GET " + thief.url() + "/take: 401 Unauthorized"});
  EXPECT_THAT(outcome.process.err + outcome.process.out, Not(HasSubstr("verysecret")));
  ASSERT_FALSE(thief.requests().empty());
  for (const auto& request : thief.requests()) EXPECT_FALSE(request.has_header("Authorization"));
}

class HostileTlsRegistry : public HostileRegistry {
 protected:
  HostileTlsRegistry() {
    write_file(folder / "ca.pem", identity.certificate);
    secure.emplace(identity);
    secure->serve(image);
  }
  PullOutcome pull_securely(const Argv& more = {}) {
    Argv flags{"--tlscacert", folder / "ca.pem"};
    flags.insert(flags.end(), more.begin(), more.end());
    return pull_from(*secure, flags);
  }

  TempDir folder{"tls"};
  const Identity identity = make_identity({"127.0.0.1"});
  std::optional<ScriptedRegistry> secure;
};

TEST_F(HostileTlsRegistry, ARedirectToHttpIsRefused) {
  EXPECT_EQ(pull_securely().process.exit_code, 0) << "until it is spoilt";
  lazypull = StoreLazypull();
  secure->answer(
      blob_request(layer()),
      ScriptedResponse(307, "", {{"Location", registry.server().url() + "/v2/app/blobs/" + layer()}}));
  expect_failed(pull_securely(),
                {6, "bad_response", "refusing to go from https to " + registry.server().url()});
  EXPECT_THAT(registry.server().requests(), IsEmpty());
}

TEST_F(HostileTlsRegistry, ATokenServiceWithoutTlsIsNotAsked) {
  const ScriptedResponse challenge(
      401, "", {{"WWW-Authenticate", "Bearer realm=\"http://tokens.example.com/token\",service=\"s\""}});
  for (const auto* request : {"HEAD /v2/app/manifests/1", "GET /v2/app/manifests/1"})
    secure->answer(request, challenge);
  const auto outcome = pull_securely({"-u", "somebody:verysecret"});
  expect_failed(outcome,
                {4, "unauthorized",
                 "the token service http://tokens.example.com/token is not https, unlike the registry"});
  EXPECT_THAT(outcome.process.err + outcome.process.out, Not(HasSubstr("verysecret")));
}

TEST_F(HostileTlsRegistry, WithACertificateOfNobodyKnownIsRefused) {
  write_file(folder / "other.pem", make_identity({"127.0.0.1"}).certificate);
  expect_failed(pull_from(*secure, {"--tlscacert", folder / "other.pem"}),
                {5, "tls_failure", secure->server().host()});
}

// ---- responses ----

TEST_F(HostileRegistry, AResponseThatIsSplitInTwoIsRefused) {
  ScriptedResponse split;
  split.raw = "HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\n\r\n";
  registry.answer(blob_request(layer()), split);
  expect_pull_fails({6, "bad_response", layer() + ": malformed HTTP response: "});
}

TEST_F(HostileRegistry, AHeadWithoutEndIsRefused) {
  ScriptedResponse endless;
  endless.raw = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 2000; ++i)
    endless.raw += "X-" + std::to_string(i) + ": " + std::string(60, 'a') + "\r\n";
  registry.answer("HEAD /v2/app/manifests/1", endless);
  expect_pull_fails({6, "bad_response", "the response's head is longer than 64 KiB"});
}

TEST_F(HostileRegistry, RedirectsInACircleEnd) {
  registry.answer(blob_request(layer()),
                  ScriptedResponse(307, "", {{"Location", "/v2/app/blobs/" + layer()}}));
  expect_pull_fails({6, "bad_response", layer() + ": more than 10 redirects"});
}

TEST_F(HostileRegistry, TextOfTheRegistryCannotControlTheTerminal) {
  const ScriptedResponse colours(
      403, R"({"errors":[{"code":"DENIED","message":"\u001b[2J\u001b]0;owned\u0007 no"}]})");
  for (const auto* request : {"HEAD /v2/app/manifests/1", "GET /v2/app/manifests/1"})
    registry.answer(request, colours);
  const auto outcome = pull();
  expect_failed(outcome, {4, "forbidden", "owned"});
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.process.err, Not(HasSubstr("\x07")));
}

// ---- slow loris ----

TEST_F(HostileRegistry, AManifestThatComesByteByByteEndsThePull) {
  ScriptedResponse slow(200, " ");
  slow.claimed_length = 100'000;
  slow.drip = milliseconds(20);
  registry.answer("HEAD /v2/app/manifests/1", ScriptedResponse(405));
  registry.answer("GET /v2/app/manifests/1", slow);
  expect_pull_fails({5, "timed_out", "/v2/app/manifests/1: slower than 256 bytes a second for 0.3 s"},
                    {"--progress-timeout", "300ms"});
}

TEST_F(HostileRegistry, ALayerThatComesByteByByteEndsThePull) {
  ScriptedResponse slow(200, "x");
  slow.claimed_length = image.layers[0].blob.size();
  slow.drip = milliseconds(20);
  registry.answer(blob_request(layer()), slow);
  const auto start = std::chrono::steady_clock::now();
  expect_pull_fails({5, "timed_out", layer() + ": slower than 256 bytes a second for 0.3 s"},
                    {"--progress-timeout", "300ms"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

// ---- layers ----

/// The archive has ended long before its zeros have; on disk there is next to nothing of them.
std::string zeros_after_the_end(std::size_t mebibytes) {
  const auto archive = tar::archive({tar::file("f", "x")});
  const auto member = compress(std::string(std::size_t{64} << 20U, '\0'), Compression::gzip);
  std::string blob = compress(archive, Compression::gzip);
  for (std::size_t i = 0; i < mebibytes / 64; ++i) blob += member;
  return blob;
}

TEST_F(HostileRegistry, ACompressedBombThatMakesNoFileIsRefused) {
  Layer bomb;
  bomb.blob = zeros_after_the_end(1152);
  bomb.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
  bomb.digest = digest_of(bomb.blob);
  bomb.diff_id = digest_of("unknown");
  ASSERT_LT(bomb.blob.size(), 2U << 20U);
  serve(ImageBuilder().layer(bomb).build());
  expect_pull_fails({6, "invalid_image", "more than 1073741824 bytes in it are of no file"});
}

TEST_F(HostileRegistry, ACompressedBombThatMakesFilesEndsWhereTheDiskDoes) {
  const TempDir folder("bomb");
  const auto disk = folder / "disk";
  fs::create_directory(disk);
  ASSERT_EQ(::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=16m"), 0);
  serve_layer({tar::file("zeros", std::string(std::size_t{100} << 20U, '\0'))});
  ASSERT_LT(image.layers[0].blob.size(), 200'000U);
  const auto store = disk / "store";
  const auto result = run({LAZYPULL_BINARY, "--store", store, "pull", registry.reference()});
  EXPECT_EQ(result.exit_code, 8) << result.err;
  EXPECT_THAT(result.err, HasSubstr("layer " + layer() + ": zeros: write: No space left on device"));
  const auto opened = EmbeddedStore::open(store, "default");
  opened->collect_garbage({.ingest_age = std::chrono::seconds(0)});
  EXPECT_THAT(faults(*opened), IsEmpty());
  EXPECT_THAT(opened->snapshots().list(), IsEmpty());
}

TEST_F(HostileRegistry, ASparseFileThatIsLargerThanAnyDiskIsRefused) {
  serve_layer({tar::file("s", "0\n" + std::string(510, '\0'))
                   .pax("GNU.sparse.major", "1")
                   .pax("GNU.sparse.minor", "0")
                   .pax("GNU.sparse.realsize", "9223372036854775807")});
  expect_pull_fails({6, "invalid_image", "layer " + layer() + ": s: the layer is larger than allowed"});
}

TEST_F(HostileRegistry, APathThatLeadsOutStaysInside) {
  const TempDir outside("outside");
  serve_layer({tar::symlink("out", outside.path().string()), tar::file("out/planted", "1"),
               tar::file("../../../../../../../../.." + (outside / "planted").string(), "2"),
               tar::file("d/../../../x", "3")});
  ASSERT_EQ(pull().process.exit_code, 0);
  EXPECT_TRUE(fs::is_empty(outside.path()));
  const auto store = lazypull.open();
  const auto root = store->snapshots().layers(image.top_chain_id()).front();
  EXPECT_EQ(read_file(root.string() + (outside / "planted").string()), "2");
  EXPECT_EQ(read_file(root / "x"), "3");
  EXPECT_THAT(faults(*store), IsEmpty());
}

TEST_F(HostileRegistry, AHardLinkOutOfTheTreeIsRefused) {
  const TempDir outside("outside");
  write_file(outside / "secret", "s");
  serve_layer({tar::hard_link("h", "../../../../../../../.." + (outside / "secret").string())});
  expect_pull_fails({6, "invalid_image", "layer " + layer() + ": h: link it: No such file or directory"});
  struct stat info{};
  ASSERT_EQ(::lstat((outside / "secret").c_str(), &info), 0);
  EXPECT_EQ(info.st_nlink, 1U);
}

TEST_F(HostileRegistry, AHardLinkIntoAnotherLayerIsRefused) {
  serve(ImageBuilder().layer({tar::file("a", "1")}).layer({tar::hard_link("h", "a")}).build());
  expect_pull_fails(
      {6, "invalid_image", "layer " + image.layers[1].digest + ": h: link it: No such file or directory"});
}

TEST_F(HostileRegistry, DevicesAreLeftOutForWhoMayNotMakeThem) {
  serve_layer({tar::block_device("disk", 8, 0), tar::char_device("mem", 1, 1), tar::file("f", "x")});
  const TempDir home("home");
  fs::permissions(home.path(), fs::perms::all);
  const std::string store = home / "store";
  const auto result = run({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           LAZYPULL_BINARY, "--store", store, "pull", registry.reference()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto root = EmbeddedStore::open(store, "default")->snapshots().layers(image.top_chain_id()).front();
  EXPECT_FALSE(fs::exists(fs::symlink_status(root / "disk")));
  EXPECT_FALSE(fs::exists(fs::symlink_status(root / "mem")));
  EXPECT_EQ(read_file(root / "f"), "x");
}

TEST_F(HostileRegistry, FilesOfImagesAreNotReachedByOtherUsersOfTheNode) {
  serve_layer({tar::file("su", "#!").mode(04755), tar::block_device("disk", 8, 0).mode(0666)});
  ASSERT_EQ(pull().process.exit_code, 0);
  const auto root = lazypull.open()->snapshots().layers(image.top_chain_id()).front();
  EXPECT_TRUE(fs::exists(root / "su"));
  // Whatever the folder that the store is in allows.
  fs::permissions(lazypull.directory().parent_path(), fs::perms::all);
  const auto result =
      run({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "cat", root / "su"});
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("Permission denied"));
}

}  // namespace
}  // namespace lazypull::test
