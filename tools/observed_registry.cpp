#include "tools/observed_registry.hpp"

#include "engine/error.hpp"

#include <exception>

namespace lazypull {
namespace {

using LastFailure = std::shared_ptr<std::optional<Errc>>;

[[noreturn]] void note_and_rethrow(std::optional<Errc>& last, const std::exception_ptr& failure) {
  const Errc code = as_error(failure).code();
  if (code != Errc::cancelled) last = code;
  std::rethrow_exception(failure);
}

class ObservedReader final : public BlobReader {
 public:
  ObservedReader(std::unique_ptr<BlobReader> reader, LastFailure last_failure)
      : reader_(std::move(reader)), last_failure_(std::move(last_failure)) {}

  Awaitable<std::span<const std::byte>> read() override {
    std::exception_ptr failure;
    try {
      const auto bytes = co_await reader_->read();
      co_return bytes;
    } catch (...) {
      failure = std::current_exception();
    }
    note_and_rethrow(*last_failure_, failure);
  }
  bool unproven() const noexcept override { return reader_->unproven(); }

 private:
  std::unique_ptr<BlobReader> reader_;
  LastFailure last_failure_;
};

}  // namespace

Awaitable<Descriptor> ObservedRegistry::resolve(const Reference& reference) {
  std::exception_ptr failure;
  try {
    auto descriptor = co_await resolver_.resolve(reference);
    co_return descriptor;
  } catch (...) {
    failure = std::current_exception();
  }
  note_and_rethrow(*last_failure_, failure);
}

Awaitable<std::unique_ptr<BlobReader>> ObservedRegistry::open(const Reference& repository,
                                                              const Descriptor& descriptor,
                                                              std::uint64_t offset) {
  std::exception_ptr failure;
  try {
    auto reader = co_await fetcher_.open(repository, descriptor, offset);
    co_return std::make_unique<ObservedReader>(std::move(reader), last_failure_);
  } catch (...) {
    failure = std::current_exception();
  }
  note_and_rethrow(*last_failure_, failure);
}

}  // namespace lazypull
