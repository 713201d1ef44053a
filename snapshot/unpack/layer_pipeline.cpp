#include "snapshot/unpack/layer_pipeline.hpp"

#include "engine/error.hpp"
#include "engine/event.hpp"
#include "engine/pull_context.hpp"
#include "engine/trace.hpp"
#include "snapshot/unpack/buffer_ring.hpp"
#include "snapshot/unpack/file_error.hpp"
#include "snapshot/unpack/inflate.hpp"
#include "snapshot/unpack/unique_fd.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <utility>

namespace lazypull {
namespace {

constexpr std::size_t blob_slot_bytes = 256U << 10U;
constexpr std::size_t blob_slots = 4;
constexpr std::size_t tar_slot_bytes = 1U << 20U;
constexpr std::size_t tar_slots = 4;
constexpr std::size_t hashing = 0;
constexpr std::size_t extracting = 1;
constexpr int stages = 3;

/// The next bytes to work on. The work begins with the first; waiting for others counts as such.
std::span<const std::byte> next_bytes(BufferRing& ring, std::size_t reader, WorkTime& work) {
  const auto before = std::chrono::steady_clock::now();
  const auto bytes = ring.front(reader);
  work.end = std::chrono::steady_clock::now();
  if (work.start == SpanRecord::Time()) {
    work.start = work.end;
  } else {
    work.waited += work.end - before;
  }
  return bytes;
}

int duplicate(int directory) {
  const int copy = ::fcntl(directory, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw_file_error("the folder of a layer", "keep it open", errno);
  return copy;
}

}  // namespace

// Shared by the pipeline and its threads, so that none of them depends on another's life.
struct LayerPipeline::State {
  State(asio::any_io_executor executor, int directory, const Descriptor& descriptor, bool check,
        ExtractOptions how)
      : home(std::move(executor)),
        root(duplicate(directory)),
        blob(descriptor),
        verify(check),
        options(how),
        blob_ring(blob_slots, blob_slot_bytes, 1),
        tar_ring(tar_slots, tar_slot_bytes, 2),
        room(std::make_unique<Event>(home)),
        ended(home) {}

  asio::any_io_executor home;
  UniqueFd root;
  Descriptor blob;
  bool verify;
  ExtractOptions options;
  BufferRing blob_ring;
  BufferRing tar_ring;

  // Each is written by one thread and read at home after all threads have ended.
  Digest diff_id;
  std::uint64_t tar_bytes = 0;
  ExtractResult result;
  WorkTime inflation;
  WorkTime extraction;

  std::mutex mutex;  // of the failure
  std::exception_ptr failure;

  // Of the home thread.
  int running = stages;
  std::span<std::byte> claimed;
  std::size_t filled = 0;
  std::unique_ptr<Event> room;
  Event ended;

  void fail(std::exception_ptr why) {
    {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::move(why);
    }
    stop();
  }
  void stop() {
    blob_ring.close();
    tar_ring.close();
  }
  void rethrow_failure() {
    const std::lock_guard lock(mutex);
    if (failure) std::rethrow_exception(failure);
  }

  /// Runs on a stage's thread, which gives its part of the state up at home: nothing of what the home thread
  /// uses may be destroyed by another.
  static void run(std::shared_ptr<State> self, void (State::*stage)()) {
    try {
      (self.get()->*stage)();
    } catch (...) {
      self->fail(std::current_exception());
    }
    const auto home = self->home;
    asio::post(home, [self = std::move(self)] {
      if (--self->running == 0) self->ended.set();
    });
  }

  void inflate();
  void hash_tar();
  void extract();
};

namespace {

/// Inflates straight into the buffers that the later stages read.
class RingOutput final : public ByteOutput {
 public:
  RingOutput(BufferRing& ring, WorkTime& work) : ring_(ring), work_(work) {}

  std::span<std::byte> room() override {
    if (buffer_.empty()) {
      const Stopwatch waiting(work_.waited);
      buffer_ = ring_.claim();
      if (buffer_.empty()) throw Error(Errc::cancelled, "the extraction was stopped");
    }
    return buffer_.subspan(filled_);
  }
  void produced(std::size_t bytes) override {
    filled_ += bytes;
    total_ += bytes;
    if (filled_ == buffer_.size()) flush();
  }
  void flush() {
    if (filled_ > 0) ring_.publish(filled_);
    buffer_ = {};
    filled_ = 0;
  }
  std::uint64_t total() const noexcept { return total_; }

