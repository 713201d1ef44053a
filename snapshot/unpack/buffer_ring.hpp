#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace lazypull {

/// A bounded row of large buffers that are used again and again. One producer fills them, and every consumer
/// sees all of them in order; a buffer is free again when the last consumer is through with it. So the memory
/// of a pipeline stage is fixed, and a slow consumer holds the producer back. Each side is one thread.
class BufferRing {
 public:
  BufferRing(std::size_t slots, std::size_t slot_bytes, std::size_t consumers);

  /// The next buffer to fill; waits for a free one. Empty once the ring is closed.
  std::span<std::byte> claim();
  /// The same without waiting: empty if none is free, and then `when_free` is called once, from another
  /// thread, as soon as one is or the ring is closed.
  std::span<std::byte> try_claim(std::function<void()> when_free);
  /// Hands the claimed buffer's first `bytes` to the consumers.
  void publish(std::size_t bytes);
  /// Nothing more will come.
  void end();

  /// The next filled buffer; waits for it. Empty at the end, and once the ring is closed.
  std::span<const std::byte> front(std::size_t consumer);
  /// The consumer is through with `front`.
  void pop(std::size_t consumer);
  /// True if all that was published has been consumed, so that somebody waits for more.
  bool idle();

  /// Wakes everybody: nothing is taken or given any more.
  void close();
  /// Whether all that was produced until `end` was meant to be seen: false once the ring was closed.
  bool closed();

 private:
  struct Slot {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t filled = 0;
  };

  bool has_room() const;
  std::span<std::byte> claimed();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t slot_bytes_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> consumed_;  ///< how many buffers each consumer is through with
  std::uint64_t published_ = 0;
  bool ended_ = false;
  bool closed_ = false;
  std::function<void()> when_free_;
};

}  // namespace lazypull
