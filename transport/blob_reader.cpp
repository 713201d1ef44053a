#include "transport/blob_reader.hpp"

#include "engine/error.hpp"
#include "transport/interrupted_blobs.hpp"

#include <algorithm>
#include <optional>

namespace lazypull {

namespace {

constexpr std::size_t buffer_bytes = 256U << 10U;

struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::optional<std::uint64_t> size;
};

// "bytes 100-199/200" or "bytes 100-199/*" (RFC 9110 section 14.4).
std::optional<ContentRange> parse_content_range(std::string_view text) {
  text = trim(text);
  const auto space = text.find(' ');
  if (space == std::string_view::npos || !iequals(text.substr(0, space), "bytes")) return std::nullopt;
  text = trim(text.substr(space));
  const auto dash = text.find('-');
  const auto slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || dash > slash) return std::nullopt;
  const auto first = parse_decimal(text.substr(0, dash));
  const auto last = parse_decimal(text.substr(dash + 1, slash - dash - 1));
  const auto size = text.substr(slash + 1);
  if (!first || !last || *last < *first) return std::nullopt;
  const auto number = parse_decimal(size);
  if (!number && size != "*") return std::nullopt;
  return ContentRange{*first, *last, number};
}

[[noreturn]] void wrong_size(const std::string& what, std::uint64_t size) {
  throw Error(Errc::size_mismatch, what + ", but its descriptor says " + std::to_string(size) + " bytes");
}

void check_encoding(const HttpHead& head) {
  const auto encoding = head.fields.find("Content-Encoding");
  if (!encoding || trim(*encoding).empty() || iequals(trim(*encoding), "identity")) return;
  throw Error(Errc::bad_response, "the blob comes with Content-Encoding " + sanitise(*encoding, 50) +
                                      ", which was not asked for");
}

class HttpBlobReader : public BlobReader {
 public:
  HttpBlobReader(RegistryResponse response, BodyPlan plan, std::string before)
      : response_(std::move(response)),
        plan_(plan),
        before_(std::move(before)),
        buffer_(std::make_unique_for_overwrite<std::byte[]>(buffer_bytes)) {}

  Awaitable<std::span<const std::byte>> read() override {
    std::exception_ptr failure;
    try {
      const auto bytes = co_await read_some();
      co_return bytes;
    } catch (...) {
      failure = std::current_exception();
    }
    rethrow_from_here(failure);
  }

 private:
  Awaitable<std::span<const std::byte>> read_some() {
    const std::span<std::byte> buffer(buffer_.get(), buffer_bytes);
    for (;;) {
      const auto got = co_await response_.http->read(buffer);
      if (got == 0) {
        if (kept_ < plan_.keep) throw Error(Errc::bad_response, "the body ended after " + progress());
        co_return std::span<const std::byte>();
      }
      const auto skipped = std::min<std::uint64_t>(got, plan_.skip);
      skip(buffer.first(static_cast<std::size_t>(skipped)));
      const std::span<const std::byte> bytes = buffer.first(got).subspan(static_cast<std::size_t>(skipped));
      if (bytes.size() > plan_.keep - kept_) {
        wrong_size("the server sends more", plan_.offset + plan_.keep);
      }
      kept_ += bytes.size();
      if (!bytes.empty()) co_return bytes;
    }
  }

  void skip(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    skipped_.add(bytes);
    plan_.skip -= bytes.size();
    if (plan_.skip > 0) return;
    const auto comparable = std::min(before_.size(), skipped_.bytes.size());
    const std::string_view came(skipped_.bytes);
    const std::string_view had(before_);
    if (came.substr(came.size() - comparable) == had.substr(had.size() - comparable)) return;
    throw Error(Errc::digest_mismatch,
                "the server sends it from the start, and other bytes than have come before");
  }

  std::string progress() const {
    return std::to_string(plan_.offset + kept_) + " of " + std::to_string(plan_.offset + plan_.keep) +
           " bytes";
  }

