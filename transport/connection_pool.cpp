#include "transport/connection_pool.hpp"

#include <algorithm>

namespace lazypull {

std::unique_ptr<HttpConnection> ConnectionPool::take(const ConnectionKey& key, Clock::time_point now) {
  drop_expired(now);
  const auto found = idle_.find(key);
  if (found == idle_.end()) return nullptr;
  auto& stack = found->second;
  std::unique_ptr<HttpConnection> connection;
  while (!connection && !stack.empty()) {
    if (stack.back().connection->idle_and_open()) connection = std::move(stack.back().connection);
    stack.pop_back();
  }
  if (stack.empty()) idle_.erase(found);
  return connection;
}

void ConnectionPool::put(const ConnectionKey& key, std::unique_ptr<HttpConnection> connection,
                         Clock::time_point now) {
  drop_expired(now);
  if (!connection->reusable() || limits_.max_idle_per_origin == 0 || limits_.max_idle == 0) return;
  auto& stack = idle_[key];
  if (stack.size() >= limits_.max_idle_per_origin) stack.erase(stack.begin());
  stack.push_back({std::move(connection), now});
  if (idle() > limits_.max_idle) drop_oldest();
}

std::size_t ConnectionPool::idle() const noexcept {
  std::size_t count = 0;
  for (const auto& [key, stack] : idle_) count += stack.size();
  return count;
}

void ConnectionPool::drop_expired(Clock::time_point now) {
  for (auto entry = idle_.begin(); entry != idle_.end();) {
    auto& stack = entry->second;
    std::erase_if(stack, [&](const Idle& idle) { return now - idle.since >= limits_.idle_timeout; });
    entry = stack.empty() ? idle_.erase(entry) : std::next(entry);
  }
}

void ConnectionPool::drop_oldest() {
  const auto oldest = std::min_element(idle_.begin(), idle_.end(), [](const auto& left, const auto& right) {
    return left.second.front().since < right.second.front().since;
  });
  oldest->second.erase(oldest->second.begin());
  if (oldest->second.empty()) idle_.erase(oldest);
}

}  // namespace lazypull
