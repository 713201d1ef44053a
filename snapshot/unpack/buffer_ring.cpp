#include "snapshot/unpack/buffer_ring.hpp"

#include <algorithm>
#include <utility>

namespace lazypull {

BufferRing::BufferRing(std::size_t slots, std::size_t slot_bytes, std::size_t consumers)
    : slot_bytes_(slot_bytes), slots_(slots), consumed_(consumers, 0) {}

bool BufferRing::has_room() const {
  return published_ - std::ranges::min(consumed_) < slots_.size();
}

std::span<std::byte> BufferRing::claimed() {
  auto& slot = slots_[published_ % slots_.size()];
  // Small layers never need the later ones.
  if (!slot.bytes) slot.bytes = std::make_unique_for_overwrite<std::byte[]>(slot_bytes_);
  return {slot.bytes.get(), slot_bytes_};
}

std::span<std::byte> BufferRing::claim() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || has_room(); });
  if (closed_) return {};
  return claimed();
}

std::span<std::byte> BufferRing::try_claim(std::function<void()> when_free) {
  const std::lock_guard lock(mutex_);
  if (closed_) return {};
  if (has_room()) return claimed();
  when_free_ = std::move(when_free);
  return {};
}

void BufferRing::publish(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  slots_[published_ % slots_.size()].filled = bytes;
  ++published_;
  changed_.notify_all();
}

void BufferRing::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

std::span<const std::byte> BufferRing::front(std::size_t consumer) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return closed_ || ended_ || consumed_[consumer] < published_; });
  if (closed_ || consumed_[consumer] == published_) return {};
  const auto& slot = slots_[consumed_[consumer] % slots_.size()];
  return {slot.bytes.get(), slot.filled};
}

void BufferRing::pop(std::size_t consumer) {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    ++consumed_[consumer];
    if (has_room()) wake = std::exchange(when_free_, nullptr);
    changed_.notify_all();
  }
  if (wake) wake();
}

bool BufferRing::idle() {
  const std::lock_guard lock(mutex_);
  return std::ranges::min(consumed_) == published_;
}

void BufferRing::close() {
  std::function<void()> wake;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    wake = std::exchange(when_free_, nullptr);
    changed_.notify_all();
  }
  if (wake) wake();
}

bool BufferRing::closed() {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace lazypull
