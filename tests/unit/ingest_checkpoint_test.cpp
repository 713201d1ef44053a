// How far the digest of a partial blob has come, for whoever goes on from there.
#include "snapshot/embedded/ingest_checkpoint.hpp"

#include "snapshot/embedded/files.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/store_fixture.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <string>
#include <unistd.h>

namespace lazypull::test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t large = 5'000'123;

/// Bytes that this process has read so far, from files or sockets.
std::uint64_t bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string name;
  std::uint64_t count = 0;
  io >> name >> count;
  return count;
}

Sha256State state_of(std::string_view bytes) {
  ResumableSha256 hasher;
  hasher.update(bytes_of(bytes));
  return hasher.state();
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() {
    write(bytes);
    checkpoint().save(data, bytes.size(), state_of(bytes));
  }

  void write(std::string_view text) {
    if (!data) data = open_file(file, O_RDWR | O_CREAT, 0600);
    write_at(data, bytes_of(text), 0, file);
  }
  IngestCheckpoint checkpoint(const std::string& boot = "this boot") const {
    return {file, Digest::sha256_of("expected"), boot};
  }
  std::optional<Sha256State> loaded() const { return checkpoint().load(data, bytes.size()); }

  TempDir dir{"checkpoint"};
  fs::path file = dir / "data";
  fs::path record = dir / "checkpoint";
  std::string bytes = make_content(large);
  UniqueFd data;
};

TEST_F(Checkpoint, HoldsForTheFileAsItWasLeft) {
  EXPECT_EQ(loaded(), state_of(bytes));
}

TEST_F(Checkpoint, IsVoidAfterAnyWrite) {
  // The kernel's stamps are as coarse as its clock ticks.
  const auto before = stat_of(file)->st_ctim.tv_nsec;
  while (stat_of(file)->st_ctim.tv_nsec == before) write_at(data, bytes_of("x"), 17, file);
  EXPECT_EQ(loaded(), std::nullopt);
}

TEST_F(Checkpoint, IsVoidForAnotherSize) {
  EXPECT_EQ(checkpoint().load(data, large - 64), std::nullopt);
  ASSERT_EQ(::ftruncate(data.get(), large - 64), 0);
  EXPECT_EQ(checkpoint().load(data, large - 64), std::nullopt);
  EXPECT_EQ(loaded(), std::nullopt);
}

TEST_F(Checkpoint, IsVoidForAnotherFile) {
  fs::copy_file(file, dir / "other");
  fs::rename(dir / "other", file);
  data = open_file(file, O_RDWR);
  EXPECT_EQ(loaded(), std::nullopt);
}

TEST_F(Checkpoint, IsVoidAfterABoot) {
  EXPECT_EQ(checkpoint("the next boot").load(data, large), std::nullopt);
}

TEST_F(Checkpoint, IsVoidForAnotherBlob) {
  EXPECT_EQ(IngestCheckpoint(file, Digest::sha256_of("another"), "this boot").load(data, large),
            std::nullopt);
}

TEST_F(Checkpoint, ARecordWithAnyByteChangedOrMissingIsNone) {
  const auto good = read_text(record, 4096);
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    write_file(record, bad);
    ASSERT_EQ(loaded(), std::nullopt) << "byte " << i;
    write_file(record, good.substr(0, i));
    ASSERT_EQ(loaded(), std::nullopt) << "the first " << i;
  }
  write_file(record, good + "x");
  EXPECT_EQ(loaded(), std::nullopt);
  write_file(record, std::string(1U << 20U, 'x'));
  EXPECT_EQ(loaded(), std::nullopt);
  write_file(record, good);
  EXPECT_EQ(loaded(), state_of(bytes));
}

TEST_F(Checkpoint, ThatCannotBeWrittenIsNone) {
  fs::remove(record);
  fs::create_directory(record);
  checkpoint().save(data, bytes.size(), state_of(bytes));
  EXPECT_EQ(loaded(), std::nullopt);
}