  // The response names the request already, but not where it was redirected from.
  [[noreturn]] void rethrow_from_here(const std::exception_ptr& failure) const {
    auto error = as_error(failure);
    if (plan_.skip > 0 && error.code() != Errc::cancelled) {
      error = Error(error.code(), error.message() +
                                      "; the server ignores ranges, so that what comes before byte " +
                                      std::to_string(plan_.offset) + " has to be read again");
    }
    const auto& inner = response_.http->what();
    if (!error.message().starts_with(inner)) throw error.with_context(response_.what);
    throw Error(error.code(), response_.what + error.message().substr(inner.size()));
  }

  RegistryResponse response_;
  BodyPlan plan_;
  std::string before_;
  BlobTail skipped_;
  std::unique_ptr<std::byte[]> buffer_;
  std::uint64_t kept_ = 0;
};

class InlineReader : public BlobReader {
 public:
  InlineReader(std::string bytes, std::uint64_t offset) : bytes_(std::move(bytes)), offset_(offset) {}

  Awaitable<std::span<const std::byte>> read() override {
    const auto rest = std::as_bytes(std::span(bytes_)).subspan(static_cast<std::size_t>(offset_));
    offset_ = bytes_.size();
    co_return rest;
  }

 private:
  std::string bytes_;
  std::uint64_t offset_;
};

}  // namespace

void check_partial(const HttpHead& head, ByteRange wanted, std::uint64_t size) {
  check_encoding(head);
  const auto asked = [&] {
    return "asked for bytes " + std::to_string(wanted.first) + "-" + std::to_string(wanted.last);
  };
  if (head.status != 206) throw Error(Errc::bad_response, asked() + ", got " + head.status_line());
  const auto header = head.fields.find("Content-Range");
  const auto range = header ? parse_content_range(*header) : std::nullopt;
  if (!range) throw Error(Errc::bad_response, "206 Partial Content without a valid Content-Range");
  if (range->size && *range->size != size) {
    wrong_size("the blob has " + std::to_string(*range->size) + " bytes", size);
  }
  if (range->first != wanted.first || range->last != wanted.last) {
    throw Error(Errc::bad_response,
                asked() + ", got " + std::to_string(range->first) + "-" + std::to_string(range->last));
  }
  const auto length = head.content_length();
  if (length && *length != wanted.size()) {
    throw Error(Errc::bad_response, asked() + ", but the body has " + std::to_string(*length) + " bytes");
  }
}

BodyPlan plan_body(const HttpHead& head, std::uint64_t size, std::uint64_t offset) {
  if (head.status == 416) {
    if (offset > 0) wrong_size("the blob does not reach to byte " + std::to_string(offset), size);
    throw Error(Errc::bad_response, "416 Range Not Satisfiable, but no range was asked for");
  }
  if (head.status == 206) {
    if (offset == 0) throw Error(Errc::bad_response, "206 Partial Content, but no range was asked for");
    const auto length = head.content_length();
    if (length && *length != size - offset) {
      wrong_size("from byte " + std::to_string(offset) + " on the server sends " + std::to_string(*length) +
                     " bytes",
                 size);
    }
    check_partial(head, ByteRange{offset, size - 1}, size);
    return {0, size - offset, offset};
  }
  check_encoding(head);
  const auto length = head.content_length();
  if (length && *length != size) {
    wrong_size("the server sends " + std::to_string(*length) + " bytes", size);
  }
  return {offset, size - offset, offset};
}

std::unique_ptr<BlobReader> make_blob_reader(RegistryResponse response, BodyPlan plan, std::string before) {
  return std::make_unique<HttpBlobReader>(std::move(response), plan, std::move(before));
}

std::unique_ptr<BlobReader> make_inline_reader(std::string bytes, std::uint64_t offset) {
  return std::make_unique<InlineReader>(std::move(bytes), offset);
}

}  // namespace lazypull
