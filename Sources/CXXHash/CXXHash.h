#ifndef PEERCACHE_CXXHASH_H
#define PEERCACHE_CXXHASH_H

#define XXH_INLINE_ALL   // header only: the call is inlined, nothing is linked
#include <xxhash.h>

/// XXH3-64 of `count` bytes under a secret of 192 bytes. `bytes` may be NULL only when `count` is 0.
/// The secret variant, not the seeded one: colliding keys for seeds are published (SECURITY.md, SEC19).
static inline uint64_t peercache_xxh3_64(const void *bytes, size_t count, const void *secret) {
    return XXH3_64bits_withSecret(bytes, count, secret, 192);
}

/// XXH3-64 of `count` bytes under the library's public default secret. For names and ring points, never for users' keys.
static inline uint64_t peercache_xxh3_64_seeded(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}

#endif
