#pragma once

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Tables of inputs and expected results of the tests of other projects: facts, each file with its source. A
/// row with `ours` is one where this project differs on purpose, and says why; what is expected is then what
/// this project does.
namespace lazypull::test {

namespace json = boost::json;

class PeerTable {
 public:
  explicit PeerTable(const std::string& name) {
    std::ifstream file(LAZYPULL_PEER_TABLES "/" + name + ".json", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    document_ = json::parse(text);
    if (document_.at("source").as_string().empty()) throw std::runtime_error(name + ": no source");
  }

  const json::array& rows() const { return document_.at("rows").as_array(); }
  std::string text(std::string_view key) const { return document_.at(key).as_string().c_str(); }

 private:
  json::value document_;
};

/// Calls `check` with every row of the tables; failures name the table and show the row. `rows` is how many
/// there are, so that a table that gets lost is noticed.
template <class Check>
void for_each_row(const std::vector<std::string>& names, std::size_t rows, Check check) {
  std::size_t seen = 0;
  for (const auto& name : names) {
    const PeerTable table(name);
    for (const auto& row : table.rows()) {
      ++seen;
      SCOPED_TRACE(name + ": " + json::serialize(row));
      EXPECT_NO_THROW(check(row.as_object()));
    }
  }
  EXPECT_EQ(seen, rows) << "the number of rows has changed";
}

/// Empty if there is none.
inline std::string text_at(const json::object& row, std::string_view key) {
  const auto* value = row.if_contains(key);
  return value == nullptr ? std::string()
                          : std::string(value->as_string().c_str(), value->as_string().size());
}

inline bool flag_at(const json::object& row, std::string_view key) {
  const auto* value = row.if_contains(key);
  return value != nullptr && value->as_bool();
}

}  // namespace lazypull::test
