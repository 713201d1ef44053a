// The clients of containerd's services against a real containerd of our own.
#include "engine/error.hpp"
#include "engine/labels.hpp"
#include "snapshot/containerd_backend.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <signal.h>
#include <spawn.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace lazypull {
namespace {

namespace fs = std::filesystem;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""h;

constexpr std::size_t mebibyte = 1U << 20U;

// A containerd with nothing but its own local snapshotters and a proxy snapshotter that nobody serves.
class Containerd {
 public:
  Containerd() {
    std::string folder = fs::exists("/dev/shm") ? "/dev/shm/lazypull-XXXXXX" : "/tmp/lazypull-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp " + folder);
    folder_ = folder;
    std::ofstream(folder_ / "config.toml")
        << "version = 2\n"
        << "root = \"" << (folder_ / "root").string() << "\"\n"
        << "state = \"" << (folder_ / "state").string() << "\"\n"
        << "disabled_plugins = [\"io.containerd.grpc.v1.cri\", "
           "\"io.containerd.snapshotter.v1.aufs\", "
           "\"io.containerd.snapshotter.v1.btrfs\", "
           "\"io.containerd.snapshotter.v1.zfs\", "
           "\"io.containerd.snapshotter.v1.devmapper\", "
           "\"io.containerd.internal.v1.opt\"]\n"
        << "[grpc]\n  address = \"" << socket() << "\"\n"
        << "[proxy_plugins.elsewhere]\n  type = \"snapshot\"\n  address = \"" << elsewhere() << "\"\n";
    start();
  }
  ~Containerd() {
    if (pid_ > 0) {
      ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  Containerd(const Containerd&) = delete;
  Containerd& operator=(const Containerd&) = delete;

  std::string socket() const { return (folder_ / "containerd.sock").string(); }
  std::string elsewhere() const { return (folder_ / "elsewhere.sock").string(); }
  const fs::path& folder() const { return folder_; }

 private:
  void start() {
    const std::string config = (folder_ / "config.toml").string();
    const std::string log = (folder_ / "log").string();
    std::string program = "containerd";
    std::string flag = "--config";
    std::string value = config;
    char* arguments[] = {program.data(), flag.data(), value.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    const int failed = ::posix_spawnp(&pid_, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::runtime_error("cannot start containerd");
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (!answers()) {
      if (std::chrono::steady_clock::now() > until) throw std::runtime_error("containerd does not come up");
      std::this_thread::sleep_for(20ms);
    }
  }
  bool answers() const {
    ContainerdOptions options;
    options.address = socket();
    try {
      ContainerdClient::open(options);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  fs::path folder_;
  pid_t pid_ = 0;
};

std::string bytes_of(std::size_t size, unsigned seed) {
  std::string bytes(size, '\0');
  std::uint32_t state = seed * 2654435761U + 1;
  for (auto& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24U);
  }
  return bytes;
}

Descriptor descriptor_of(const std::string& content) {
  Descriptor descriptor;
  descriptor.media_type = "application/octet-stream";
  descriptor.digest = Digest::sha256_of(std::string_view(content));
  descriptor.size = content.size();
  return descriptor;
}

std::span<const std::byte> view(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Awaitable<> store(ContentStore& content, std::string bytes, Labels labels) {
  const auto descriptor = descriptor_of(bytes);
  const std::string ref = "test-" + descriptor.digest.str();
  const auto ingest = co_await content.ingest(ref, descriptor);
  if (!ingest) throw Error(Errc::already_exists, ref);
  co_await ingest->write(view(std::string_view(bytes).substr(ingest->offset())));
  co_await ingest->commit(labels);
}

class ContainerdClients : public ::testing::Test {
 public:
  static void SetUpTestSuite() { daemon = new Containerd; }  // without root it fails, and so do the tests
  static void TearDownTestSuite() {
    delete daemon;
    daemon = nullptr;
  }

  // A namespace for each test, since the daemon is shared.
  ContainerdOptions options() const {
    ContainerdOptions options;
    options.address = daemon->socket();
    options.name_space = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(options.name_space.begin(), options.name_space.end(), '/', '-');
    return options;
  }
  Awaitable<std::unique_ptr<ContainerdBackend>> connect(std::string snapshotter = "overlayfs") const {
    return ContainerdBackend::connect(options(), std::move(snapshotter));
  }

  static void run(Awaitable<> test) {
    asio::io_context home;
    std::exception_ptr failure;
    bool ended = false;
    asio::co_spawn(home, std::move(test), [&](const std::exception_ptr& thrown) {
      failure = thrown;
      ended = true;
    });
    home.run();
    ASSERT_TRUE(ended);
    if (failure) std::rethrow_exception(failure);
  }

  template <class Body>
  static Error error_in(Body body) {
    try {
      body();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error";
    return Error(Errc::internal, "no error");
  }

  static Containerd* daemon;
};

Containerd* ContainerdClients::daemon = nullptr;

// ---- connecting ----

TEST_F(ContainerdClients, SaysWhichSocketIsMissing) {
  ContainerdOptions missing;
  missing.address = "unix:///dev/shm/no-such-folder/containerd.sock";
  const auto error = error_in([&] { ContainerdClient::open(missing); });
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_EQ(error.message(),
            "connect to containerd at /dev/shm/no-such-folder/containerd.sock: no such file or directory");
}

TEST_F(ContainerdClients, SaysThatNobodyListens) {
  ContainerdOptions dead;
  dead.address = (daemon->folder() / "config.toml").string();
  const auto error = error_in([&] { ContainerdClient::open(dead); });
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_EQ(error.message(), "connect to containerd at " + dead.address + ": connection refused");
}

TEST_F(ContainerdClients, SaysThatTheSocketMayNotBeOpened) {
  ASSERT_EQ(::seteuid(65534), 0);
  const auto error = error_in([&] { ContainerdClient::open(options()); });
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(error.code(), Errc::permission_denied);
  EXPECT_EQ(error.message(), "connect to containerd at " + daemon->socket() + ": permission denied");
}

TEST_F(ContainerdClients, RefusesWhatCannotBeAnAddressOrANamespace) {
  auto relative = options();
  relative.address = "run/containerd.sock";
  EXPECT_EQ(error_in([&] { ContainerdClient::open(relative); }).code(), Errc::invalid_argument);
  auto tcp = options();
  tcp.address = "tcp://127.0.0.1:1";
  EXPECT_EQ(error_in([&] { ContainerdClient::open(tcp); }).code(), Errc::invalid_argument);
  for (const std::string name : {"", "two words", "a..b", "-a", "a-", "line\nbreak"}) {
    auto bad = options();
    bad.name_space = name;
    EXPECT_EQ(error_in([&] { ContainerdClient::open(bad); }).code(), Errc::invalid_argument) << name;
  }
  auto good = options();
  good.name_space = "k8s.io";
  EXPECT_NO_THROW(ContainerdClient::open(good));
}

TEST_F(ContainerdClients, NamesTheKnownSnapshottersWhenOneIsUnknown) {
  const auto error = error_in([&] {
    auto body = [](const ContainerdClients& t) -> Awaitable<> { co_await t.connect("nope"); };
    run(body(*this));
  });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_EQ(error.message(),
            "snapshotter nope: containerd has none of this name; it has elsewhere, native, overlayfs");
}

TEST_F(ContainerdClients, TellsItsVersionItsNamespacesAndItsSnapshotters) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto version = co_await backend->version();
    EXPECT_FALSE(version.version.empty());
    co_await store(backend->content(), "a first record makes the namespace", {});
    const auto namespaces = co_await backend->namespaces();
    EXPECT_NE(std::find(namespaces.begin(), namespaces.end(), t.options().name_space), namespaces.end());

    const auto plugins = co_await list_plugins(backend->client());
    const auto& all = plugins.snapshotters;
    const auto& overlayfs = find_snapshotter(all, "overlayfs");
    EXPECT_FALSE(overlayfs.is_proxy());
    EXPECT_NE(overlayfs.root.find("io.containerd.snapshotter.v1.overlayfs"), std::string::npos)
        << overlayfs.root;
    EXPECT_FALSE(find_snapshotter(all, "native").is_proxy());
    const auto& elsewhere = find_snapshotter(all, "elsewhere");
    EXPECT_TRUE(elsewhere.is_proxy());
    EXPECT_EQ(elsewhere.address, daemon->elsewhere());
    EXPECT_EQ(backend->snapshotter_info().name, "overlayfs");
  };
  run(body(*this));
}

// ---- content ----

TEST_F(ContainerdClients, StoresContentWithLabels) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    auto& content = backend->content();
    const std::string bytes = bytes_of(5 * mebibyte + 17, 1);
    const auto descriptor = descriptor_of(bytes);
    const auto before = co_await content.info(descriptor.digest);
    EXPECT_FALSE(before);

    const auto ingest = co_await content.ingest("layer-a", descriptor);
    EXPECT_EQ(ingest->offset(), 0U);
    const Labels labels{{"a", "1"}, {"b", "2"}};
    for (std::size_t at = 0; at < bytes.size(); at += 300'000) {
      co_await ingest->write(view(std::string_view(bytes).substr(at, 300'000)));
    }
    const auto outcome = co_await ingest->commit(labels);
    EXPECT_EQ(outcome, CommitOutcome::committed);

    const auto info = co_await content.info(descriptor.digest);
    EXPECT_TRUE(info);
    if (!info) co_return;
    EXPECT_EQ(info->digest, descriptor.digest);
    EXPECT_EQ(info->size, bytes.size());
    EXPECT_EQ(info->labels, labels);
    const auto stored = co_await content.read(descriptor.digest, bytes.size());
    EXPECT_EQ(stored, bytes);
    const auto again = co_await content.ingest("layer-a", descriptor);
    EXPECT_EQ(again, nullptr);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, UpdatesOnlyTheGivenLabels) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    auto& content = backend->content();
    const Labels at_first{{"kept", "1"}, {"dropped", "2"}, {"containerd.io/changed", "3"}};
    co_await store(content, "labelled", at_first);
    const auto digest = Digest::sha256_of(std::string_view("labelled"));
    const Labels change{
        {"dropped", ""}, {"containerd.io/changed", "4"}, {"containerd.io/gc.ref.content.l.0", "x"}};
    co_await content.update_labels(digest, change);
    const auto info = co_await content.info(digest);
    const Labels expected{
        {"kept", "1"}, {"containerd.io/changed", "4"}, {"containerd.io/gc.ref.content.l.0", "x"}};
    EXPECT_EQ(info->labels, expected);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, GoesOnWithAnIngestThatWasDropped) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    auto& content = backend->content();
    const std::string bytes = bytes_of(20 * mebibyte, 2);
    const auto descriptor = descriptor_of(bytes);
    {
      const auto ingest = co_await content.ingest("layer-b", descriptor);
      co_await ingest->write(view(std::string_view(bytes).substr(0, 12 * mebibyte)));
    }
    const auto resumed = co_await content.ingest("layer-b", descriptor);
    EXPECT_GT(resumed->offset(), 0U);
    EXPECT_LE(resumed->offset(), 12 * mebibyte);
    co_await resumed->write(view(std::string_view(bytes).substr(resumed->offset())));
    const auto outcome = co_await resumed->commit({});
    EXPECT_EQ(outcome, CommitOutcome::committed);
    const auto stored = co_await content.read(descriptor.digest, bytes.size());
    EXPECT_TRUE(stored == bytes);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, StartsAnewAfterAnAbort) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    auto& content = backend->content();
    const std::string bytes = bytes_of(8 * mebibyte, 3);
    {
      const auto ingest = co_await content.ingest("layer-c", descriptor_of(bytes));
      co_await ingest->write(view(bytes));
    }
    co_await content.abort("layer-c");
    const auto ingest = co_await content.ingest("layer-c", descriptor_of(bytes));
    EXPECT_EQ(ingest->offset(), 0U);
    co_await content.abort("never-begun");
  };
  run(body(*this));
}

TEST_F(ContainerdClients, AnAbortLeavesAloneWhatSomebodyElseIsWriting) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto other = co_await t.connect();
    const std::string bytes = bytes_of(4 * mebibyte, 5);
    const auto descriptor = descriptor_of(bytes);
    const auto ingest = co_await backend->content().ingest("layer-busy", descriptor);
    co_await ingest->write(view(std::string_view(bytes).substr(0, 2 * mebibyte)));
    co_await other->content().abort("layer-busy");
    co_await ingest->write(view(std::string_view(bytes).substr(2 * mebibyte)));
    const auto outcome = co_await ingest->commit({});
    EXPECT_EQ(outcome, CommitOutcome::committed);
    const auto stored = co_await other->content().read(descriptor.digest, bytes.size());
    EXPECT_TRUE(stored == bytes);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, AnIngestHasOneWriterAtATime) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto descriptor = descriptor_of("locked");
    const auto first = co_await backend->content().ingest("layer-d", descriptor);
    co_await backend->content().ingest("layer-d", descriptor);
  };
  const auto error = error_in([&] { run(body(*this)); });
  EXPECT_EQ(error.code(), Errc::locked);
  EXPECT_EQ(error.message().rfind("Content/Write layer-d: ref ", 0), 0U) << error.message();
}

