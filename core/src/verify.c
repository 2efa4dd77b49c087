/* Checking all blocks of a payload before anything is made of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

/* The scales of an i8 block: finite and not negative. -0 is not negative. */
static bool scales_valid(const uint8_t *scales, size_t length) {
    for (size_t i = 0; i < length; i += LEARNAE_I8_GROUP, scales += 4) {
        const uint32_t bits = read_u32(scales);
        if (bits >= NONFINITE_BITS && bits != 0x80000000u) {
            return false;
        }
    }
    return true;
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
    const size_t padding = extent->nbytes - extent->content_nbytes;
    if (!learnae_internal_all_zero(at + extent->content_nbytes, padding)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has padding that is not 0",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    if (payload->codec == LEARNAE_CODEC_I8 && !scales_valid(at, extent->length)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %u of %u has a scale that is negative, "
                                     "infinite or NaN",
                                     (unsigned)block, (unsigned)payload->n_blocks);
    }
    return LEARNAE_OK;
}

learnae_status learnae_payload_verify(const learnae_payload *payload, learnae_message *message) {
    if (payload == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "payload is NULL");
    }
    const struct geometry geometry = learnae_internal_geometry(
        payload->codec, payload->n_vectors, payload->n_elements, payload->block_length);
    const uint8_t *at = payload->bytes + LEARNAE_HEADER_NBYTES + geometry.table_nbytes;
    for (uint32_t block = 0; block < payload->n_blocks; block++) {
        const struct extent extent =
            learnae_internal_extent(payload->codec, &geometry, payload->block_length, block);
        const learnae_status status = check_block(payload, block, at, &extent, message);
        if (status != LEARNAE_OK) {
            return status;
        }
        at += extent.nbytes;
    }
    return LEARNAE_OK;
}