 private:
  BufferRing& ring_;
  WorkTime& work_;
  std::span<std::byte> buffer_;
  std::size_t filled_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

void LayerPipeline::State::inflate() {
  Hasher hasher(blob.digest.algorithm());
  RingOutput output(tar_ring, inflation);
  Inflater inflater(output);
  std::uint64_t size = 0;
  for (;;) {
    const auto bytes = next_bytes(blob_ring, 0, inflation);
    if (bytes.empty()) break;
    if (verify) hasher.update(bytes);
    inflater.write(bytes);
    size += bytes.size();
    blob_ring.pop(0);
    // Where bytes come slowly, what there is goes on at once.
    if (blob_ring.idle()) output.flush();
  }
  if (blob_ring.closed()) return;
  if (size != blob.size) {
    throw Error(Errc::size_mismatch, "has " + std::to_string(size) + " bytes where its descriptor says " +
                                         std::to_string(blob.size));
  }
  const Digest actual = verify ? hasher.finish() : blob.digest;
  if (actual != blob.digest) {
    throw Error(Errc::digest_mismatch, "the content that was served is " + actual.str());
  }
  inflater.finish();
  output.flush();
  tar_bytes = output.total();
  inflation.end = std::chrono::steady_clock::now();
  tar_ring.end();
}

void LayerPipeline::State::hash_tar() {
  Hasher hasher;
  for (;;) {
    const auto bytes = tar_ring.front(hashing);
    if (bytes.empty()) break;
    hasher.update(bytes);
    tar_ring.pop(hashing);
  }
  diff_id = hasher.finish();
}

void LayerPipeline::State::extract() {
  Extractor extractor(root.get(), options);
  for (;;) {
    const auto bytes = next_bytes(tar_ring, extracting, extraction);
    if (bytes.empty()) break;
    extractor.write(bytes);
    tar_ring.pop(extracting);
  }
  if (!tar_ring.closed()) result = extractor.finish();
  extraction.end = std::chrono::steady_clock::now();
}

LayerPipeline::LayerPipeline(asio::any_io_executor home, const StartThread& start_thread, int root,
                             const Descriptor& blob, bool verify, ExtractOptions options)
    : state_(std::make_shared<State>(std::move(home), root, blob, verify, options)) {
  for (const auto stage : {&State::inflate, &State::hash_tar, &State::extract}) {
    start_thread([state = state_, stage]() mutable { State::run(std::move(state), stage); });
  }
}

LayerPipeline::~LayerPipeline() {
  state_->stop();
}

Awaitable<> LayerPipeline::write(std::span<const std::byte> bytes) {
  State& state = *state_;
  while (!bytes.empty()) {
    while (state.claimed.empty()) {
      state.rethrow_failure();
      state.room = std::make_unique<Event>(state.home);
      auto tell = [self = state_] { asio::post(self->home, [self] { self->room->set(); }); };
      state.claimed = state.blob_ring.try_claim(std::move(tell));
      if (state.claimed.empty() && !state.blob_ring.closed()) co_await state.room->wait();
    }
    const auto part = std::min(bytes.size(), state.claimed.size() - state.filled);
    std::memcpy(state.claimed.data() + state.filled, bytes.data(), part);
    state.filled += part;
    bytes = bytes.subspan(part);
    if (state.filled == state.claimed.size() || (bytes.empty() && state.blob_ring.idle())) {
      state.blob_ring.publish(state.filled);
      state.claimed = {};
      state.filled = 0;
    }
  }
}

Awaitable<ExtractedLayer> LayerPipeline::finish() {
  State& state = *state_;
  if (state.filled > 0) state.blob_ring.publish(state.filled);
  state.claimed = {};
  state.filled = 0;
  state.blob_ring.end();
  co_await state.ended.wait();
  state.rethrow_failure();
  ExtractedLayer layer;
  layer.applied.diff_id = state.diff_id;
  layer.applied.size = state.tar_bytes;
  layer.applied.inflate = state.inflation;
  layer.applied.extract = state.extraction;
  layer.result = std::move(state.result);
  co_return layer;
}

}  // namespace lazypull