TEST_F(ContainerdClients, AWrongDigestIsFoundAndForgotten) {
  auto body = [](const ContainerdClients& t, bool& forgotten) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto descriptor = descriptor_of("expected");
    const auto ingest = co_await backend->content().ingest("layer-e", descriptor);
    co_await ingest->write(view("received"));
    std::exception_ptr failure;
    try {
      co_await ingest->commit({});
    } catch (...) {
      failure = std::current_exception();
    }
    const auto again = co_await backend->content().ingest("layer-e", descriptor);
    forgotten = again->offset() == 0;
    if (failure) std::rethrow_exception(failure);
  };
  bool forgotten = false;
  const auto error = error_in([&] { run(body(*this, forgotten)); });
  EXPECT_EQ(error.code(), Errc::digest_mismatch) << error.message();
  EXPECT_TRUE(forgotten);
}

TEST_F(ContainerdClients, AShortOrLongBlobIsASizeMismatch) {
  auto body = [](const ContainerdClients& t, std::string_view bytes) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto ingest = co_await backend->content().ingest("layer-f", descriptor_of("exact"));
    co_await ingest->write(view(bytes));
    co_await ingest->commit({});
  };
  EXPECT_EQ(error_in([&] { run(body(*this, "exac")); }).code(), Errc::size_mismatch);
  EXPECT_EQ(error_in([&] { run(body(*this, "exact!")); }).code(), Errc::size_mismatch);
  EXPECT_NO_THROW(run(body(*this, "exact")));
}

