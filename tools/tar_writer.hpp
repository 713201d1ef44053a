#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace lazypull {

/// Writes a tar archive (POSIX ustar, with pax headers for long names) that is the same whenever and by
/// whomever it is made: owner 0, time 0.
class TarWriter {
 public:
  using Sink = std::function<void(std::span<const std::byte>)>;

  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}

  void add_directory(const std::string& name);
  void add_file(const std::string& name, std::string_view text);
  /// A file whose bytes follow by `write`, exactly as many; then `end_file`.
  void begin_file(const std::string& name, std::uint64_t size);
  void write(std::span<const std::byte> bytes);
  void end_file();
  /// Ends the archive.
  void finish();

 private:
  void header(const std::string& name, char type, unsigned mode, std::uint64_t size);
  void pad(std::uint64_t written);

  Sink sink_;
  std::uint64_t size_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace lazypull
