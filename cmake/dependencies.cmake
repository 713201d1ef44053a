set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
set(Boost_USE_STATIC_LIBS ON)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(Protobuf REQUIRED) # module mode and before gRPC: its config would look for another one
find_package(gRPC CONFIG REQUIRED)

# gRPC with its sixty Abseil libraries costs a start-up of 30 ms when it is loaded dynamically, which is longer than a
# pull of a present image takes. Debian has all of it as static archives too.
option(LAZYPULL_STATIC_GRPC "Link gRPC, Protobuf and Boost statically" ON)
add_library(lazypull_grpc INTERFACE)
if(LAZYPULL_STATIC_GRPC)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(LAZYPULL_GRPC REQUIRED grpc++)
  set(archives)
  foreach(name IN LISTS LAZYPULL_GRPC_STATIC_LIBRARIES ITEMS protobuf)
    find_library(LAZYPULL_ARCHIVE_${name} NAMES lib${name}.a)
    # The C library's own parts, and OpenSSL, which gets security updates, stay dynamic.
    if(LAZYPULL_ARCHIVE_${name} AND NOT name MATCHES "^(ssl|crypto|dl|pthread|m|rt|atomic)$")
      list(APPEND archives ${LAZYPULL_ARCHIVE_${name}})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES archives)
  list(JOIN archives "," archives)
  find_library(LAZYPULL_ARCHIVE_grpc_reflection NAMES libgrpc++_reflection.a REQUIRED)
  target_link_libraries(lazypull_grpc INTERFACE "$<LINK_GROUP:RESCAN,${archives}>" OpenSSL::SSL OpenSSL::Crypto
                                                Threads::Threads ${CMAKE_DL_LIBS})
else()
  target_link_libraries(lazypull_grpc INTERFACE gRPC::grpc++ protobuf::libprotobuf re2)
  set(LAZYPULL_ARCHIVE_grpc_reflection gRPC::grpc++_reflection)
endif()
# Servers that describe their services to clients need this beside it.
add_library(lazypull_grpc_reflection INTERFACE)
target_link_libraries(lazypull_grpc_reflection INTERFACE ${LAZYPULL_ARCHIVE_grpc_reflection} lazypull_grpc)

# What the streaming unpack and the embedded store are built on: ISA-L inflates two to four times faster than zlib.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LAZYPULL_ISAL REQUIRED libisal)
pkg_check_modules(LAZYPULL_ZSTD REQUIRED libzstd)
find_package(SQLite3 3.35 REQUIRED)
add_library(lazypull_files INTERFACE)
target_link_libraries(lazypull_files INTERFACE isal zstd sqlite3)

# Lists of images are read with it; the archive where there is one, so that nothing is added to what the command needs.
find_path(LAZYPULL_YAML_INCLUDE NAMES yaml-cpp/yaml.h REQUIRED)
find_library(LAZYPULL_YAML_LIBRARY NAMES libyaml-cpp.a yaml-cpp REQUIRED)
add_library(lazypull_yaml INTERFACE)
target_link_libraries(lazypull_yaml INTERFACE ${LAZYPULL_YAML_LIBRARY})
target_include_directories(lazypull_yaml SYSTEM INTERFACE ${LAZYPULL_YAML_INCLUDE})

# hosts.toml is read with it; header-only, so that nothing is added to what the command needs at run time.
find_path(LAZYPULL_TOMLPLUSPLUS NAMES toml++/toml.h REQUIRED)