TEST_F(ContainerdClients, StoresEmptyContent) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    co_await store(backend->content(), "", {});
    const auto stored = co_await backend->content().read(Digest::sha256_of(std::string_view()), 0);
    EXPECT_EQ(stored, "");
  };
  run(body(*this));
}

TEST_F(ContainerdClients, TwoWritersOfTheSameContentBothSucceed) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto descriptor = descriptor_of("the same");
    const auto one = co_await backend->content().ingest("ref-one", descriptor);
    const auto other = co_await backend->content().ingest("ref-other", descriptor);
    co_await one->write(view("the same"));
    co_await other->write(view("the same"));
    const auto first = co_await one->commit({});
    EXPECT_EQ(first, CommitOutcome::committed);
    const auto second = co_await other->commit({});
    EXPECT_EQ(second, CommitOutcome::already_exists);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, ReadsNoMoreThanTheLimit) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    co_await store(backend->content(), bytes_of(3 * mebibyte, 4), {});
    co_await backend->content().read(descriptor_of(bytes_of(3 * mebibyte, 4)).digest, 3 * mebibyte - 1);
  };
  EXPECT_EQ(error_in([&] { run(body(*this)); }).code(), Errc::size_mismatch);
}

TEST_F(ContainerdClients, NamesTheContentThatIsMissing) {
  const auto digest = Digest::sha256_of(std::string_view("never stored"));
  auto body = [](const ContainerdClients& t, Digest absent) -> Awaitable<> {
    const auto backend = co_await t.connect();
    co_await backend->content().read(absent, 100);
  };
  const auto error = error_in([&] { run(body(*this, digest)); });
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_EQ(error.message().rfind("Content/Read " + digest.str() + ": ", 0), 0U) << error.message();
}

