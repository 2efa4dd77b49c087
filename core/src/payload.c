/* The payload: writing it, and checking bytes that may be hostile. docs/payload.md is the
 * specification, and its list of checks is the order of the functions here.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

static const uint8_t magic[8] = {0x89, 'L', 'R', 'N', 'A', 'E', 0x0d, 0x0a};

enum { VERSION = 1 };

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
    AT_RESERVED = 76,
    AT_HEADER_CRC = 124
};

static uint32_t get_u16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static void put_u16(uint8_t *at, uint32_t value) {
    const uint16_t low = (uint16_t)value;
    memcpy(at, &low, sizeof low);
}

static void put_u32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof value);
}

static void put_u64(uint8_t *at, uint64_t value) {
    memcpy(at, &value, sizeof value);
}

/* ---- Writing ------------------------------------------------------------------------- */

static learnae_status plan(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                           struct geometry *geometry, learnae_message *message) {
    if (learnae_codec_name(codec) == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "codec %u is unknown",
                                     (unsigned)codec);
    }
    if (n_vectors < 1 || n_vectors > LEARNAE_N_VECTORS_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_vectors is %u; a payload takes 1 to %d",
                                     (unsigned)n_vectors, LEARNAE_N_VECTORS_MAX);
    }
    if (n_elements == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_elements is 0; a payload needs at least one element");
    }
    *geometry = learnae_internal_geometry(codec, n_vectors, n_elements, LEARNAE_BLOCK_LENGTH);
    if (geometry->n_blocks > UINT32_MAX || geometry->nbytes > SIZE_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "%llu elements are too many for one payload",
                                     (unsigned long long)n_elements);
    }
    return LEARNAE_OK;
}

learnae_status learnae_payload_nbytes(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                      size_t *nbytes, learnae_message *message) {
    struct geometry geometry;
    const learnae_status status = plan(codec, n_vectors, n_elements, &geometry, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (nbytes == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "nbytes is NULL");
    }
    *nbytes = (size_t)geometry.nbytes;
    return LEARNAE_OK;
}

static learnae_status fail_nonfinite(const float *src, uint32_t vector, size_t start,
                                     learnae_message *message) {
    size_t i = 0;
    while (src[i] - src[i] == 0.0f) {
        i++;
    }
    return learnae_internal_fail(LEARNAE_ERR_NONFINITE, message,
                                 "vector %u has %s at element %zu, which codec i8 cannot carry",
                                 (unsigned)vector, src[i] != src[i] ? "NaN" : "an infinity",
                                 start + i);
}

/* All blocks of one vector, and their table entries. */
static learnae_status write_vector(uint8_t *at, uint8_t *entry, uint32_t codec,
                                   const struct geometry *geometry, const float *src,
                                   uint32_t vector, learnae_message *message) {
    for (uint64_t block = 0; block < geometry->blocks_per_vector; block++) {
        const size_t start = (size_t)(block * LEARNAE_BLOCK_LENGTH);
        const struct extent extent =
            learnae_internal_extent(codec, geometry, LEARNAE_BLOCK_LENGTH, block);
        if (!learnae_internal_encode(codec, at, src + start, extent.length)) {
            return fail_nonfinite(src + start, vector, start, message);
        }
        put_u32(entry, (uint32_t)extent.nbytes);
        put_u32(entry + 4, learnae_crc32c(0, at, extent.nbytes));
        at += extent.nbytes;
        entry += TABLE_ENTRY_NBYTES;
    }
    return LEARNAE_OK;
}

static void write_header(uint8_t *header, uint32_t codec, const uint8_t *schema, uint32_t n_vectors,
                         uint64_t n_elements, const struct geometry *geometry) {
    memcpy(header + AT_MAGIC, magic, sizeof magic);
    put_u16(header + AT_VERSION, VERSION);
    put_u16(header + AT_CODEC, codec);
    put_u32(header + AT_N_VECTORS, n_vectors);
    put_u64(header + AT_N_ELEMENTS, n_elements);
    put_u32(header + AT_BLOCK_LENGTH, LEARNAE_BLOCK_LENGTH);
    put_u32(header + AT_N_BLOCKS, (uint32_t)geometry->n_blocks);
    memcpy(header + AT_SCHEMA, schema, LEARNAE_SCHEMA_NBYTES);
    put_u64(header + AT_NBYTES, geometry->nbytes);
    put_u32(header + AT_TABLE_CRC,
            learnae_crc32c(0, header + LEARNAE_HEADER_NBYTES, (size_t)geometry->table_nbytes));
    put_u32(header + AT_HEADER_CRC, learnae_crc32c(0, header, AT_HEADER_CRC));
}

