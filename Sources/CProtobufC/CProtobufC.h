#ifndef PEERCACHE_CPROTOBUFC_H
#define PEERCACHE_CPROTOBUFC_H

#include <protobuf-c/protobuf-c.h>

#if PROTOBUF_C_VERSION_NUMBER < 1004001
#error "PeerCache needs protobuf-c 1.4.1 or later: earlier ones overflow on nested lengths (CVE-2022-48468)"
#endif

#endif