TEST_F(ContainerdClients, ListsContentByLabel) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    ContainerdContent content(ContainerdClient::open(t.options()));
    const Labels red{{"colour", "red"}};
    const Labels blue{{"colour", "blue"}};
    co_await store(content, "one", red);
    co_await store(content, "two", blue);
    const std::vector<std::string> filters{"labels.colour==red"};
    const auto found = co_await content.list(filters);
    EXPECT_EQ(found.size(), 1U);
    EXPECT_EQ(found.at(0).digest, Digest::sha256_of(std::string_view("one")));
    const auto all = co_await content.list({});
    EXPECT_EQ(all.size(), 2U);
  };
  run(body(*this));
}

// ---- images ----

TEST_F(ContainerdClients, AnImageIsCreatedAndThenReplaced) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    auto& images = backend->images();
    ImageRecord image;
    image.name = "registry.example.com/app:1";
    image.target = descriptor_of("manifest 1");
    image.target.media_type = std::string(media_type::oci_manifest);
    image.labels = {{"a", "1"}};
    const auto absent = co_await images.get(image.name);
    EXPECT_FALSE(absent);
    co_await images.put(image);
    const auto created = co_await images.get(image.name);
    EXPECT_EQ(created->target, image.target);
    EXPECT_EQ(created->labels, image.labels);

    image.target.digest = Digest::sha256_of(std::string_view("manifest 2"));
    image.labels = {{"b", "2"}};
    co_await images.put(image);
    const auto replaced = co_await images.get(image.name);
    EXPECT_EQ(replaced->target, image.target);
    EXPECT_EQ(replaced->labels, image.labels);

    ContainerdImages more(backend->client());
    co_await more.remove(image.name, false);
    const auto removed = co_await images.get(image.name);
    EXPECT_FALSE(removed);
    co_await more.remove(image.name, false);
  };
  run(body(*this));
}

