/* The header of a payload as bytes (docs/payload.md): written in payload.c, read in open.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_HEADER_H
#define LEARNAE_HEADER_H

#include "internal.h"

#define MAGIC "\x89LRNAE\r\n"
#define MAGIC_NBYTES 8

enum { VERSION = 1 };

/* The first byte of a binary CIDv1. */
enum { CID_VERSION = 1 };

/* Byte offsets in the header. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_CODEC = 10,
    AT_N_VECTORS = 12,
    AT_N_ELEMENTS = 16,
    AT_BLOCK_LENGTH = 24,
    AT_N_BLOCKS = 28,
    AT_SCHEMA = 32,
    AT_NBYTES = 64,
    AT_TABLE_CRC = 72,
    AT_BASE = 76,
    AT_PARAMETER = 112,
    AT_RESERVED = 116,
    AT_HEADER_CRC = 124
};

LEARNAE_INLINE uint32_t get_u16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

LEARNAE_INLINE uint64_t get_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

LEARNAE_INLINE void put_u16(uint8_t *at, uint32_t value) {
    const uint16_t low = (uint16_t)value;
    memcpy(at, &low, sizeof low);
}

LEARNAE_INLINE void put_u32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof value);
}

LEARNAE_INLINE void put_u64(uint8_t *at, uint64_t value) {
    memcpy(at, &value, sizeof value);
}

#endif /* LEARNAE_HEADER_H */
