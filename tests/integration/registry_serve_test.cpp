// `lazypull registry serve` is a registry to the real clients: what they pull from it is what the layout has.

#include "tests/integration/support/image.hpp"
#include "tests/integration/support/lazypull.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <random>

namespace lazypull::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

/// The command on a layout of its own, as a process.
class ServedLayout {
 public:
  explicit ServedLayout(const Image& image, const std::string& name = "1") : image_(image) {
    write_layout(image, folder_ / "demo", name);
    process_.emplace(Argv{LAZYPULL_BINARY, "registry", "serve", (folder_ / "demo").string()});
    wait_until(
        [this] {
          if (!process_->running()) throw std::runtime_error("registry serve ended: " + process_->err());
          return process_->out().ends_with('\n');
        },
        "registry serve to listen");
  }

  std::string greeting() const { return process_->out(); }
  std::string host() const {
    const std::string start = "listening on http://";
    return greeting().substr(start.size(), greeting().size() - start.size() - 1);
  }
  std::string reference() const { return host() + "/demo:1"; }
  Process& process() { return *process_; }
  const Image& image() const { return image_; }

 private:
  Image image_;
  TempDir folder_{"served"};
  std::optional<Process> process_;
};

/// What cannot be compressed, the same each time.
std::string noise(std::size_t size) {
  std::mt19937 random(1);
  std::string bytes(size, '\0');
  for (auto& byte : bytes) byte = static_cast<char>(random() & 0xffU);
  return bytes;
}

Image two_layers(const std::string& platform = "linux/amd64") {
  ImageBuilder builder;
  builder.layer({tar::directory("etc"), tar::file("etc/first", noise(3'000'000))});
  builder.layer(
      {tar::directory("etc"), tar::file("etc/second", "2").mode(04755), tar::symlink("link", "etc/first")});
  return builder.platform(platform).build();
}

class RegistryServe : public ::testing::Test {
 protected:
  ServedLayout served{two_layers()};
};

TEST_F(RegistryServe, SaysWhereItListensFirst) {
  EXPECT_THAT(served.greeting(), MatchesRegex("listening on http://127\\.0\\.0\\.1:[0-9]+\n"));
}

TEST_F(RegistryServe, SkopeoCopiesTheSameImage) {
  const TempDir copy("copy");
  run_ok({"skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://" + served.reference(),
          "oci:" + copy.path().string() + ":1"});
  const auto copied = read_layout(copy.path());
  EXPECT_EQ(copied.digest, served.image().digest);
  EXPECT_TRUE(copied.blobs == served.image().blobs);
}

TEST_F(RegistryServe, SkopeoFindsTheTags) {
  const auto tags =
      run_ok({"skopeo", "list-tags", "--tls-verify=false", "docker://" + served.host() + "/demo"});
  EXPECT_THAT(tags, HasSubstr("\"1\""));
}

TEST_F(RegistryServe, CtrAndLazypullPullTheSameImage) {
  Containerd theirs;
  Containerd ours;
  theirs.ctr_ok({"images", "pull", "--plain-http", served.reference()});
  const auto outcome = Lazypull(ours).run_ok({"pull", served.reference()});
  EXPECT_EQ(outcome.decisions(), (std::vector<std::string>{"download", "download"}));
  const auto images = ours.ctr_ok({"images", "ls"});
  EXPECT_THAT(images, HasSubstr(served.image().digest));
  // No entry names the root.
  const TreeDiffOptions but{.ignore_root = true};
  EXPECT_THAT(diff(read_image_tree(theirs, "overlayfs", served.reference()),
                   read_image_tree(ours, "overlayfs", served.reference()), but),
              IsEmpty());
}

TEST_F(RegistryServe, LogsWhatWasAsked) {
  run_ok({"skopeo", "inspect", "--raw", "--tls-verify=false", "docker://" + served.reference()});
  ASSERT_EQ(served.process().stop(), 0);
  EXPECT_THAT(served.process().err(), HasSubstr("\"GET /v2/demo/manifests/1 HTTP/1.1\" 200 "));
}

TEST_F(RegistryServe, EndsWellAtEitherSignal) {
  served.process().signal(SIGTERM);
  EXPECT_EQ(served.process().wait(std::chrono::seconds(10)), 0);
  ServedLayout other(two_layers());
  other.process().signal(SIGINT);
  EXPECT_EQ(other.process().wait(std::chrono::seconds(10)), 0);
}

TEST(RegistryServeIndex, LeadsToEachPlatform) {
  const auto index = make_index({two_layers("linux/arm64"), two_layers("linux/amd64")});
  const ServedLayout served(index);
  const TempDir copy("copy");
  run_ok({"skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "docker://" + served.reference(),
          "oci:" + copy.path().string() + ":1"});
  EXPECT_EQ(read_layout(copy.path()).digest, index.digest);
  EXPECT_TRUE(read_layout(copy.path()).blobs == index.blobs);
}

TEST(RegistryServeFailure, SaysWhatIsWrongWithItsArguments) {
  const TempDir folder("served");
  write_layout(two_layers(), folder / "demo");
  const auto demo = (folder / "demo").string();
  struct Case {
    Argv arguments;
    const char* message;
  };
  const Case cases[] = {
      {{(folder / "none").string()}, "none: No such file or directory"},
      {{folder.path().string()}, "blobs: No such file or directory"},
      {{demo, "--address", "nowhere"}, "--address: 'nowhere' is no address"},
      {{demo, "--repository", "UPPER"}, "'UPPER' is no repository name"},
      {{demo, "--access-log", demo}, "--access-log"},
      {{}, "LAYOUT"},
  };
  for (const auto& c : cases) {
    Argv argv{LAZYPULL_BINARY, "registry", "serve"};
    argv.insert(argv.end(), c.arguments.begin(), c.arguments.end());
    const auto result = run(argv);
    EXPECT_NE(result.exit_code, 0) << c.message;
    EXPECT_THAT(result.err, HasSubstr(c.message));
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace lazypull::test