// ---- leases ----

TEST_F(ContainerdClients, ALeaseKeepsWhatWasStoredThroughItUntilItEnds) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto lease = co_await backend->acquire(1h);
    co_await store(lease->content(), "leased", {});
    const auto prepared = co_await lease->snapshotter().prepare("leased", "", {});
    EXPECT_FALSE(prepared.already_exists);

    // The end of another lease, waited for, is a garbage collection.
    const auto other = co_await backend->acquire(1h);
    co_await other->release(true);
    const auto digest = Digest::sha256_of(std::string_view("leased"));
    const auto kept = co_await backend->content().info(digest);
    EXPECT_TRUE(kept);
    const auto kept_snapshot = co_await backend->snapshotter().stat("leased");
    EXPECT_TRUE(kept_snapshot);

    co_await lease->release(true);
    const auto collected = co_await backend->content().info(digest);
    EXPECT_FALSE(collected);
    const auto collected_snapshot = co_await backend->snapshotter().stat("leased");
    EXPECT_FALSE(collected_snapshot);
    co_await lease->release(false);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, ALeaseProtectsWhatWasThereAlready) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    const auto digest = Digest::sha256_of(std::string_view("shared"));
    const auto maker = co_await backend->acquire(1h);
    co_await store(maker->content(), "shared", {});
    co_await maker->snapshotter().prepare("building", "", {});
    co_await maker->snapshotter().commit("shared", "building", {});

    const auto user = co_await backend->acquire(1h);
    co_await user->protect_content(digest);
    co_await user->protect_snapshot("shared");
    co_await maker->release(true);
    const auto kept = co_await backend->content().info(digest);
    EXPECT_TRUE(kept);
    const auto kept_snapshot = co_await backend->snapshotter().stat("shared");
    EXPECT_TRUE(kept_snapshot);

    co_await user->release(true);
    const auto collected = co_await backend->content().info(digest);
    EXPECT_FALSE(collected);
    const auto collected_snapshot = co_await backend->snapshotter().stat("shared");
    EXPECT_FALSE(collected_snapshot);
  };
  run(body(*this));
}

