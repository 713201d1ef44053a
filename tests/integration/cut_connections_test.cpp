// A large image over a line on which every connection breaks after a random number of bytes, as where one
// packet in a hundred ends its connection. LAZYPULL_CUT_MB sets how large the image is.

#include "tests/integration/support/embedded.hpp"
#include "tests/integration/support/image.hpp"
#include "tests/integration/support/registry.hpp"
#include "tests/support/fault_proxy_thread.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

namespace lazypull::test {
namespace {

using testing::IsEmpty;

/// A hundred packets of an Ethernet.
constexpr std::uint64_t bytes_between_cuts = 146'000;

std::size_t image_megabytes() {
  constexpr std::size_t usual = 24;
  const char* text = std::getenv("LAZYPULL_CUT_MB");
  return text == nullptr || *text == '\0' ? usual : std::strtoul(text, nullptr, 10);
}

/// Of eight layers that do not compress.
Image noisy_image(std::size_t megabytes) {
  constexpr std::size_t layers = 8;
  ImageBuilder builder;
  for (std::size_t i = 0; i < layers; ++i) {
    builder.layer({tar::file("noise" + std::to_string(i), tar::noise(megabytes * 1'000'000 / layers, i + 1))},
                  Compression::none);
  }
  return builder.build();
}

struct Transfer {
  std::uint64_t fetched = 0;  ///< bytes of blobs that reached the client's kernel
  std::uint64_t requests = 0;
  std::uint64_t cuts = 0;
};

Transfer transfer_of(const std::vector<FaultRecord>& records) {
  Transfer transfer;
  for (const auto& record : records) {
    if (record.method != "GET" || record.target.find("/blobs/") == std::string::npos) continue;
    transfer.fetched += record.body_bytes - record.undelivered;
    ++transfer.requests;
    if (record.end == FaultRecord::End::cut) ++transfer.cuts;
  }
  return transfer;
}

class CutConnections : public ::testing::TestWithParam<std::vector<std::string>> {};

TEST_P(CutConnections, TheImageArrivesAndLittleOfItIsFetchedTwice) {
  const auto image = noisy_image(image_megabytes());
  std::uint64_t size = 0;
  for (const auto& [digest, bytes] : image.blobs) {
    if (digest != image.digest) size += bytes.size();
  }
  Registry registry;
  registry.store(image, "cut:1");
  FaultProfile profile;
  profile.cut_mean = bytes_between_cuts;
  FaultProxyThread proxy("http://" + registry.host(), profile, 1);

  StoreLazypull lazypull;
  Argv pull{"pull", proxy.host() + "/cut:1", "--timeout", "500s"};
  pull.insert(pull.end(), GetParam().begin(), GetParam().end());
  const auto start = std::chrono::steady_clock::now();
  const auto outcome = lazypull.run(pull, {.timeout = std::chrono::seconds(550)});
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  ASSERT_EQ(outcome.process.exit_code, 0) << outcome.process.err;

  const auto transfer = transfer_of(proxy.records());
  EXPECT_GT(transfer.cuts, size / bytes_between_cuts / 2) << "the line was not as bad as it was to be";
  EXPECT_GE(transfer.fetched, size);
  const auto twice = static_cast<double>(transfer.fetched - size) / static_cast<double>(size);
  EXPECT_LT(twice, 0.05);
  std::cout << size << " bytes in " << took.count() << " s, " << transfer.requests << " requests, "
            << transfer.cuts << " cuts, " << 100 * twice << "% fetched twice" << std::endl;

  const auto store = lazypull.open();
  EXPECT_THAT(faults(*store), IsEmpty());
  EXPECT_EQ(store->content().list().size(), image.blobs.size());
}

INSTANTIATE_TEST_SUITE_P(WholeLayers, CutConnections, testing::Values(std::vector<std::string>{}));
INSTANTIATE_TEST_SUITE_P(LayersInParts, CutConnections,
                         testing::Values(std::vector<std::string>{"--concurrent-layer-fetch-buffer", "1M"}));

}  // namespace
}  // namespace lazypull::test
