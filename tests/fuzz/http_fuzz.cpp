#include "engine/error.hpp"
#include "tests/fuzz/fuzz_target.hpp"
#include "tests/support/coroutine.hpp"
#include "transport/http_connection.hpp"

#include <algorithm>
#include <array>

namespace lazypull::fuzz {

namespace {

// A peer that has said everything already.
class SpokenStream : public ByteStream {
 public:
  SpokenStream(Bytes bytes, std::size_t piece) : rest_(bytes), piece_(piece) {}

  Awaitable<std::size_t> read_some(std::span<std::byte> buffer, Clock::time_point) override {
    const auto count = std::min({buffer.size(), piece_, rest_.size()});
    std::copy_n(rest_.begin(), count, buffer.begin());
    rest_ = rest_.subspan(count);
    co_return count;
  }
  Awaitable<> write(std::span<const std::byte>, Clock::time_point) override { co_return; }
  bool idle_and_open() noexcept override { return rest_.empty(); }

 private:
  Bytes rest_;
  std::size_t piece_;
};

struct Outcome {
  std::string head;
  std::string body;
  std::string failure;
  bool reusable = false;
};

void check(const HttpHead& head, std::size_t received) {
  require(head.status >= 200 && head.status <= 999, "an interim response is none",
          std::to_string(head.status));
  std::size_t bytes = 0;
  for (const auto& field : head.fields) {
    bytes += field.name.size() + field.value.size();
    require(!field.name.empty(), "a field has a name");
    require(field.value.find_first_of("\r\n") == std::string::npos, "a field is one line", field.name);
  }
  require(bytes <= received, "the fields are what has come");
  require_message(head.status_line());
  head.content_length();
}

Awaitable<> converse(Bytes bytes, std::size_t piece, bool is_head, std::size_t buffer_bytes,
                     Outcome& outcome) {
  HttpConnection connection(std::make_unique<SpokenStream>(bytes, piece));
  const auto head = co_await connection.exchange("GET / HTTP/1.1\r\n\r\n", is_head, Clock::time_point::max());
  check(head, bytes.size());
  outcome.head = std::to_string(head.status);
  for (const auto& field : head.fields)
    outcome.head.append("\n").append(field.name).append(":").append(field.value);
  std::array<std::byte, 256> buffer;
  for (;;) {
    const auto got =
        co_await connection.read_body(std::span(buffer).first(buffer_bytes), Clock::time_point::max());
    if (got == 0) break;
    require(got <= buffer_bytes, "a read fits its buffer");
    outcome.body.append(text_of(std::span(buffer).first(got)));
    require(outcome.body.size() <= bytes.size(), "a body is what has come");
  }
  require(connection.body_complete(), "a body without a failure is complete");
  outcome.reusable = connection.reusable();
}

Outcome receive(Bytes bytes, std::size_t piece, bool is_head, std::size_t buffer_bytes) {
  Outcome outcome;
  try {
    static asio::io_context home(1);  // making one is most of the work otherwise
    test::run_on(home, converse(bytes, piece, is_head, buffer_bytes, outcome));
  } catch (const Error& error) {
    require(error.code() == Errc::bad_response || error.code() == Errc::unavailable, "refused as an answer",
            error.message());
    require_message(error.message());
    outcome.failure = error.message();
  }
  return outcome;
}

}  // namespace

void fuzz_http(Bytes input) {
  if (input.empty()) return;
  const auto choice = std::to_integer<unsigned>(input.front());
  const bool is_head = (choice & 1U) != 0;
  const std::size_t piece = (choice >> 1U) % 16 + 1;
  const std::size_t buffer_bytes = (choice & 0x40U) != 0 ? 1 : 256;
  const auto bytes = input.subspan(1);
  const auto whole = receive(bytes, bytes.size() + 1, is_head, 256);
  const auto pieces = receive(bytes, piece, is_head, buffer_bytes);
  require(whole.head == pieces.head, "pieces make no difference to the head",
          whole.head + " / " + pieces.head);
  require(whole.failure.empty() == pieces.failure.empty(), "nor to whether it is refused",
          whole.failure + " / " + pieces.failure);
  // Where a response is refused, how much of its body came out before may differ.
  if (!whole.failure.empty()) return;
  require(whole.body == pieces.body, "nor to the body", whole.body + " / " + pieces.body);
}

}  // namespace lazypull::fuzz