TEST_F(ContainerdClients, ALeaseEndsByItself) {
  auto body = [](const ContainerdClients& t) -> Awaitable<> {
    const auto backend = co_await t.connect();
    ContainerdLeases leases(backend->client());
    const auto expired = co_await leases.create(-1s);
    const auto lasting = co_await leases.create(1h);
    ContainerdContent through(backend->client().with_lease(expired));
    co_await store(through, "short-lived", {});
    co_await leases.remove(lasting, true);
    const auto left = co_await leases.list();
    EXPECT_TRUE(left.empty());
    const auto collected =
        co_await backend->content().info(Digest::sha256_of(std::string_view("short-lived")));
    EXPECT_FALSE(collected);
  };
  run(body(*this));
}

TEST(ContainerdLeaseTimes, AreInContainerdsFormat) {
  EXPECT_EQ(rfc3339_seconds(std::chrono::system_clock::from_time_t(1767323045)), "2026-01-02T03:04:05Z");
}

// ---- snapshots ----

class ContainerdSnapshots : public ContainerdClients, public ::testing::WithParamInterface<const char*> {};

TEST_P(ContainerdSnapshots, ArePreparedCommittedAndRemoved) {
  auto body = [](const ContainerdClients& t, std::string name) -> Awaitable<> {
    const auto backend = co_await t.connect(name);
    const auto lease = co_await backend->acquire(1h);
    auto& snapshots = lease->snapshotter();
    EXPECT_EQ(snapshots.name(), name);
    const auto absent = co_await snapshots.stat("base");
    EXPECT_FALSE(absent);

    const Labels labels{{"containerd.io/snapshot/mine", "1"}};
    const auto prepared = co_await snapshots.prepare("building base", "", labels);
    EXPECT_FALSE(prepared.already_exists);
    EXPECT_EQ(prepared.mounts.size(), 1U);
    EXPECT_EQ(prepared.mounts.at(0).type, "bind");
    EXPECT_TRUE(fs::is_directory(prepared.mounts.at(0).source));
    const auto active = co_await snapshots.stat("building base");
    EXPECT_EQ(active->kind, SnapshotKind::active);
    EXPECT_EQ(active->labels, labels);

    const auto committed = co_await snapshots.commit("base", "building base", labels);
    EXPECT_EQ(committed, CommitOutcome::committed);
    const auto base = co_await snapshots.stat("base");
    EXPECT_EQ(base->kind, SnapshotKind::committed);
    EXPECT_EQ(base->name, "base");
    EXPECT_EQ(base->parent, "");
    EXPECT_EQ(base->labels, labels);

    const auto upper = co_await snapshots.prepare("building top", "base", {});
    EXPECT_EQ(upper.mounts.at(0).type, name == "overlayfs" ? "overlay" : "bind");
    const auto taken = co_await snapshots.prepare("building top", "base", {});
    EXPECT_TRUE(taken.already_exists);
    const auto same_name = co_await snapshots.commit("base", "building top", {});
    EXPECT_EQ(same_name, CommitOutcome::already_exists);
    const auto top = co_await snapshots.commit("top", "building top", {});
    EXPECT_EQ(top, CommitOutcome::committed);
    const auto on_top = co_await snapshots.stat("top");
    EXPECT_EQ(on_top->parent, "base");

    ContainerdSnapshotter listing(backend->client(), name);
    const auto all = co_await listing.list({});
    EXPECT_EQ(all.size(), 2U);

    co_await snapshots.remove("top");
    const auto removed = co_await snapshots.stat("top");
    EXPECT_FALSE(removed);
    co_await snapshots.remove("top");
    co_await snapshots.remove("base");
    co_await lease->release(true);
  };
  run(body(*this, GetParam()));
}

