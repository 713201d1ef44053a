#pragma once

#include "snapshot/remote/layer_publisher.hpp"

#include <boost/json/object.hpp>

#include <string>

namespace lazypull {

/// What a record says, as the commands print it.
boost::json::object layer_json(const LayerRecord& record);
boost::json::object published_json(const PublishedLayer& layer);
/// One line.
std::string published_text(const PublishedLayer& layer);

}  // namespace lazypull
