#include "engine/permit_queue.hpp"

#include <algorithm>

namespace lazypull {

PermitQueue::Ticket PermitQueue::join(PullRank rank, std::string registry, std::uint64_t bytes) {
  const Ticket ticket = ++last_ticket_;
  const auto& entry = entries_[ticket] = Entry{rank, std::move(registry), bytes, false, 0};
  enter_line(ticket, entry);
  grant_all();
  return ticket;
}

void PermitQueue::leave(Ticket ticket) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end()) return;
  const Entry entry = std::move(found->second);
  entries_.erase(found);
  if (entry.granted) {
    release(entry);
    std::erase(granted_, ticket);
  } else {
    leave_line(ticket, entry);
  }
  forget_if_idle(entry.registry);
  // Also one who only waited may have held others back, where it was too large.
  grant_all();
}

bool PermitQueue::give_way(Ticket ticket) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end() || !found->second.granted) return false;
  auto& entry = found->second;
  if (!is_awaited(entry)) return false;
  if (entry.undisturbed > 0) {
    --entry.undisturbed;
    return false;
  }
  release(entry);
  entry.granted = false;
  enter_line(ticket, entry);
  grant_all();
  return !entry.granted;
}

void PermitQueue::promote(Ticket ticket, PullRank rank) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end() || !(rank < found->second.rank)) return;
  auto& entry = found->second;
  if (entry.granted) {
    entry.rank = rank;
    return;
  }
  leave_line(ticket, entry);
  entry.rank = rank;
  enter_line(ticket, entry);
  grant_all();
}

void PermitQueue::set_limits(PermitLimits limits) {
  limits_ = limits;
  grant_all();
}

bool PermitQueue::holds(Ticket ticket) const {
  const auto found = entries_.find(ticket);
  return found != entries_.end() && found->second.granted;
}

std::size_t PermitQueue::in_use(const std::string& registry) const {
  const auto found = registries_.find(registry);
  return found == registries_.end() ? 0 : found->second.in_use;
}

void PermitQueue::enter_line(Ticket ticket, const Entry& entry) {
  auto& registry = registries_[entry.registry];
  registry.line.emplace(entry.rank, ticket);
  registry.ages.insert(ticket);
  ++waiting_in_class_[entry.rank.pull_class];
}

void PermitQueue::leave_line(Ticket ticket, const Entry& entry) {
  auto& registry = registries_[entry.registry];
  registry.line.erase({entry.rank, ticket});
  registry.ages.erase(ticket);
  --waiting_in_class_[entry.rank.pull_class];
}

void PermitQueue::release(const Entry& entry) {
  --registries_[entry.registry].in_use;
  --in_use_;
  bytes_in_use_ -= entry.bytes;
}

void PermitQueue::grant(Ticket ticket) {
  auto& entry = entries_.at(ticket);
  leave_line(ticket, entry);
  entry.granted = true;
  auto& registry = registries_[entry.registry];
  ++registry.in_use;
  registry.last_turn = ++turns_;
  ++in_use_;
  bytes_in_use_ += entry.bytes;
  granted_.push_back(ticket);
}

void PermitQueue::grant_all() {
  while (limits_.total == 0 || in_use_ < limits_.total) {
    bool passes_over = false;
    Ticket ticket = next_by_rank(passes_over);
    if (ticket == 0) return;
    const bool by_age = passes_over && favours_ >= favours_in_turn;
    if (by_age) ticket = next_by_age();
    auto& entry = entries_.at(ticket);
    // One that is too large for the moment is not overtaken, or it would never fit.
    if (!fits(entry.bytes)) return;
    if (by_age) {
      favours_ = 0;
      entry.undisturbed = undisturbed_borders;
    } else {
      favours_ = passes_over ? favours_ + 1 : 0;
      entry.undisturbed = 0;
    }
    grant(ticket);
  }
}

bool PermitQueue::has_room(const Registry& registry) const noexcept {
  return limits_.per_registry == 0 || registry.in_use < limits_.per_registry;
}

bool PermitQueue::fits(std::uint64_t bytes) const noexcept {
  if (limits_.bytes == 0 || in_use_ == 0) return true;
  return bytes_in_use_ < limits_.bytes && bytes <= limits_.bytes - bytes_in_use_;
}

PermitQueue::Ticket PermitQueue::next_by_rank(bool& passes_over) const {
  const Registry* best = nullptr;
  for (const auto& [name, registry] : registries_) {
    if (registry.line.empty() || !has_room(registry)) continue;
    if (best == nullptr) {
      best = &registry;
      passes_over = registry.line.begin()->first < registry.line.rbegin()->first;
      continue;
    }
    const auto& rank = registry.line.begin()->first;
    const auto& best_rank = best->line.begin()->first;
    const bool more_urgent = rank < best_rank;
    const bool less_urgent = best_rank < rank;
    passes_over = passes_over || more_urgent || less_urgent || rank < registry.line.rbegin()->first;
    if (more_urgent || (!less_urgent && registry.last_turn < best->last_turn)) best = &registry;
  }
  return best == nullptr ? 0 : best->line.begin()->second;
}

PermitQueue::Ticket PermitQueue::next_by_age() const {
  Ticket oldest = 0;
  for (const auto& [name, registry] : registries_) {
    if (registry.ages.empty() || !has_room(registry)) continue;
    if (oldest == 0 || *registry.ages.begin() < oldest) oldest = *registry.ages.begin();
  }
  return oldest;
}

bool PermitQueue::is_awaited(const Entry& holder) const {
  bool any = false;
  for (const auto& [pull_class, count] : waiting_in_class_) {
    any = any || (count > 0 && pull_class < holder.rank.pull_class);
  }
  if (!any) return false;
  for (const auto& [name, registry] : registries_) {
    if (registry.line.empty()) continue;
    const bool urgent = registry.line.begin()->first.pull_class < holder.rank.pull_class;
    // A permit for another registry is of no use to one whose own registry has no room.
    if (urgent && (name == holder.registry || has_room(registry))) return true;
  }
  return false;
}

void PermitQueue::forget_if_idle(const std::string& name) {
  const auto found = registries_.find(name);
  if (found != registries_.end() && found->second.in_use == 0 && found->second.line.empty()) {
    registries_.erase(found);
  }
}

}  // namespace lazypull