TEST_P(ContainerdSnapshots, ATargetThatExistsAlreadyIsNotPrepared) {
  auto body = [](const ContainerdClients& t, std::string name) -> Awaitable<> {
    const auto backend = co_await t.connect(name);
    const auto lease = co_await backend->acquire(1h);
    auto& snapshots = lease->snapshotter();
    const Labels target{{std::string(label::snapshot_ref), "sha256:target"}};
    const auto first = co_await snapshots.prepare("extract-1 sha256:target", "", target);
    EXPECT_FALSE(first.already_exists);
    co_await snapshots.commit("sha256:target", "extract-1 sha256:target", target);
    const auto second = co_await snapshots.prepare("extract-2 sha256:target", "", target);
    EXPECT_TRUE(second.already_exists);
    co_await lease->release(true);
  };
  run(body(*this, GetParam()));
}

TEST_P(ContainerdSnapshots, AParentThatIsMissingIsNamed) {
  auto body = [](const ContainerdClients& t, std::string name) -> Awaitable<> {
    const auto backend = co_await t.connect(name);
    co_await backend->snapshotter().prepare("orphan", "no-parent", {});
  };
  const auto error = error_in([&] { run(body(*this, GetParam())); });
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_EQ(error.message().rfind("Snapshots/Prepare orphan: ", 0), 0U) << error.message();
  EXPECT_NE(error.message().find("no-parent"), std::string::npos) << error.message();
}

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST_P(ContainerdSnapshots, ALayerIsExtracted) {
  const fs::path folder = daemon->folder() / GetParam();
  fs::create_directories(folder / "tree" / "etc");
  std::ofstream(folder / "tree" / "etc" / "motd") << "hello";
  const std::string pack = "cd " + folder.string() + " && tar -C tree -cf layer.tar . && gzip -kn layer.tar";
  ASSERT_EQ(std::system(pack.c_str()), 0);
  const std::string layer = slurp(folder / "layer.tar.gz");
  const auto diff_id = Digest::sha256_of(std::string_view(slurp(folder / "layer.tar")));

  auto body = [](const ContainerdClients& t, std::string name, std::string bytes,
                 Digest expected) -> Awaitable<> {
    const auto backend = co_await t.connect(name);
    const auto lease = co_await backend->acquire(1h);
    co_await store(lease->content(), bytes, {});
    auto descriptor = descriptor_of(bytes);
    descriptor.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    const auto prepared = co_await lease->snapshotter().prepare("extract", "", {});
    const auto applied = co_await lease->applier().apply(descriptor, prepared.mounts);
    EXPECT_EQ(applied.diff_id, expected);
    EXPECT_EQ(slurp(fs::path(prepared.mounts.at(0).source) / "etc" / "motd"), "hello");
    co_await lease->release(true);
  };
  run(body(*this, GetParam(), layer, diff_id));
}

TEST_P(ContainerdSnapshots, ALayerWithoutContentCannotBeExtracted) {
  auto body = [](const ContainerdClients& t, std::string name) -> Awaitable<> {
    const auto backend = co_await t.connect(name);
    const auto lease = co_await backend->acquire(1h);
    const auto prepared = co_await lease->snapshotter().prepare("extract", "", {});
    auto descriptor = descriptor_of("absent");
    descriptor.media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    co_await lease->applier().apply(descriptor, prepared.mounts);
  };
  EXPECT_EQ(error_in([&] { run(body(*this, GetParam())); }).code(), Errc::not_found);
}

INSTANTIATE_TEST_SUITE_P(Local, ContainerdSnapshots, ::testing::Values("native", "overlayfs"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lazypull
