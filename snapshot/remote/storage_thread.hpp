#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace lazypull {

/// Does what must be asked of one storage on one thread, because a dead network file system never answers,
/// and whoever waits inside it cannot be woken. Whoever asks waits no longer than `patience`; then the
/// storage is left alone for `pause`, and as long as the thread does not come back. For several threads.
class StorageThread {
 public:
  using Warn = std::function<void(const std::string&)>;

  /// `warn` is told once each time when the storage is given up.
  StorageThread(std::string name, std::chrono::milliseconds patience, std::chrono::milliseconds pause,
                Warn warn);
  /// Does not wait for a thread that hangs: it ends when it comes back.
  ~StorageThread();
  StorageThread(const StorageThread&) = delete;
  StorageThread& operator=(const StorageThread&) = delete;

  /// What `job` returned or threw; nothing if there is no answer. The job may then still be running, or run
  /// later, so it refers to nothing that it does not own.
  template <class Result>
  std::optional<Result> ask(std::function<Result()> job) {
    struct Answer {
      std::optional<Result> value;
      std::exception_ptr failure;
    };
    const auto answer = std::make_shared<Answer>();
    const bool answered = wait_for([answer, job = std::move(job)] {
      try {
        answer->value.emplace(job());
      } catch (...) {
        answer->failure = std::current_exception();
      }
    });
    if (!answered) return std::nullopt;
    if (answer->failure) std::rethrow_exception(answer->failure);
    return std::move(answer->value);
  }

 private:
  struct State;
  bool wait_for(std::function<void()> work);

  std::string name_;
  std::chrono::milliseconds patience_;
  std::chrono::milliseconds pause_;
  Warn warn_;
  std::shared_ptr<State> state_;
};

}  // namespace lazypull
