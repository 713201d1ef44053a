#include "transport/host_trial.hpp"

#include <algorithm>

namespace lazypull {

namespace {

constexpr std::size_t max_distrusted = 10000;
constexpr std::size_t max_text_bytes = 2000;

}  // namespace

void HostHealth::distrust(const Origin& origin, const Digest& digest) {
  if (distrusted_.size() < max_distrusted) distrusted_.emplace(origin, digest.str());
  breaker(origin).note(HostVerdict::dead, CircuitBreaker::Time::clock::now());
}

HostVerdict verdict_of(Errc code) noexcept {
  switch (code) {
    case Errc::unavailable:
    case Errc::timed_out:
    case Errc::host_not_found:
    case Errc::tls_failure:
      return HostVerdict::dead;
    case Errc::server_error:
    case Errc::too_many_requests:
    case Errc::bad_response:
    case Errc::digest_mismatch:
      return HostVerdict::faulty;
    case Errc::cancelled:
      return HostVerdict::unknown;
    default:
      return HostVerdict::alive;
  }
}

HostTrial::HostTrial(RegistryHostList hosts, HostNeed need, HostHealth& health, std::string what,
                     std::optional<Digest> digest)
    : hosts_(std::move(hosts)),
      need_(need),
      health_(health),
      what_(std::move(what)),
      digest_(std::move(digest)) {}

HostTrial::~HostTrial() {
  note(HostVerdict::unknown);
}

bool HostTrial::suits(const RegistryHost& host) const {
  return need_ == HostNeed::resolve ? host.resolve : host.pull;
}

void HostTrial::start_at(const Origin& origin) {
  const auto found = std::find_if(hosts_->begin(), hosts_->end(),
                                  [&](const RegistryHost& host) { return host.origin == origin; });
  if (found != hosts_->end()) position_ = static_cast<std::size_t>(found - hosts_->begin());
}

const RegistryHost* HostTrial::next() {
  note(HostVerdict::unknown);
  const auto now = CircuitBreaker::Time::clock::now();
  while (position_ < hosts_->size()) {
    const auto& host = (*hosts_)[position_++];
    if (!suits(host)) continue;
    const auto rest = hosts_->begin() + static_cast<std::ptrdiff_t>(position_);
    last_ = std::none_of(rest, hosts_->end(), [&](const RegistryHost& later) { return suits(later); });
    if (!last_ && digest_ && !health_.trusts(host.origin, *digest_)) continue;
    if (!health_.breaker(host.origin).admit(now) && !last_) continue;
    return current_ = &host;
  }
  return nullptr;
}

void HostTrial::note(HostVerdict verdict) {
  if (current_ == nullptr) return;
  health_.breaker(current_->origin).note(verdict, CircuitBreaker::Time::clock::now());
  current_ = nullptr;
}

void HostTrial::failed(const std::exception_ptr& failure, bool broke_off) {
  const auto error = as_error(failure);
  const bool lost = broke_off && error.code() == Errc::unavailable;
  note(lost ? HostVerdict::faulty : verdict_of(error.code()));
  if (error.code() == Errc::cancelled || error.code() == Errc::invalid_argument) throw error;
  if (failure_ && earlier_.size() < max_text_bytes) {
    earlier_ += (earlier_.empty() ? "" : "; ") + failure_->message();
  }
  failure_ = error;
}

void HostTrial::give_up() const {
  if (!failure_) {
    const std::string tags = need_ == HostNeed::resolve ? "resolve" : "pull";
    throw Error(Errc::invalid_argument,
                what_ + ": no host of its hosts.toml has the capability \"" + tags + "\"");
  }
  if (earlier_.empty()) throw *failure_;
  throw Error(failure_->code(), failure_->message() + "; before that: " + earlier_);
}

}  // namespace lazypull
