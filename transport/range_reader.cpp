#include "transport/range_reader.hpp"

#include "engine/error.hpp"
#include "transport/blob_part.hpp"
#include "transport/host_blob.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <deque>

namespace lazypull {

namespace {

constexpr std::size_t max_piece = 256U << 10U;

/// One part on its way, by a coroutine of its own, which shares this with the reader: the reader may go
/// first.
struct PartInFlight {
  PartInFlight(const asio::any_io_executor& executor, ByteRange range)
      : part(range, [this] { wake(); }), progress(executor, asio::steady_timer::time_point::max()) {}

  void wake() { progress.cancel(); }

  BlobPart part;
  bool ended = false;
  std::exception_ptr failure;
  asio::steady_timer progress;  // whoever waits for bytes sleeps on it
  asio::cancellation_signal stop;
};

using SharedPart = std::shared_ptr<PartInFlight>;

Awaitable<> run_part(PartedBlob blob, SharedPart flight, RegistryResponse response) {
  std::exception_ptr broken;
  if (response.http) {
    try {
      co_await read_part(response, flight->part);
      co_return;
    } catch (const Error& error) {
      if (error.code() == Errc::cancelled || flight->part.complete()) throw;
      broken = std::current_exception();
    }
    response.http.reset();
  }
  co_await fetch_part(blob, flight->part, broken);
}

class RangeReader : public BlobReader {
 public:
  RangeReader(PartedBlob blob, std::uint64_t offset) : blob_(std::move(blob)), next_(offset) {}
  ~RangeReader() override {
    for (const auto& flight : flights_) {
      if (!flight->ended) flight->stop.emit(asio::cancellation_type::terminal);
    }
  }

  /// The first part, whose response has come already.
  void begin(RegistryResponse response) {
    start(std::move(response));
    fill();
  }

  Awaitable<std::span<const std::byte>> read() override {
    for (;;) {
      if (flights_.empty()) co_return std::span<const std::byte>();
      const auto flight = flights_.front();
      const auto piece = flight->part.bytes().subspan(taken_);
      if (!piece.empty()) {
        const auto some = piece.first(std::min(piece.size(), max_piece));
        taken_ += some.size();
        co_return some;
      }
      if (!flight->ended) {
        co_await wait_for(*flight);
        continue;
      }
      if (flight->failure) std::rethrow_exception(flight->failure);
      flights_.pop_front();
      taken_ = 0;
      fill();
    }
  }

 private:
  std::uint64_t size() const { return blob_.descriptor.size; }

  void fill() {
    const auto most = std::max<std::size_t>(blob_.core->options.max_parallel_ranges, 1);
    while (flights_.size() < most && next_ < size()) start({});
  }

  void start(RegistryResponse response) {
    const auto last = std::min(next_ + blob_.core->options.range_bytes, size()) - 1;
    const auto flight = std::make_shared<PartInFlight>(blob_.core->home, ByteRange{next_, last});
    flights_.push_back(flight);
    next_ = last + 1;
    auto ended = [flight](std::exception_ptr failure) {
      flight->failure = std::move(failure);
      flight->ended = true;
      flight->wake();
    };
    asio::co_spawn(blob_.core->home, run_part(blob_, flight, std::move(response)),
                   asio::bind_cancellation_slot(flight->stop.slot(), std::move(ended)));
  }

  static Awaitable<> wait_for(PartInFlight& flight) {
    co_await flight.progress.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) throw Error(Errc::cancelled, "cancelled");
  }

  PartedBlob blob_;
  std::uint64_t next_;              // where the next part begins
  std::deque<SharedPart> flights_;  // in order
  std::size_t taken_ = 0;           // bytes of the first that have been handed out
};

}  // namespace

bool reads_in_parts(const RegistryCore& core, const RegistryHost& host, const Descriptor& descriptor,
                    std::uint64_t offset) {
  const bool manifest =
      media_type::is_manifest(descriptor.media_type) || media_type::is_index(descriptor.media_type);
  return core.options.range_bytes > 0 && !manifest && descriptor.size - offset > core.options.range_bytes &&
         !core.rangeless.contains(host.origin);
}

Awaitable<std::unique_ptr<BlobReader>> open_in_parts(RemoteBlob remote, RegistryHost host, bool is_last,
                                                     std::uint64_t offset, std::string before) {
  const auto origin = host.origin;
  const ByteRange first{offset, offset + remote.core->options.range_bytes - 1};
  const PartedBlob blob(std::move(remote), origin);
  auto response = co_await request_range(blob, std::move(host), is_last, first);
  if (response.http->status() == 200) {
    blob.core->rangeless.insert(origin);
    auto single = co_await read_response(std::move(response), blob.descriptor, offset, std::move(before));
    co_return single;
  }
  check_range(blob, origin, response, first);
  auto reader = std::make_unique<RangeReader>(blob, offset);
  reader->begin(std::move(response));
  co_return reader;
}

}  // namespace lazypull
