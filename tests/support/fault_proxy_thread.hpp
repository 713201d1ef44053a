#pragma once

#include "tests/support/process.hpp"
#include "tools/faults/proxy.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <exception>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace lazypull::test {

/// A fault-injecting proxy on a thread of its own.
class FaultProxyThread {
 public:
  explicit FaultProxyThread(std::string upstream, FaultProfile profile = {}, std::uint64_t seed = 1) {
    FaultProxyOptions options;
    options.upstream = std::move(upstream);
    options.profile = std::move(profile);
    options.seed = seed;
    options.log = [this](const FaultRecord& record) {
      const std::lock_guard lock(mutex_);
      records_.push_back(record);
    };
    proxy_.emplace(home_.get_executor(), std::move(options));
    asio::co_spawn(home_, proxy_->serve(), [](std::exception_ptr) {});
    thread_ = std::thread([this] { home_.run(); });
  }
  FaultProxyThread(const FaultProxyThread&) = delete;
  FaultProxyThread& operator=(const FaultProxyThread&) = delete;
  ~FaultProxyThread() {
    asio::post(home_, [this] { proxy_->stop(); });
    thread_.join();
    proxy_.reset();
  }

  std::string url() const { return proxy_->url(); }
  /// "127.0.0.1:41234".
  std::string host() const { return url().substr(url().find("//") + 2); }

  /// From the next request on; forgets the records.
  void use(FaultProfile profile, std::uint64_t seed) {
    std::promise<void> done;
    asio::post(home_, [&] {
      proxy_->use(std::move(profile), seed);
      done.set_value();
    });
    done.get_future().wait();
    const std::lock_guard lock(mutex_);
    records_.clear();
  }

  std::vector<FaultRecord> records() const {
    const std::lock_guard lock(mutex_);
    return records_;
  }
  /// Once there are so many.
  std::vector<FaultRecord> wait_for_records(std::size_t count) const {
    wait_until([&] { return records().size() >= count; }, "requests at the proxy");
    return records();
  }

 private:
  asio::io_context home_{1};
  std::optional<FaultProxy> proxy_;
  mutable std::mutex mutex_;
  std::vector<FaultRecord> records_;
  std::thread thread_;
};

}  // namespace lazypull::test
