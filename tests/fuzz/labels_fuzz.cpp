#include "engine/labels.hpp"
#include "snapshot/embedded/remote_snapshots.hpp"
#include "tests/fuzz/fuzz_target.hpp"

#include <algorithm>

namespace lazypull::fuzz {

namespace {

// Lines of "key=value".
Labels parse_labels(std::string_view text) {
  Labels labels;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto equals = std::min(line.find('='), line.size());
    labels.emplace(line.substr(0, equals), line.substr(std::min(line.size(), equals + 1)));
  }
  return labels;
}

void check_distribution_source(const Labels& labels) {
  const auto reference = Reference::parse("registry.example.com/team/app:1");
  const auto label = distribution_source_label(reference, labels);
  if (!label) return;
  require(label->first.size() + label->second.size() <= max_label_bytes, "a label is bounded", label->first);
  require(label->second.find("team/app") != std::string::npos, "the repository is in it", label->second);
  auto merged = labels;
  merged.insert_or_assign(label->first, label->second);
  require(!distribution_source_label(reference, merged), "nothing is added twice", label->second);
}

}  // namespace

void fuzz_labels(Bytes input) {
  const auto labels = parse_labels(text_of(input));
  if (const auto request = remote_request(labels)) {
    require(!request->layer.empty(), "a request says for which layer");
    const auto ref = labels.find(std::string(label::snapshot_ref));
    const bool today = ref != labels.end();
    require(request->chain_id.has_value() == today, "today's protocol wants a ChainID");
    if (today) require(request->chain_id->str() == ref->second, "the ChainID is that of the label");
    require(remote_request(marked_remote(labels)).has_value(), "marks do not change what is asked");
  }
  const auto clean = not_marked_remote(labels);
  require(not_marked_remote(marked_remote(labels)) == clean, "marks are taken away as they were made");
  require(!clean.contains(std::string(label::remote_2019)), "no image calls itself remote");
  for (const auto& [key, value] : labels) {
    const auto id = chain_id_in(value);
    require(!id || value.ends_with(id->str()), "a ChainID is the end of the name", value);
  }
  check_distribution_source(labels);
}

}  // namespace lazypull::fuzz
