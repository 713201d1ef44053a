// Our extraction of odd and hostile layers against containerd's.
#include "tests/integration/support/tar_corpus.hpp"

#include "engine/error.hpp"
#include "snapshot/containerd_backend.hpp"
#include "snapshot/unpack/extractor.hpp"
#include "snapshot/unpack/inflate.hpp"
#include "snapshot/unpack/place_layer.hpp"
#include "snapshot/unpack/unique_fd.hpp"
#include "tests/integration/support/containerd.hpp"
#include "tests/integration/support/tree.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;
using std::chrono_literals::operator""h;

void run_to_end(Awaitable<> job) {
  asio::io_context home;
  std::exception_ptr failure;
  asio::co_spawn(home, std::move(job), [&](const std::exception_ptr& thrown) { failure = thrown; });
  home.run();
  if (failure) std::rethrow_exception(failure);
}

std::string next_key(const std::string& purpose) {
  static int last = 0;
  return purpose + "-" + std::to_string(++last);
}

Awaitable<Descriptor> store(ContentStore& content, std::string bytes) {
  Descriptor descriptor;
  descriptor.media_type =
      "application/vnd.oci.image.layer.v1.tar+gzip";  // of which containerd takes plain tar too
  descriptor.digest = Digest::sha256_of(std::string_view(bytes));
  descriptor.size = bytes.size();
  const Labels labels;
  const auto ingest = co_await content.ingest("corpus-" + descriptor.digest.str(), descriptor);
  if (ingest) {
    co_await ingest->write(std::as_bytes(std::span(bytes)));
    co_await ingest->commit(labels);
  }
  co_return descriptor;
}

/// A prepared snapshot's mounts, and what its extraction came to.
struct Extraction {
  std::vector<Mount> mounts;
  std::optional<Error> refusal;
};

Awaitable<> by_containerd(ContainerdBackend& backend, Lease& lease, std::string archive, std::string parent,
                          std::string commit_as, Extraction& extraction) {
  const auto key = next_key("theirs");
  const Labels labels;
  const auto descriptor = co_await store(lease.content(), std::move(archive));
  const auto prepared = co_await lease.snapshotter().prepare(key, parent, labels);
  extraction.mounts = prepared.mounts;
  ContainerdApplier applier(backend.client());
  try {
    co_await applier.apply(descriptor, prepared.mounts);
  } catch (const Error& error) {
    extraction.refusal = error;
  }
  if (!commit_as.empty()) co_await lease.snapshotter().commit(commit_as, key, labels);
}

Awaitable<> prepare(Lease& lease, std::string parent, std::vector<Mount>& mounts) {
  const Labels labels;
  const auto prepared = co_await lease.snapshotter().prepare(next_key("ours"), parent, labels);
  mounts = prepared.mounts;
}

class ToExtractor final : public ByteOutput {
 public:
  explicit ToExtractor(Extractor& extractor) : extractor_(extractor) {}
  std::span<std::byte> room() override { return buffer_; }
  void produced(std::size_t bytes) override { extractor_.write(std::span(buffer_).first(bytes)); }

 private:
  Extractor& extractor_;
  std::array<std::byte, 1000> buffer_;  // no multiple of a block
};

/// Extracts into a folder of its own and moves the result to the snapshot, as a pull does.
std::optional<Error> by_us(const std::string& archive, const fs::path& folder,
                           const std::vector<Mount>& mounts) {
  const auto place = snapshot_place(mounts);
  if (!place) throw std::runtime_error("unexpected mounts");
  fs::create_directory(folder);
  try {
    const UniqueFd root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ExtractOptions options;
    options.whiteouts = place->overlay ? WhiteoutFormat::overlay : WhiteoutFormat::remove;
    Extractor extractor(root.get(), options);
    ToExtractor output(extractor);
    Inflater inflater(output);
    inflater.write(std::as_bytes(std::span(archive)));
    inflater.finish();
    const auto result = extractor.finish();
    EXPECT_TRUE(place_layer(folder, *place, result.implicit_directories, result.named_later));
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

/// The tree with its access times as further attributes. Times at which directories were made, or last
/// changed without an entry to say otherwise, are those of this test and count as equal.
TreeManifest tree_of(const std::vector<Mount>& mounts, std::int64_t began_ns) {
  const fs::path root = snapshot_place(mounts)->directory;
  std::map<std::string, std::int64_t> accessed;
  const auto note = [&](const fs::path& path, const std::string& name) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) throw std::runtime_error("lstat " + path.string());
    accessed[name] = info.st_atim.tv_sec * 1'000'000'000 + info.st_atim.tv_nsec;
  };
  note(root, "");
  for (const auto& found : fs::recursive_directory_iterator(root)) {
    note(found.path(), found.path().lexically_relative(root).string());
  }
  auto tree = read_tree(root, true);
  for (auto& [path, entry] : tree) {
    const auto atime = accessed.at(path);
    entry.xattrs["(access time)"] = atime >= began_ns ? "now" : std::to_string(atime);
    if (entry.mtime_ns >= began_ns) entry.mtime_ns = 0;
  }
  return tree;
}

