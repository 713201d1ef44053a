// In which order the images of a prewarm run begin.

#include "engine/image_order.hpp"

#include <gtest/gtest.h>

namespace lazypull {
namespace {

/// "a" is an image of registry a with priority 0, "A" one of the same registry with priority 1.
ImageOrder order_of(const std::string& list) {
  std::vector<ImageOrder::Image> images;
  for (const char c : list) {
    const bool upper = c >= 'A' && c <= 'Z';
    images.push_back({upper ? 1 : 0, std::string(1, static_cast<char>(upper ? c - 'A' + 'a' : c))});
  }
  return ImageOrder(images);
}

/// Begins with so many, and then one whenever the oldest ends.
std::string run(const std::string& list, std::size_t at_once) {
  auto order = order_of(list);
  std::string begun;
  std::vector<std::size_t> in_progress;
  for (;;) {
    while (in_progress.size() < at_once) {
      const auto next = order.next();
      if (!next) return begun;
      begun += list[*next];
      in_progress.push_back(*next);
    }
    order.ended(in_progress.front());
    in_progress.erase(in_progress.begin());
  }
}

TEST(ImageOrder, IsThatOfTheListForOneRegistry) {
  auto order = order_of("aaa");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(order.next(), i);
  EXPECT_FALSE(order.next());
}

TEST(ImageOrder, HigherPrioritiesBeginFirst) {
  EXPECT_EQ(run("aBcAd", 1), "BAcda") << "registry a has had its turn";
}

TEST(ImageOrder, RegistriesTakeTurnsHoweverTheListIsSorted) {
  EXPECT_EQ(run("aaaaabbc", 1), "abcabaaa");
  EXPECT_EQ(run("aaaaabbc", 3), "abcabaaa");
}

TEST(ImageOrder, ARegistryThatIsSlowDoesNotHoldTheOthersUp) {
  auto order = order_of("aaaaaaaabbbbbbbb");
  // Four at once, of which those of registry a never end.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(order.next());
  std::vector<std::size_t> of_b{8, 9};
  while (!of_b.empty()) {
    order.ended(of_b.front());
    of_b.erase(of_b.begin());
    const auto next = order.next();
    ASSERT_TRUE(next);
    if (of_b.empty()) break;
    EXPECT_GE(*next, 8U) << "a has as many in progress as b, or more";
    if (*next < 15) of_b.push_back(*next);
  }
}

TEST(ImageOrder, NothingIsLeftOutAndNothingComesTwice) {
  std::string list;
  for (unsigned i = 0; i < 500; ++i) list += "abcABCdd"[(i * i + i / 3) % 8];
  auto order = order_of(list);
  std::vector<int> seen(list.size());
  while (const auto next = order.next()) {
    ++seen[*next];
    if (*next % 3 == 0) order.ended(*next);
  }
  EXPECT_EQ(seen, std::vector<int>(list.size(), 1));
}

}  // namespace
}  // namespace lazypull
