// A layer from compressed bytes to files, on threads, with the home thread only handing bytes over.

#include "snapshot/unpack/layer_pipeline.hpp"

#include "engine/error.hpp"
#include "snapshot/unpack/stage_threads.hpp"
#include "snapshot/unpack/unique_fd.hpp"
#include "tests/support/coroutine.hpp"
#include "tests/support/temp_dir.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <string>

namespace lazypull::test {
namespace {

/// One file of a ustar archive, and two blocks of zeros at the end.
std::string archive_of(const std::string& name, const std::string& content) {
  std::array<char, 512> header{};
  std::memcpy(header.data(), name.data(), name.size());
  std::snprintf(header.data() + 100, 8, "%07o", 0644U);
  std::snprintf(header.data() + 108, 8, "%07o", 0U);
  std::snprintf(header.data() + 116, 8, "%07o", 0U);
  std::snprintf(header.data() + 124, 12, "%011zo", content.size());
  std::snprintf(header.data() + 136, 12, "%011o", 1'600'000'000U);
  header[156] = '0';
  std::memcpy(header.data() + 257, "ustar\00000", 8);
  std::memset(header.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header.data() + 148, 8, "%06o", sum);
  std::string archive(header.data(), header.size());
  archive += content;
  archive.resize((archive.size() + 511) / 512 * 512 + 1024);
  return archive;
}

class Pipeline : public ::testing::Test {
 protected:
  /// Writes the blob in pieces and finishes; throws what the pipeline says.
  ExtractedLayer unpack(std::string blob, const Descriptor& descriptor, std::size_t piece) {
    std::optional<ExtractedLayer> layer;
    asio::io_context home(1);
    run_on(home, write_all(home.get_executor(), std::move(blob), descriptor, piece, layer));
    return std::move(*layer);
  }

  Awaitable<> write_all(asio::any_io_executor home, std::string blob, Descriptor descriptor,
                        std::size_t piece, std::optional<ExtractedLayer>& layer) {
    std::exception_ptr failure;
    try {
      const StartThread start = [this](std::function<void()> stage) { threads.start(std::move(stage)); };
      LayerPipeline pipeline(std::move(home), start, root.get(), descriptor, true, {});
      const auto bytes = std::as_bytes(std::span(blob));
      for (std::size_t at = 0; at < bytes.size(); at += piece) {
        co_await pipeline.write(bytes.subspan(at, std::min(piece, bytes.size() - at)));
      }
      layer = co_await pipeline.finish();
    } catch (...) {
      failure = std::current_exception();
    }
    co_await threads.idle();
    if (failure) std::rethrow_exception(failure);
  }

  Errc failure(const std::string& blob, const Descriptor& descriptor) {
    try {
      unpack(blob, descriptor, 1000);
    } catch (const Error& error) {
      return error.code();
    }
    return Errc{};
  }

  static Descriptor describe(const std::string& blob) {
    Descriptor descriptor;
    descriptor.digest = Digest::sha256_of(blob);
    descriptor.size = blob.size();
    return descriptor;
  }

  TempDir folder{"pipeline"};
  UniqueFd root{::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  StageThreads threads{3};
};

TEST_F(Pipeline, GivesTheFilesTheDiffIdAndTheSize) {
  const auto blob = archive_of("file", "content");
  const auto layer = unpack(blob, describe(blob), 100);
  EXPECT_EQ(read_file(folder / "file"), "content");
  EXPECT_EQ(layer.applied.diff_id, Digest::sha256_of(blob));
  EXPECT_EQ(layer.applied.size, blob.size());
}

TEST_F(Pipeline, TakesPiecesOfAnySize) {
  const auto blob = archive_of("file", std::string(100'000, 'x'));
  for (const std::size_t piece : {std::size_t{1}, std::size_t{511}, std::size_t{70'000}, blob.size()}) {
    EXPECT_EQ(unpack(blob, describe(blob), piece).applied.diff_id, Digest::sha256_of(blob)) << piece;
  }
}

TEST_F(Pipeline, CarriesMoreThanItsBuffersHold) {
  const auto blob = archive_of("file", std::string(20'000'000, 'y'));
  unpack(blob, describe(blob), 250'000);
  EXPECT_EQ(std::filesystem::file_size(folder / "file"), 20'000'000U);
}

TEST_F(Pipeline, OtherBytesOfTheSameLengthAreADigestMismatch) {
  const auto blob = archive_of("file", "content");
  auto other = blob;
  other[512] = 'C';
  EXPECT_EQ(failure(other, describe(blob)), Errc::digest_mismatch);
}

TEST_F(Pipeline, FewerBytesAreASizeMismatch) {
  const auto blob = archive_of("file", "content");
  EXPECT_EQ(failure(blob.substr(0, 1024), describe(blob)), Errc::size_mismatch);
}

TEST_F(Pipeline, WhatIsNoArchiveIsRefused) {
  const std::string blob(10'000, 'q');
  EXPECT_NE(failure(blob, describe(blob)), Errc{});
}

TEST_F(Pipeline, AFailureStopsTheWriterInTheMiddle) {
  const std::string blob(30'000'000, 'q');
  EXPECT_NE(failure(blob, describe(blob)), Errc{});
}

TEST_F(Pipeline, DestroyingItInTheMiddleEndsItsThreads) {
  const auto blob = archive_of("file", std::string(5'000'000, 'z'));
  asio::io_context home(1);
  auto begin = [](StageThreads& on, int into, const std::string& bytes,
                  Descriptor descriptor) -> Awaitable<> {
    const auto executor = co_await asio::this_coro::executor;
    const StartThread start = [&on](std::function<void()> stage) { on.start(std::move(stage)); };
    {
      LayerPipeline pipeline(executor, start, into, descriptor, true, {});
      co_await pipeline.write(std::as_bytes(std::span(bytes)).first(1'000'000));
    }
    co_await on.idle();
  };
  run_on(home, begin(threads, root.get(), blob, describe(blob)));
}

}  // namespace
}  // namespace lazypull::test
