// A bounded row of buffers from one producer to several consumers.

#include "snapshot/unpack/buffer_ring.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <string>
#include <thread>

namespace lazypull {
namespace {

void put(BufferRing& ring, const std::string& text) {
  const auto room = ring.claim();
  ASSERT_GE(room.size(), text.size());
  std::memcpy(room.data(), text.data(), text.size());
  ring.publish(text.size());
}

std::string take(BufferRing& ring, std::size_t consumer) {
  const auto bytes = ring.front(consumer);
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.empty()) ring.pop(consumer);
  return text;
}

TEST(BufferRing, EveryConsumerSeesAllBuffersInOrder) {
  BufferRing ring(2, 16, 2);
  put(ring, "one");
  put(ring, "two");
  EXPECT_EQ(take(ring, 0), "one");
  EXPECT_EQ(take(ring, 1), "one");
  EXPECT_EQ(take(ring, 1), "two");
  EXPECT_EQ(take(ring, 0), "two");
}

TEST(BufferRing, ABufferIsFreeOnlyWhenTheLastConsumerIsThroughWithIt) {
  BufferRing ring(1, 16, 2);
  put(ring, "one");
  bool told = false;
  EXPECT_TRUE(ring.try_claim([&] { told = true; }).empty());
  take(ring, 0);
  EXPECT_FALSE(told);
  take(ring, 1);
  EXPECT_TRUE(told);
  EXPECT_FALSE(ring.try_claim([] {}).empty());
}

TEST(BufferRing, TheEndComesAfterWhatWasPublished) {
  BufferRing ring(2, 16, 1);
  put(ring, "last");
  ring.end();
  EXPECT_EQ(take(ring, 0), "last");
  EXPECT_EQ(take(ring, 0), "");
  EXPECT_FALSE(ring.closed());
}

TEST(BufferRing, ClosingWakesAProducerThatWaits) {
  BufferRing ring(1, 16, 1);
  put(ring, "one");
  auto waiting = std::async(std::launch::async, [&] { return ring.claim().empty(); });
  ring.close();
  EXPECT_TRUE(waiting.get());
}

TEST(BufferRing, ClosingWakesAConsumerThatWaits) {
  BufferRing ring(1, 16, 1);
  auto waiting = std::async(std::launch::async, [&] { return ring.front(0).empty(); });
  ring.close();
  EXPECT_TRUE(waiting.get());
}

TEST(BufferRing, ClosingTellsWhoAskedForRoom) {
  BufferRing ring(1, 16, 1);
  put(ring, "one");
  bool told = false;
  EXPECT_TRUE(ring.try_claim([&] { told = true; }).empty());
  ring.close();
  EXPECT_TRUE(told);
}

TEST(BufferRing, CarriesMuchThroughFewBuffers) {
  BufferRing ring(3, 8, 2);
  const int count = 20'000;
  auto read_all = [&](std::size_t consumer) {
    std::string all;
    for (;;) {
      const auto text = take(ring, consumer);
      if (text.empty()) return all;
      all += text;
    }
  };
  auto first = std::async(std::launch::async, read_all, std::size_t{0});
  auto second = std::async(std::launch::async, read_all, std::size_t{1});
  std::string sent;
  for (int i = 0; i < count; ++i) {
    const auto text = std::to_string(i);
    sent += text;
    put(ring, text);
  }
  ring.end();
  EXPECT_EQ(first.get(), sent);
  EXPECT_EQ(second.get(), sent);
}

}  // namespace
}  // namespace lazypull
