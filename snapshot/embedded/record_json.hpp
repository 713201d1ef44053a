#pragma once

#include "engine/descriptor.hpp"

#include <boost/json/object.hpp>

#include <string>
#include <string_view>

/// How the store writes labels and descriptors down: as JSON. For .cpp files only.
namespace lazypull {

/// Throws Error{invalid_argument} for what could not be read back, such as text that is not UTF-8: a record
/// that nobody can read would make its whole table unreadable.
std::string text_of(const Labels& labels);
std::string text_of(const Descriptor& descriptor);

/// Throws Error{failed_precondition} for a text that is not what `text_of` writes: the database is damaged.
Labels labels_of(std::string_view text);
Descriptor descriptor_of(std::string_view text);

/// A descriptor as in image-spec's descriptor.md.
boost::json::object to_json(const Descriptor& descriptor);

}  // namespace lazypull
