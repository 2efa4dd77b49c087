/* Checking the header and the block table of bytes that may be hostile. docs/payload.md is the
 * specification, and its list of checks is the order of the functions here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "header.h"

static learnae_status check_envelope(const uint8_t *bytes, size_t nbytes,
                                     learnae_message *message) {
    if (nbytes < LEARNAE_HEADER_NBYTES) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "%zu bytes are too few for a payload's header of %d", nbytes,
                                     LEARNAE_HEADER_NBYTES);
    }
    if (memcmp(bytes + AT_MAGIC, MAGIC, MAGIC_NBYTES) != 0) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "not a learnae payload: it starts with other bytes");
    }
    const uint32_t version = get_u16(bytes + AT_VERSION);
    if (version != VERSION) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload version %u; this library reads version %d",
                                     (unsigned)version, VERSION);
    }
    if (learnae_crc32c(0, bytes, AT_HEADER_CRC) != read_u32(bytes + AT_HEADER_CRC)) {
        return learnae_internal_fail(LEARNAE_ERR_CHECKSUM, message,
                                     "the payload's header does not match its checksum");
    }
    return LEARNAE_OK;
}

static learnae_status check_counts(const learnae_payload *payload, uint64_t max_elements,
                                   learnae_message *message) {
    if (learnae_codec_name(payload->codec) == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message, "payload codec %u is unknown",
                                     (unsigned)payload->codec);
    }
    if (payload->n_vectors < 1 || payload->n_vectors > LEARNAE_N_VECTORS_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload of %u vectors; it may have 1 to %d",
                                     (unsigned)payload->n_vectors, LEARNAE_N_VECTORS_MAX);
    }
    const uint32_t length = payload->block_length;
    if (length == 0 || length % BLOCK_STEP != 0 || length > LEARNAE_BLOCK_LENGTH_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block length %u is not a multiple of %d up to %d",
                                     (unsigned)length, BLOCK_STEP, LEARNAE_BLOCK_LENGTH_MAX);
    }
    if (payload->n_elements == 0) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message, "payload without elements");
    }
    if (payload->n_elements > max_elements) {
        return learnae_internal_fail(
            LEARNAE_ERR_SIZE, message, "payload of %llu elements a vector; the cap is %llu",
            (unsigned long long)payload->n_elements, (unsigned long long)max_elements);
    }
    return LEARNAE_OK;
}

static learnae_status check_sizes(const learnae_payload *payload, struct geometry *geometry,
                                  learnae_message *message) {
    *geometry = learnae_internal_geometry_of(payload);
    if (geometry->n_blocks != payload->n_blocks) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload names %u blocks, which contradicts its counts",
                                     (unsigned)payload->n_blocks);
    }
    const uint64_t named = get_u64(payload->bytes + AT_NBYTES);
    const bool varies = learnae_internal_varies(payload->codec);
    const uint64_t least = LEARNAE_HEADER_NBYTES + geometry->table_nbytes;
    if (varies ? named < least || named > geometry->nbytes : named != geometry->nbytes) {
        return learnae_internal_fail(
            LEARNAE_ERR_FORMAT, message, "payload names %llu bytes, but its counts need %llu",
            (unsigned long long)named, (unsigned long long)geometry->nbytes);
    }
    if (named != payload->nbytes) {
        return learnae_internal_fail(
            LEARNAE_ERR_FORMAT, message, "payload of %llu bytes is %s: there are %zu",
            (unsigned long long)named, payload->nbytes < named ? "cut short" : "followed by others",
            payload->nbytes);
    }
    return LEARNAE_OK;
}

bool learnae_internal_all_zero(const uint8_t *bytes, size_t nbytes) {
    uint8_t any = 0;
    for (size_t i = 0; i < nbytes; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* What the header says beside the counts. */
