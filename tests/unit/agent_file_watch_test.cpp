// Noticing that credentials and hosts.toml change.

#include "engine/deadline.hpp"
#include "engine/error.hpp"
#include "engine/event.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"
#include "tools/agent/file_watch.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

namespace lazypull {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using namespace std::chrono_literals;

class FileWatchTest : public ::testing::Test {
 protected:
  /// Whether `change` is noticed.
  bool notices(const std::function<void()>& change) {
    asio::io_context home(1);
    bool noticed = false;
    auto body = [&]() -> Awaitable<> {
      FileWatch watch(home.get_executor(), {folder / "certs.d"}, {folder / "docker/config.json"});
      Event happened(home.get_executor());
      auto running = watch.run([&] { happened.set(); }, 1ms);
      change();
      try {
        co_await with_deadline(until(std::move(running), happened), 10s, "watch");
      } catch (const Error&) {
        noticed = happened.happened();
      }
      noticed = happened.happened();
    };
    test::run_on(home, body());
    return noticed;
  }
  /// Runs the watch until something has happened.
  static Awaitable<> until(Awaitable<> watching, Event& happened) {
    const auto home = co_await asio::this_coro::executor;
    asio::cancellation_signal stop;
    Event ended(home);
    auto end = [&ended](const std::exception_ptr&) { ended.set(); };
    asio::co_spawn(home, std::move(watching), asio::bind_cancellation_slot(stop.slot(), std::move(end)));
    std::exception_ptr failure;
    try {
      co_await happened.wait();
    } catch (...) {
      failure = std::current_exception();
    }
    stop.emit(asio::cancellation_type::terminal);
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await ended.wait();
    if (failure) std::rethrow_exception(failure);
  }

  TempDir folder{"file-watch"};
};

TEST_F(FileWatchTest, AFileInAFolderOfARegistryIsNoticed) {
  test::write_file(folder / "certs.d/registry.example.com/hosts.toml", "");
  EXPECT_TRUE(notices([&] { test::write_file(folder / "certs.d/registry.example.com/hosts.toml", "x"); }));
}

TEST_F(FileWatchTest, AFolderThatComesLaterIsNoticed) {
  EXPECT_TRUE(notices([&] { test::write_file(folder / "certs.d/new.example.com/hosts.toml", ""); }));
}

TEST_F(FileWatchTest, AFileThatIsReplacedIsNoticed) {
  test::write_file(folder / "docker/config.json", "{}");
  EXPECT_TRUE(notices([&] {
    test::write_file(folder / "docker/config.json.new", "{ }");
    fs::rename(folder / "docker/config.json.new", folder / "docker/config.json");
  }));
}

TEST_F(FileWatchTest, AFileThatIsRemovedIsNoticed) {
  test::write_file(folder / "docker/config.json", "{}");
  EXPECT_TRUE(notices([&] { fs::remove(folder / "docker/config.json"); }));
}

}  // namespace
}  // namespace lazypull