static learnae_status check_write(const void *dst, size_t dst_nbytes, const uint8_t *schema,
                                  const float *const *vectors, uint32_t n_vectors,
                                  const struct geometry *geometry, learnae_message *message) {
    bool given = dst != NULL && schema != NULL && vectors != NULL;
    for (uint32_t v = 0; given && v < n_vectors; v++) {
        given = vectors[v] != NULL;
    }
    if (!given) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "dst, schema, vectors or one of the vectors is NULL");
    }
    if (dst_nbytes < geometry->nbytes) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "dst has %zu bytes, the payload needs %llu", dst_nbytes,
                                     (unsigned long long)geometry->nbytes);
    }
    return LEARNAE_OK;
}

learnae_status learnae_payload_write(void *dst, size_t dst_nbytes, uint32_t codec,
                                     const uint8_t schema[LEARNAE_SCHEMA_NBYTES],
                                     const float *const *vectors, uint32_t n_vectors,
                                     uint64_t n_elements, learnae_message *message) {
    struct geometry geometry;
    learnae_status status = plan(codec, n_vectors, n_elements, &geometry, message);
    if (status == LEARNAE_OK) {
        status = check_write(dst, dst_nbytes, schema, vectors, n_vectors, &geometry, message);
    }
    if (status != LEARNAE_OK) {
        return status;
    }
    uint8_t *const header = dst;
    uint8_t *const table = header + LEARNAE_HEADER_NBYTES;
    memset(header, 0, (size_t)(LEARNAE_HEADER_NBYTES + geometry.table_nbytes));
    for (uint32_t v = 0; v < n_vectors; v++) {
        uint8_t *at = table + geometry.table_nbytes + v * geometry.vector_nbytes;
        uint8_t *entry = table + v * geometry.blocks_per_vector * TABLE_ENTRY_NBYTES;
        status = write_vector(at, entry, codec, &geometry, vectors[v], v, message);
        if (status != LEARNAE_OK) {
            return status;
        }
    }
    write_header(header, codec, schema, n_vectors, n_elements, &geometry);
    return LEARNAE_OK;
}

/* ---- Reading ------------------------------------------------------------------------- */

static learnae_status check_envelope(const uint8_t *bytes, size_t nbytes,
                                     learnae_message *message) {
    if (nbytes < LEARNAE_HEADER_NBYTES) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "%zu bytes are too few for a payload's header of %d", nbytes,
                                     LEARNAE_HEADER_NBYTES);
    }
    if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0) {
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
    if (length == 0 || length % LEARNAE_I8_GROUP != 0 || length > LEARNAE_BLOCK_LENGTH_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block length %u is not a multiple of %d up to %d",
                                     (unsigned)length, LEARNAE_I8_GROUP, LEARNAE_BLOCK_LENGTH_MAX);
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
    *geometry = learnae_internal_geometry(payload->codec, payload->n_vectors, payload->n_elements,
                                          payload->block_length);
    if (geometry->n_blocks != payload->n_blocks) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload names %u blocks, which contradicts its counts",
                                     (unsigned)payload->n_blocks);
    }
    const uint64_t named = get_u64(payload->bytes + AT_NBYTES);
    if (named != geometry->nbytes) {
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

static learnae_status check_table(const learnae_payload *payload, const struct geometry *geometry,
                                  learnae_message *message) {
    const uint8_t *table = payload->bytes + LEARNAE_HEADER_NBYTES;
    const size_t nbytes = (size_t)geometry->table_nbytes;
    if (learnae_crc32c(0, table, nbytes) != read_u32(payload->bytes + AT_TABLE_CRC)) {
        return learnae_internal_fail(LEARNAE_ERR_CHECKSUM, message,
                                     "the payload's block table does not match its checksum");
    }
    for (uint32_t i = 0; i < payload->n_blocks; i++) {
        const struct extent extent =
            learnae_internal_extent(payload->codec, geometry, payload->block_length, i);
        const uint32_t named = read_u32(table + (size_t)i * TABLE_ENTRY_NBYTES);
        if (named != extent.nbytes) {
            return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                         "payload block %u names %u bytes instead of %zu",
                                         (unsigned)i, (unsigned)named, extent.nbytes);
        }
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
                            .n_blocks = read_u32(header + AT_N_BLOCKS)};
    memcpy(view.schema, header + AT_SCHEMA, LEARNAE_SCHEMA_NBYTES);
    struct geometry geometry;
    status = check_counts(&view, max_elements, message);
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