static learnae_status check_rest(const learnae_payload *payload, learnae_message *message) {
    if (payload->base[0] != CID_VERSION &&
        !learnae_internal_all_zero(payload->base, LEARNAE_CID_NBYTES)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload whose base is not named by a CIDv1");
    }
    if (payload->codec == LEARNAE_CODEC_DELTA && payload->base[0] == 0) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload of codec delta that names no base");
    }
    const bool topk = payload->codec == LEARNAE_CODEC_TOPK;
    if (topk ? payload->parameter < 1 || payload->parameter > payload->block_length
             : payload->parameter != 0) {
        return learnae_internal_fail(
            LEARNAE_ERR_FORMAT, message, "payload parameter %u, which codec %s does not take",
            (unsigned)payload->parameter, learnae_codec_name(payload->codec));
    }
    return LEARNAE_OK;
}

static learnae_status check_table(const learnae_payload *payload, const struct geometry *geometry,
                                  learnae_message *message) {
    const uint8_t *table = payload->bytes + LEARNAE_HEADER_NBYTES;
    const size_t nbytes = (size_t)geometry->table_nbytes;
    if (learnae_crc32c(0, table, nbytes) != read_u32(payload->bytes + AT_TABLE_CRC)) {
        return learnae_internal_fail(LEARNAE_ERR_CHECKSUM, message,
                                     "the payload's block table does not match its checksum");
    }
    const bool varies = learnae_internal_varies(payload->codec);
    uint64_t total = LEARNAE_HEADER_NBYTES + (uint64_t)nbytes;
    for (uint32_t i = 0; i < payload->n_blocks; i++) {
        const struct extent extent = learnae_internal_extent(geometry, i);
        const uint32_t named = read_u32(table + (size_t)i * TABLE_ENTRY_NBYTES);
        if (varies ? named == 0 || named % LEARNAE_ALIGNMENT != 0 || named > extent.nbytes
                   : named != extent.nbytes) {
            return learnae_internal_fail(
                LEARNAE_ERR_FORMAT, message, "payload block %u names %u bytes instead of %s%zu",
                (unsigned)i, (unsigned)named, varies ? "at most " : "", extent.nbytes);
        }
        total += named;
    }
    if (total != payload->nbytes) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload whose blocks do not make up its size");
    }
    const size_t used = (size_t)payload->n_blocks * TABLE_ENTRY_NBYTES;
    if (!learnae_internal_all_zero(payload->bytes + AT_RESERVED, AT_HEADER_CRC - AT_RESERVED) ||
        !learnae_internal_all_zero(table + used, nbytes - used)) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload header or block table has bytes set that must be 0");
    }
    return LEARNAE_OK;
}

learnae_status learnae_payload_open(const void *bytes, size_t nbytes, uint64_t max_elements,
                                    learnae_payload *payload, learnae_message *message) {
    if ((bytes == NULL && nbytes > 0) || payload == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "bytes or payload is NULL");
    }
    const uint8_t *header = bytes;
    learnae_status status = check_envelope(header, nbytes, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    learnae_payload view = {.bytes = header,
                            .nbytes = nbytes,
                            .n_elements = get_u64(header + AT_N_ELEMENTS),
                            .codec = get_u16(header + AT_CODEC),
                            .n_vectors = read_u32(header + AT_N_VECTORS),
                            .block_length = read_u32(header + AT_BLOCK_LENGTH),
                            .n_blocks = read_u32(header + AT_N_BLOCKS),
                            .parameter = read_u32(header + AT_PARAMETER)};
    memcpy(view.schema, header + AT_SCHEMA, LEARNAE_SCHEMA_NBYTES);
    memcpy(view.base, header + AT_BASE, LEARNAE_CID_NBYTES);
    struct geometry geometry;
    status = check_counts(&view, max_elements, message);
    if (status == LEARNAE_OK) {
        status = check_rest(&view, message);
    }
    if (status == LEARNAE_OK) {
        status = check_sizes(&view, &geometry, message);
    }
    if (status == LEARNAE_OK) {
        status = check_table(&view, &geometry, message);
    }
    if (status == LEARNAE_OK) {
        *payload = view;
    }
    return status;
}
