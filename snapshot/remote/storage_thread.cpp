#include "snapshot/remote/storage_thread.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace lazypull {
namespace {

using Clock = std::chrono::steady_clock;

struct Job {
  std::function<void()> work;
  bool done = false;
  bool given_up = false;
};

}  // namespace

// Shared with the thread, which may outlive everything else.
struct StorageThread::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> waiting;
  std::shared_ptr<Job> running;
  bool started = false;
  bool stopped = false;
  Clock::time_point alone_until = Clock::time_point::min();

  static void serve(const std::shared_ptr<State>& self) {
    std::unique_lock lock(self->mutex);
    for (;;) {
      self->changed.wait(lock, [&] { return self->stopped || !self->waiting.empty(); });
      if (self->stopped) return;
      self->running = std::move(self->waiting.front());
      self->waiting.pop_front();
      if (!self->running->given_up) {
        lock.unlock();
        self->running->work();
        lock.lock();
      }
      self->running->done = true;
      // What the job owns may close files of the storage, which can hang too.
      auto ended = std::exchange(self->running->work, nullptr);
      lock.unlock();
      ended = nullptr;
      lock.lock();
      self->running.reset();
      self->changed.notify_all();
    }
  }
};

StorageThread::StorageThread(std::string name, std::chrono::milliseconds patience,
                             std::chrono::milliseconds pause, Warn warn)
    : name_(std::move(name)),
      patience_(patience),
      pause_(pause),
      warn_(std::move(warn)),
      state_(std::make_shared<State>()) {}

StorageThread::~StorageThread() {
  const std::lock_guard lock(state_->mutex);
  state_->stopped = true;
  state_->changed.notify_all();
}

bool StorageThread::wait_for(std::function<void()> work) {
  const auto job = std::make_shared<Job>();
  job->work = std::move(work);
  State& state = *state_;
  {
    std::unique_lock lock(state.mutex);
    const bool hangs = state.running && state.running->given_up;
    if (hangs || Clock::now() < state.alone_until) return false;
    if (!state.started) {
      std::thread([self = state_] { State::serve(self); }).detach();
      state.started = true;
    }
    state.waiting.push_back(job);
    state.changed.notify_all();
    if (state.changed.wait_for(lock, patience_, [&] { return job->done; })) return true;
    job->given_up = true;
    // Whoever waits for its turn has waited for the one that runs.
    if (state.running) state.running->given_up = true;
    const bool known = Clock::now() < state.alone_until;
    state.alone_until = Clock::now() + pause_;
    if (known) return false;
  }
  if (warn_) {
    warn_("storage " + name_ + " did not answer within " + std::to_string(patience_.count()) +
          " ms and is left alone for " + std::to_string(pause_.count()) + " ms");
  }
  return false;
}

}  // namespace lazypull
