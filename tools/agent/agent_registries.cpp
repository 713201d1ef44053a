#include "tools/agent/agent_registries.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace lazypull {

AgentRegistries::AgentRegistries(asio::any_io_executor home, std::function<RegistryOptions()> options)
    : home_(std::move(home)), options_(std::move(options)) {}

std::shared_ptr<RegistryClient> AgentRegistries::client(const std::optional<Credentials>& credentials) {
  const auto found =
      std::ranges::find_if(clients_, [&](const Known& known) { return known.credentials == credentials; });
  if (found != clients_.end()) {
    clients_.splice(clients_.begin(), clients_, found);
    return clients_.front().client;
  }
  auto options = options_();
  options.user = credentials;
  auto client = std::make_shared<RegistryClient>(home_, std::move(options));
  clients_.push_front({credentials, client});
  if (clients_.size() > max_kept + 1) {
    // The node's own is not dropped: it is asked for most of all.
    auto last = std::prev(clients_.end());
    if (!last->credentials) --last;
    clients_.erase(last);
  }
  return client;
}

void AgentRegistries::reload() {
  clients_.clear();
}

std::size_t AgentRegistries::distrusted_blobs() const {
  std::size_t sum = 0;
  for (const auto& known : clients_) sum += known.client->distrusted();
  return sum;
}

std::size_t AgentRegistries::broken_hosts() const {
  std::size_t most = 0;
  for (const auto& known : clients_) most = std::max(most, known.client->broken_hosts());
  return most;
}

}  // namespace lazypull
