/* Checking all blocks of a payload before anything is made of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "delta.h"
#include "packed.h"

/* Finite and not negative. -0 is not negative. */
static bool scales_valid(const uint8_t *scales, size_t nbytes) {
    for (size_t i = 0; i < nbytes; i += 4) {
        const uint32_t bits = read_u32(scales + i);
        if (bits >= NONFINITE_BITS && bits != 0x80000000u) {
            return false;
        }
    }
    return true;
}

/* The bits behind the last code, up to the next byte, are 0. */
static bool spare_bits_zero(uint32_t codec, const uint8_t *at, const struct extent *extent) {
    const uint32_t used = extent->length * learnae_internal_codec(codec)->n_bits % 8;
    return used == 0 || at[extent->content_nbytes - 1] >> used == 0;
}

/* No code of ternary is 2: the upper bit of a pair is set only where the lower is. */
static bool pairs_valid(const uint8_t *codes, size_t nbytes) {
    uint64_t wrong = 0;
    size_t i = 0;
    for (; i + 8 <= nbytes; i += 8) {
        uint64_t pairs;
        memcpy(&pairs, codes + i, sizeof pairs);
        wrong |= pairs & ~(pairs << 1) & 0xaaaaaaaaaaaaaaaau;
    }
    for (; i < nbytes; i++) {
        wrong |= codes[i] & ~((uint64_t)codes[i] << 1) & 0xaau;
    }
    return wrong == 0;
}

static learnae_status check_scales(const learnae_payload *payload, uint32_t block,
                                   const uint8_t *scales, const struct extent *extent,
                                   learnae_message *message) {
    if (scales_valid(scales,
                     (size_t)learnae_internal_scales_nbytes(payload->codec, extent->length))) {
        return LEARNAE_OK;
    }
    return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                 "payload block %u of %u has a scale that is negative, "
                                 "infinite or NaN",
                                 (unsigned)block, (unsigned)payload->n_blocks);
}

/* What a codec's definition asks of a block. */
static learnae_status check_content(const learnae_payload *payload, uint32_t block,
                                    const uint8_t *at, const struct extent *extent,
                                    learnae_message *message) {
    const uint64_t scales_nbytes = learnae_internal_scales_nbytes(payload->codec, extent->length);
    const learnae_status status = check_scales(payload, block, at, extent, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (!spare_bits_zero(payload->codec, at, extent)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has bits behind its last code that "
                                     "are not 0",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    if (payload->codec == LEARNAE_CODEC_TERNARY &&
        !pairs_valid(at + scales_nbytes, extent->content_nbytes - (size_t)scales_nbytes)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has a ternary code of 2",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    if (payload->codec == LEARNAE_CODEC_TOPK &&
        !learnae_internal_topk_valid(at, extent->length, extent->n_kept)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has indices that are wrong",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    return LEARNAE_OK;
}

/* Blocks whose size is in them, so that their padding is too. */
static learnae_status check_varying(const learnae_payload *payload, uint32_t block,
                                    const uint8_t *at, const struct extent *extent,
                                    learnae_message *message) {
    const bool packed = payload->codec != LEARNAE_CODEC_DELTA;
    if (packed ? !learnae_internal_packed_valid(payload->codec, at, extent->nbytes, extent->length)
               : !learnae_internal_delta_valid(at, extent->nbytes, extent->length)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has parts that are wrong",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    return packed ? check_scales(payload, block, at + PACKED_HEAD_NBYTES, extent, message)
                  : LEARNAE_OK;
}

static learnae_status check_block(const learnae_payload *payload, uint32_t block, const uint8_t *at,
                                  const struct extent *extent, learnae_message *message) {
    const uint8_t *entry =
        payload->bytes + LEARNAE_HEADER_NBYTES + (size_t)block * TABLE_ENTRY_NBYTES;
    if (learnae_crc32c(0, at, extent->nbytes) != read_u32(entry + 4)) {
        return learnae_internal_fail(LEARNAE_ERR_CHECKSUM, message,
                                     "payload block %u of %u does not match its checksum",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    if (learnae_internal_varies(payload->codec)) {
        return check_varying(payload, block, at, extent, message);
    }
    const size_t padding = extent->nbytes - extent->content_nbytes;
    if (!learnae_internal_all_zero(at + extent->content_nbytes, padding)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has padding that is not 0",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    return check_content(payload, block, at, extent, message);
}

/* Blocks checked before a thread takes the next: together as large as a tile of floats. */
static size_t blocks_a_tile(const struct geometry *geometry) {
    const size_t n = TILE_LENGTH * sizeof(float) / geometry->full.nbytes;
    return n < 1 ? 1 : n;
}

struct verification {
    const learnae_payload *payload;
    struct geometry geometry;
    atomic_size_t bad; /* the first block found that is not right, or n_blocks */
};

/* Where a block starts. A thread's blocks ascend, so that it goes on from the last one. */
struct place {
    size_t block;
    const uint8_t *at; /* NULL: the first block */
};

static learnae_status verify_block(struct verification *call, size_t block, struct place *place,
                                   learnae_message *message) {
    const learnae_payload *payload = call->payload;
    const uint8_t *const table = payload->bytes + LEARNAE_HEADER_NBYTES;
    place->at = place->at == NULL ? table + call->geometry.table_nbytes : place->at;
    for (; place->block < block; place->block++) {
        place->at += read_u32(table + place->block * TABLE_ENTRY_NBYTES);
    }
    struct extent extent = learnae_internal_extent(&call->geometry, block);
    extent.nbytes = read_u32(table + block * TABLE_ENTRY_NBYTES); /* not the most it can be */
    return check_block(payload, (uint32_t)block, place->at, &extent, message);
}

/* A thread's blocks ascend: behind one that is not right it has no more to do, but another may
 * still find one before that. */
static void verify_tiles(void *context, struct tiles *tiles) {
    struct verification *call = context;
    const size_t step = blocks_a_tile(&call->geometry);
    struct place place = {0, NULL};
    for (size_t tile; next_tile(tiles, &tile);) {
        for (size_t block = tile * step; block < (tile + 1) * step; block++) {
            size_t bad = atomic_load(&call->bad);
            if (block >= bad) {
                return;
            }
            if (verify_block(call, block, &place, NULL) != LEARNAE_OK) {
                while (block < bad && !atomic_compare_exchange_weak(&call->bad, &bad, block)) {
                }
                return;
            }
        }
    }
}

learnae_status learnae_payload_verify(const learnae_payload *payload, learnae_message *message) {
    if (payload == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "payload is NULL");
    }
    struct verification call = {payload, learnae_internal_geometry_of(payload), payload->n_blocks};
    const size_t step = blocks_a_tile(&call.geometry);
    learnae_internal_run(verify_tiles, &call, (payload->n_blocks + step - 1) / step,
                         payload->nbytes);
    const size_t bad = atomic_load(&call.bad);
    struct place place = {0, NULL};
    return bad < payload->n_blocks ? verify_block(&call, bad, &place, message) : LEARNAE_OK;
}
