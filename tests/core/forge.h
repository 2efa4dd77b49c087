/* Payloads that learnae_payload_write() does not make: other block lengths, and hostile bytes
 * whose checksums are right, so that the checks behind them are reached. Shared with the fuzzer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_FORGE_H
#define LEARNAE_FORGE_H

#include <learnae.h>

#include <stdint.h>
#include <string.h>

#define FORGE_UNUSED __attribute__((unused))

enum {
    FORGE_VERSION = 8,
    FORGE_CODEC = 10,
    FORGE_N_VECTORS = 12,
    FORGE_N_ELEMENTS = 16,
    FORGE_BLOCK_LENGTH = 24,
    FORGE_N_BLOCKS = 28,
    FORGE_SCHEMA = 32,
    FORGE_NBYTES = 64,
    FORGE_TABLE_CRC = 72,
    FORGE_BASE = 76,
    FORGE_PARAMETER = 112,
    FORGE_RESERVED = 116,
    FORGE_HEADER_CRC = 124
};

static FORGE_UNUSED uint64_t forge_get(const uint8_t *at, size_t nbytes) {
    uint64_t value = 0;
    for (size_t i = nbytes; i-- > 0;) {
        value = value << 8 | at[i];
    }
    return value;
}

static FORGE_UNUSED void forge_put(uint8_t *at, uint64_t value, size_t nbytes) {
    for (size_t i = 0; i < nbytes; i++, value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

static FORGE_UNUSED uint64_t forge_up(uint64_t n) {
    return (n + 63) / 64 * 64;
}

/* Codecs 1 to this. */
#define FORGE_LAST_CODEC LEARNAE_CODEC_TERNARY

static FORGE_UNUSED uint64_t forge_bits(uint64_t codec) {
    static const uint8_t bits[FORGE_LAST_CODEC + 1] = {0, 32, 16, 16, 8, 4, 1, 2};
    return bits[codec];
}

/* Elements that share a scale, or 0. */
static FORGE_UNUSED uint64_t forge_group(uint64_t codec) {
    static const uint16_t groups[FORGE_LAST_CODEC + 1] = {0, 0, 0, 0, 256, 64, 256, 256};
    return groups[codec];
}

static FORGE_UNUSED uint64_t forge_scales(uint64_t codec, uint64_t length) {
    const uint64_t group = forge_group(codec);
    return group == 0 ? 0 : 4 * ((length + group - 1) / group);
}

static FORGE_UNUSED uint64_t forge_content(uint64_t codec, uint64_t length) {
    return forge_scales(codec, length) + (length * forge_bits(codec) + 7) / 8;
}

/* What the i-th code of a codec with scales stands for. */
static FORGE_UNUSED int forge_code(uint64_t codec, const uint8_t *codes, size_t i) {
    static const int8_t levels[16] = {-127, -96, -74, -56, -41, -27, -13, 0,
                                      12,   23,  36,  49,  63,  79,  99,  127};
    static const int8_t pairs[4] = {0, 1, -2, -1};
    switch (codec) {
    case LEARNAE_CODEC_I4:
        return levels[i % 2 ? codes[i / 2] / 16 : codes[i / 2] % 16];
    case LEARNAE_CODEC_SIGN:
        return (codes[i / 8] & 1u << i % 8) != 0 ? -1 : 1;
    case LEARNAE_CODEC_TERNARY:
        return pairs[codes[i / 4] >> i % 4 * 2 & 3];
    default:
        return (int8_t)codes[i];
    }
}

/* Correct every checksum that can be found by following sizes that stay inside the bytes. */
static FORGE_UNUSED void forge_seal(uint8_t *bytes, size_t nbytes) {
    if (nbytes < LEARNAE_HEADER_NBYTES) {
        return;
    }
    const uint64_t n_blocks = forge_get(bytes + FORGE_N_BLOCKS, 4);
    const uint64_t table_nbytes = forge_up(8 * n_blocks);
    if (table_nbytes <= nbytes - LEARNAE_HEADER_NBYTES) {
        uint8_t *entry = bytes + LEARNAE_HEADER_NBYTES;
        size_t at = LEARNAE_HEADER_NBYTES + (size_t)table_nbytes;
        for (uint64_t i = 0; i < n_blocks; i++, entry += 8) {
            const size_t block = (size_t)forge_get(entry, 4);
            if (block > nbytes - at) {
                break;
            }
            forge_put(entry + 4, learnae_crc32c(0, bytes + at, block), 4);
            at += block;
        }
        const uint8_t *table = bytes + LEARNAE_HEADER_NBYTES;
        forge_put(bytes + FORGE_TABLE_CRC, learnae_crc32c(0, table, (size_t)table_nbytes), 4);
    }
    forge_put(bytes + FORGE_HEADER_CRC, learnae_crc32c(0, bytes, FORGE_HEADER_CRC), 4);
}

struct forge {
    uint32_t codec;
    uint32_t n_vectors;
    uint64_t n_elements;
    uint32_t block_length;
};

static FORGE_UNUSED uint64_t forge_blocks(const struct forge *forge) {
    return (forge->n_elements + forge->block_length - 1) / forge->block_length;
}

static FORGE_UNUSED uint64_t forge_length(const struct forge *forge, uint64_t block) {
    const uint64_t left = forge->n_elements - block * forge->block_length;
    return left < forge->block_length ? left : forge->block_length;
}

/* The size of the payload that forge_frame() frames. */
static FORGE_UNUSED uint64_t forge_nbytes(const struct forge *forge) {
    const uint64_t blocks = forge_blocks(forge);
    uint64_t vector = 0;
    for (uint64_t b = 0; b < blocks; b++) {
        vector += forge_up(forge_content(forge->codec, forge_length(forge, b)));
    }
    return LEARNAE_HEADER_NBYTES + forge_up(8 * blocks * forge->n_vectors) +
           vector * forge->n_vectors;
}

/* Write header and block table around forge_nbytes() bytes, whose blocks stay as they are.
 * The schema digest stays too. No checksum: see forge_seal(). */
static FORGE_UNUSED void forge_frame(const struct forge *forge, uint8_t *bytes) {
    static const uint8_t magic[8] = {0x89, 'L', 'R', 'N', 'A', 'E', 0x0d, 0x0a};
    const uint64_t blocks = forge_blocks(forge), n_blocks = blocks * forge->n_vectors;
    memcpy(bytes, magic, sizeof magic);
    forge_put(bytes + FORGE_VERSION, 1, 2);
    forge_put(bytes + FORGE_CODEC, forge->codec, 2);
    forge_put(bytes + FORGE_N_VECTORS, forge->n_vectors, 4);
    forge_put(bytes + FORGE_N_ELEMENTS, forge->n_elements, 8);
    forge_put(bytes + FORGE_BLOCK_LENGTH, forge->block_length, 4);
    forge_put(bytes + FORGE_N_BLOCKS, n_blocks, 4);
    forge_put(bytes + FORGE_NBYTES, forge_nbytes(forge), 8);
    memset(bytes + FORGE_BASE, 0, FORGE_HEADER_CRC - FORGE_BASE);
    uint8_t *table = bytes + LEARNAE_HEADER_NBYTES;
    memset(table, 0, (size_t)forge_up(8 * n_blocks));
    for (uint64_t i = 0; i < n_blocks; i++) {
        const uint64_t length = forge_length(forge, i % blocks);
        forge_put(table + 8 * i, forge_up(forge_content(forge->codec, length)), 4);
    }
}

#endif /* LEARNAE_FORGE_H */
