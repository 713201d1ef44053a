#include "transport/retry_policy.hpp"

#include "transport/http_message.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace lazypull {

namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t most_seconds = 365ULL * 24 * 3600;

bool worth_trying(const RetryPolicy& policy, int attempts_made, const AttemptOutcome& outcome) {
  if (attempts_made >= policy.max_attempts) return false;
  if (outcome.failure) {
    if (*outcome.failure == Errc::timed_out) return attempts_made < 2;
    return *outcome.failure == Errc::unavailable;
  }
  static constexpr std::array retried = {408, 429, 500, 502, 503, 504};
  return std::find(retried.begin(), retried.end(), outcome.status) != retried.end();
}

// "Sun, 06 Nov 1994 08:49:37 GMT"; the name of the day says nothing new.
std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view text) {
  static constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  static constexpr std::string_view shape = "xxx, dd xxx dddd dd:dd:dd GMT";
  if (text.size() != shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool letter = (text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z');
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (shape[i] == 'x' ? !letter : shape[i] == 'd' ? !digit : text[i] != shape[i]) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t count) {
    return static_cast<unsigned>(*parse_decimal(text.substr(at, count)));
  };
  const auto month = months.find(text.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{year(static_cast<int>(number(12, 4))),
                            std::chrono::month(static_cast<unsigned>(month / 3 + 1)), day(number(5, 2))};
  if (!date.ok() || number(17, 2) > 23 || number(20, 2) > 59 || number(23, 2) > 60) return std::nullopt;
  return sys_days(date) + hours(number(17, 2)) + minutes(number(20, 2)) + seconds(number(23, 2));
}

}  // namespace

std::optional<milliseconds> parse_retry_after(std::string_view value,
                                              std::chrono::system_clock::time_point now) {
  value = trim(value);
  if (const auto seconds = parse_decimal(value)) {
    return std::chrono::seconds(static_cast<std::int64_t>(std::min(*seconds, most_seconds)));
  }
  const auto date = parse_http_date(value);
  if (!date) return std::nullopt;
  // A date of some centuries from now is further than nanoseconds can say.
  const auto second = std::chrono::floor<std::chrono::seconds>(now);
  const auto last = second + std::chrono::years{100};
  return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(std::clamp(*date, second, last) - now));
}

std::optional<milliseconds> retry_delay(const RetryPolicy& policy, int attempts_made,
                                        const AttemptOutcome& outcome, double jitter,
                                        std::chrono::system_clock::time_point now) {
  if (!worth_trying(policy, attempts_made, outcome)) return std::nullopt;
  if (outcome.retry_after) {
    const auto asked = parse_retry_after(*outcome.retry_after, now);
    if (asked) return std::min(*asked, policy.max_delay);
  }
  const double doubled = static_cast<double>(policy.base_delay.count()) * std::exp2(attempts_made - 1);
  const double capped = std::min(doubled, static_cast<double>(policy.max_delay.count()));
  return milliseconds(static_cast<std::int64_t>(capped * (0.5 + jitter / 2)));
}

}  // namespace lazypull
