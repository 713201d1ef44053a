#include "engine/retry_budget.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace lazypull {

namespace {

constexpr std::chrono::milliseconds first_pause{50};

// A body that is cut short is the peer's breach of the protocol, but no reason to give up.
bool worth_trying(Errc code) noexcept {
  return is_transient(code) || code == Errc::bad_response;
}

}  // namespace

bool RetryBudget::take() noexcept {
  if (left_ == 0) return false;
  --left_;
  return true;
}

void RetryBudget::earn(std::uint64_t bytes) noexcept {
  earned_bytes_ += bytes;
  const auto retries = earned_bytes_ / bytes_per_retry;
  earned_bytes_ %= bytes_per_retry;
  left_ += static_cast<std::size_t>(std::min<std::uint64_t>(retries, most_ - left_));
}

Error RetryBudget::spent(const Error& failure) const {
  static constexpr std::string_view mark = "; the retry budget of this pull (";
  if (failure.message().find(mark) != std::string::npos) return failure;
  return {failure.code(), failure.message() + std::string(mark) + std::to_string(most_) + ") is spent"};
}

std::chrono::milliseconds DownloadRetry::pause_after(const std::exception_ptr& broken) {
  const auto failure = as_error(broken);
  if (!worth_trying(failure.code())) std::rethrow_exception(broken);
  const auto gained = std::exchange(gained_, 0);
  if (gained > 0) fruitless_ = 0;
  if (gained >= fruitful_bytes) return std::chrono::milliseconds{0};
  if (gained == 0 && ++fruitless_ > max_fruitless) std::rethrow_exception(broken);
  if (!budget_.take()) throw budget_.spent(failure);
  return first_pause * (1 << fruitless_);
}

}  // namespace lazypull