class TarCorpus : public ::testing::Test {
 public:
  static void SetUpTestSuite() {
    daemon = new Containerd;
    folder = new TempDir("corpus");
  }
  static void TearDownTestSuite() {
    delete folder;
    delete daemon;
    folder = nullptr;
    daemon = nullptr;
  }

  /// Extracts with both and compares; returns whether the layer was refused.
  static bool refused(const std::string& archive, bool on_top) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    // The kernel's clock for files is a tick behind.
    const auto began_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() - 100'000'000;
    Extraction theirs;
    std::vector<Mount> our_mounts;
    auto job = [](const std::string& bytes, bool top, Extraction& oracle,
                  std::vector<Mount>& mounts) -> Awaitable<> {
      lazypull::ContainerdOptions options;
      options.address = daemon->address();
      const auto backend = co_await ContainerdBackend::connect(options, "overlayfs");
      const auto lease = co_await backend->acquire(1h);
      std::string parent;
      if (top) {
        parent = next_key("lower");
        Extraction lower;
        co_await by_containerd(*backend, *lease, corpus_lower_layer(), "", parent, lower);
        if (lower.refusal) throw Error(*lower.refusal);
      }
      co_await by_containerd(*backend, *lease, bytes, parent, "", oracle);
      co_await prepare(*lease, parent, mounts);
    };
    run_to_end(job(archive, on_top, theirs, our_mounts));
    const auto ours = by_us(archive, *folder / next_key("scratch"), our_mounts);
    EXPECT_EQ(ours.has_value(), theirs.refusal.has_value())
        << "ours: " << (ours ? ours->message() : "accepted")
        << "\ncontainerd's: " << (theirs.refusal ? theirs.refusal->message() : "accepted");
    if (ours) {
      EXPECT_EQ(ours->code(), ours->message().ends_with("Operation not permitted") ? Errc::permission_denied
                                                                                   : Errc::invalid_image)
          << ours->message();
      return true;
    }
    if (!theirs.refusal) {
      const auto differences = diff(tree_of(theirs.mounts, began_ns), tree_of(our_mounts, began_ns));
      for (const auto& line : differences) ADD_FAILURE() << "containerd's != ours: " << line;
    }
    return false;
  }

  static Containerd* daemon;
  static TempDir* folder;
};

Containerd* TarCorpus::daemon = nullptr;
TempDir* TarCorpus::folder = nullptr;

class TarCorpusCase : public TarCorpus, public ::testing::WithParamInterface<CorpusCase> {};

TEST_P(TarCorpusCase, IsExtractedAsTheLowestLayerAsContainerdDoes) {
  EXPECT_EQ(refused(GetParam().archive, false), GetParam().fate == Fate::refused);
}

TEST_P(TarCorpusCase, IsExtractedOnTopOfAnotherLayerAsContainerdDoes) {
  EXPECT_EQ(refused(GetParam().archive, true), GetParam().fate != Fate::accepted);
}

INSTANTIATE_TEST_SUITE_P(Layers, TarCorpusCase, ::testing::ValuesIn(tar_corpus()),
                         [](const auto& info) { return info.param.name; });

// The archives with which Go's own reader is tested.
TEST_F(TarCorpus, GosTestArchivesAreExtractedAsContainerdDoes) {
  const auto found = run({"go", "env", "GOROOT"});
  ASSERT_EQ(found.exit_code, 0) << found.err;
  const fs::path goroot = found.out.substr(0, found.out.find('\n'));
  int archives = 0;
  for (const auto& file : fs::directory_iterator(goroot / "src/archive/tar/testdata")) {
    const auto name = file.path().filename().string();
    // containerd writes all the zeros of a sparse file, of which some have sixty gigabytes.
    if (!name.ends_with(".tar") || name.find("-big") != std::string::npos) continue;
    SCOPED_TRACE(name);
    refused(read_file(file.path()), false);
    ++archives;
  }
  EXPECT_GT(archives, 20);
}

}  // namespace
}  // namespace lazypull::test
