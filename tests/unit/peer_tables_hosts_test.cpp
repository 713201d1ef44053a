// hosts.toml is read as by containerd.
#include "tests/data/peer_table.hpp"
#include "transport/hosts_toml.hpp"

namespace lazypull {
namespace {

using test::flag_at;
using test::text_at;

void check(const HostEntry& entry, const test::json::object& row) {
  ASSERT_TRUE(entry.origin);
  EXPECT_EQ(entry.origin->tls, text_at(row, "scheme") == "https");
  EXPECT_EQ(entry.origin->authority(), text_at(row, "host"));
  EXPECT_EQ(entry.api_root, text_at(row, "path"));
  EXPECT_EQ(entry.pull, flag_at(row, "pull"));
  EXPECT_EQ(entry.resolve, flag_at(row, "resolve"));
  EXPECT_EQ(entry.skip_verify.has_value(), row.contains("skip_verify"));
  EXPECT_EQ(entry.skip_verify.value_or(false), flag_at(row, "skip_verify"));
  std::vector<std::string> ca;
  for (const auto& file : row.at("ca").as_array()) ca.emplace_back(file.as_string().c_str());
  EXPECT_EQ(entry.ca_files, ca);
  const auto& clients = row.at("clients").as_array();
  ASSERT_EQ(entry.clients.size(), clients.size());
  for (std::size_t i = 0; i < clients.size(); ++i) {
    EXPECT_EQ(entry.clients[i].cert_file, clients[i].at(0).as_string().c_str());
    EXPECT_EQ(entry.clients[i].key_file, clients[i].at(1).as_string().c_str());
  }
  std::vector<std::pair<std::string, std::string>> headers;
  for (const auto& field : entry.headers) headers.emplace_back(field.name, field.value);
  std::vector<std::pair<std::string, std::string>> expected;
  for (const auto& field : row.at("headers").as_array()) {
    expected.emplace_back(field.at(0).as_string().c_str(), field.at(1).as_string().c_str());
  }
  EXPECT_EQ(headers, expected);
  const auto* timeout = row.if_contains("dial_timeout_ms");
  EXPECT_EQ(entry.dial_timeout.has_value(), timeout != nullptr);
  if (timeout != nullptr) EXPECT_EQ(entry.dial_timeout->count(), timeout->to_number<std::int64_t>());
}

TEST(PeerTables, HostsTomlIsReadAsByContainerd) {
  const test::PeerTable table("hosts-containerd");
  const auto entries = parse_hosts_toml(table.text("toml"), "/etc/containerd/certs.d/a/hosts.toml");
  ASSERT_EQ(entries.size(), table.rows().size());
  std::size_t next = 0;
  test::for_each_row({"hosts-containerd"}, 12, [&](const auto& row) { check(entries[next++], row); });
}

}  // namespace
}  // namespace lazypull