struct ResumedIngest : testing::Test {
  static Awaitable<> write(Ingest& ingest, std::string_view text) {
    while (!text.empty()) {
      const auto piece = text.substr(0, 300'000);
      co_await ingest.write(bytes_of(piece));
      text.remove_prefix(piece.size());
    }
  }
  /// An ingest that has got as far as `half`.
  Awaitable<> begin() {
    const auto ingest = co_await content->ingest("layer", descriptor);
    co_await write(*ingest, std::string_view(bytes).substr(0, half));
  }
  /// Goes on from there to the end.
  static Awaitable<> go_on(ResumedIngest& t) {
    auto ingest = co_await t.content->ingest("layer", t.descriptor);
    EXPECT_EQ(ingest->offset(), half);
    co_await write(*ingest, std::string_view(t.bytes).substr(half));
    const Labels labels;
    co_await ingest->commit(labels);
  }
  void expect_complete() { EXPECT_EQ(store->content().read(descriptor.digest, bytes.size()), bytes); }
  fs::path folder() const { return store->layout().ingest("default", "layer"); }

  static constexpr std::size_t half = 4'000'037;
  TempDir dir{"resumed"};
  std::shared_ptr<EmbeddedStore> store = EmbeddedStore::open(dir / "store", "default");
  std::unique_ptr<ContentStore> content = store->content_port();
  std::string bytes = make_content(large);
  Descriptor descriptor = descriptor_of_content(bytes);
};

TEST_F(ResumedIngest, IsNotReadAgain) {
  run(begin());
  const auto before = bytes_read();
  run(go_on(*this));
  EXPECT_LT(bytes_read() - before, half / 10);
  expect_complete();
}

TEST_F(ResumedIngest, IsReadAgainWithoutItsRecord) {
  run(begin());
  ASSERT_TRUE(fs::remove(folder() / "checkpoint"));
  const auto before = bytes_read();
  run(go_on(*this));
  EXPECT_GE(bytes_read() - before, half);
  expect_complete();
}

TEST_F(ResumedIngest, OfAProcessThatWasKilledIsNotReadAgain) {
  content.reset();
  store.reset();
  const auto child = ::fork();
  if (child == 0) {
    store = EmbeddedStore::open(dir / "store", "default");
    content = store->content_port();
    run([](ResumedIngest& t) -> Awaitable<> {
      const auto ingest = co_await t.content->ingest("layer", t.descriptor);
      co_await write(*ingest, std::string_view(t.bytes).substr(0, half));
      ::raise(SIGKILL);
    }(*this));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  store = EmbeddedStore::open(dir / "store", "default");
  content = store->content_port();
  const auto before = bytes_read();
  run(go_on(*this));
  EXPECT_LT(bytes_read() - before, half / 10);
  expect_complete();
}

TEST_F(ResumedIngest, WithAWrongStateIsDigestedFromItsBytes) {
  run(begin());
  {
    const auto data = open_file(folder() / "data", O_RDWR);
    IngestCheckpoint(folder() / "data", descriptor.digest).save(data, half, state_of(make_content(half)));
    EXPECT_NE(IngestCheckpoint(folder() / "data", descriptor.digest).load(data, half), std::nullopt)
        << "nothing shows that it is wrong";
  }
  run(go_on(*this));
  expect_complete();
}

TEST_F(ResumedIngest, WhoseBytesWereChangedBehindItsBackDoesNotVerify) {
  run(begin());
  const auto data = open_file(folder() / "data", O_RDWR);
  const auto before = stat_of(folder() / "data")->st_ctim.tv_nsec;
  const char wrong = static_cast<char>(bytes[1000] ^ 1);
  while (stat_of(folder() / "data")->st_ctim.tv_nsec == before) {
    write_at(data, bytes_of(std::string_view(&wrong, 1)), 1000, folder() / "data");
  }
  EXPECT_EQ(failure_of([&] { run(go_on(*this)); }), Errc::digest_mismatch);
  EXPECT_FALSE(store->content().info(descriptor.digest));
}

TEST_F(ResumedIngest, ThatIsCompleteWantsNothingButItsCommit) {
  run([](ResumedIngest& t) -> Awaitable<> {
    auto ingest = co_await t.content->ingest("layer", t.descriptor);
    co_await write(*ingest, t.bytes);
    ingest.reset();
    const auto before = bytes_read();
    ingest = co_await t.content->ingest("layer", t.descriptor);
    const Labels labels;
    co_await ingest->commit(labels);
    EXPECT_LT(bytes_read() - before, half / 10);
  }(*this));
  expect_complete();
}

}  // namespace
}  // namespace lazypull::test
