/* Codecs: how many bytes a block takes, where its elements lie, and how it is filled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "delta.h"
#include "packed.h"

static const struct codec codecs[N_CODECS] = {
    [LEARNAE_CODEC_F32] = {"f32", 32, 0, 0},
    [LEARNAE_CODEC_BF16] = {"bf16", 16, 0, 0},
    [LEARNAE_CODEC_F16] = {"f16", 16, 0, 0},
    [LEARNAE_CODEC_I8] = {"i8", 8, LEARNAE_I8_GROUP, 0},
    [LEARNAE_CODEC_I4] = {"i4", 4, LEARNAE_I4_GROUP, 0},
    [LEARNAE_CODEC_SIGN] = {"sign", 1, LEARNAE_SIGN_GROUP, 0},
    [LEARNAE_CODEC_TERNARY] = {"ternary", 2, LEARNAE_SIGN_GROUP, 0},
    [LEARNAE_CODEC_TOPK] = {"topk", 0, 0, 0},
    [LEARNAE_CODEC_DELTA] = {"delta", 0, 0, 0},
    [LEARNAE_CODEC_I8Z] = {"i8z", 8, LEARNAE_I8_GROUP, LEARNAE_CODEC_I8},
    [LEARNAE_CODEC_I4Z] = {"i4z", 4, LEARNAE_I4_GROUP, LEARNAE_CODEC_I4},
};

const struct codec *learnae_internal_codec(uint32_t codec) {
    return codec < N_CODECS && codecs[codec].name != NULL ? &codecs[codec] : NULL;
}

const char *learnae_codec_name(uint32_t codec) {
    const struct codec *known = learnae_internal_codec(codec);
    return known == NULL ? NULL : known->name;
}

bool learnae_internal_varies(uint32_t codec) {
    return codec == LEARNAE_CODEC_DELTA || codecs[codec].packs != 0;
}

uint64_t learnae_internal_scales_nbytes(uint32_t codec, uint64_t length) {
    const uint32_t group = codecs[codec].group;
    return group == 0 ? 0 : 4 * ((length + group - 1) / group);
}

/* length is at most LEARNAE_BLOCK_LENGTH_MAX: no product comes near 2^64. */
static struct extent extent_of(uint32_t codec, uint64_t length, uint32_t block_length,
                               uint32_t parameter) {
    struct extent extent = {.length = (size_t)length};
    if (codec == LEARNAE_CODEC_TOPK) { /* of a shorter block the same part, rounded up */
        extent.n_kept = (size_t)((parameter * length + block_length - 1) / block_length);
        extent.content_nbytes = learnae_internal_topk_nbytes(extent.length, extent.n_kept);
    } else if (codec == LEARNAE_CODEC_DELTA) {
        extent.content_nbytes = (size_t)learnae_internal_delta_bound(length);
    } else {
        extent.content_nbytes = (size_t)(learnae_internal_scales_nbytes(codec, length) +
                                         (length * codecs[codec].n_bits + 7) / 8);
        extent.content_nbytes += codecs[codec].packs == 0 ? 0 : PACKED_HEAD_NBYTES;
    }
    extent.nbytes = (size_t)round_up(extent.content_nbytes, LEARNAE_ALIGNMENT);
    return extent;
}

struct geometry learnae_internal_geometry(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                          uint32_t block_length, uint32_t parameter) {
    /* Not (n + length - 1) / length: n_elements may be anything below 2^64. */
    const uint64_t blocks = n_elements / block_length + (n_elements % block_length != 0);
    const uint64_t last_length = n_elements - (blocks - 1) * block_length;
    struct geometry geometry = {.blocks_per_vector = blocks,
                                .n_blocks = blocks * n_vectors,
                                .full = extent_of(codec, block_length, block_length, parameter),
                                .last = extent_of(codec, last_length, block_length, parameter)};
    geometry.table_nbytes = round_up(geometry.n_blocks * TABLE_ENTRY_NBYTES, LEARNAE_ALIGNMENT);
    geometry.vector_nbytes = (blocks - 1) * geometry.full.nbytes + geometry.last.nbytes;
    geometry.nbytes =
        LEARNAE_HEADER_NBYTES + geometry.table_nbytes + n_vectors * geometry.vector_nbytes;
    return geometry;
}

struct geometry learnae_internal_geometry_of(const learnae_payload *payload) {
    return learnae_internal_geometry(payload->codec, payload->n_vectors, payload->n_elements,
                                     payload->block_length, payload->parameter);
}

struct extent learnae_internal_extent(const struct geometry *geometry, uint64_t block) {
    return (block + 1) % geometry->blocks_per_vector == 0 ? geometry->last : geometry->full;
}

learnae_status learnae_internal_check_values(const learnae_payload *payload, uint32_t vector,
                                             learnae_message *message) {
    if (payload == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "payload is NULL");
    }
    if (vector >= payload->n_vectors) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "vector %u does not exist; the payload has %u",
                                     (unsigned)vector, (unsigned)payload->n_vectors);
    }
    if (payload->codec == LEARNAE_CODEC_DELTA) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "codec delta has no values without its base: make the model "
                                     "with learnae_payload_rebase()");
    }
    if (codecs[payload->codec].packs != 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "codec %s is packed: use what learnae_payload_unpack() makes",
                                     codecs[payload->codec].name);
    }
    return LEARNAE_OK;
}

size_t learnae_internal_close_gaps(uint8_t *header, const struct geometry *geometry) {
    const uint8_t *const table = header + LEARNAE_HEADER_NBYTES;
    uint8_t *end = header + LEARNAE_HEADER_NBYTES + geometry->table_nbytes, *at = end;
    for (uint64_t block = 0; block < geometry->n_blocks; block++) {
        const size_t nbytes = read_u32(table + block * TABLE_ENTRY_NBYTES);
        memmove(end, at, nbytes);
        end += nbytes;
        at += learnae_internal_extent(geometry, block).nbytes;
    }
    return (size_t)(end - header);
}

/* The offset comes from the geometry that learnae_payload_open() compared with nbytes, never
 * from the table: so it stays inside whatever the blocks and the table hold. */
struct source learnae_internal_source(const learnae_payload *payload, uint32_t vector,
                                      uint64_t element, size_t *n_left) {
    const struct geometry geometry = learnae_internal_geometry_of(payload);
    const uint64_t block = element / payload->block_length;
    const uint64_t skipped = element % payload->block_length;
    const struct extent extent = learnae_internal_extent(&geometry, block);
    const uint8_t *start = payload->bytes + LEARNAE_HEADER_NBYTES + geometry.table_nbytes +
                           vector * geometry.vector_nbytes + block * geometry.full.nbytes;
    *n_left = (size_t)(extent.length - skipped);
    const struct source source = {
        .data = start + learnae_internal_scales_nbytes(payload->codec, extent.length) +
                skipped * codecs[payload->codec].n_bits / 8,
        .scales = start + learnae_internal_scales_nbytes(payload->codec, skipped),
        .weight = 0.0f,
        .skipped = (uint32_t)skipped,
        .length = (uint32_t)extent.length,
        .n_kept = (uint32_t)extent.n_kept};
    return source;
}

bool learnae_internal_encode(uint32_t codec, uint8_t *dst, const float *src,
                             const struct extent *extent) {
    const struct kernel_table *kernels = learnae_internal_kernels();
    const size_t length = extent->length, nbytes = extent->content_nbytes;
    memset(dst + nbytes, 0, extent->nbytes - nbytes);
    switch (codec) {
    case LEARNAE_CODEC_BF16:
        kernels->encode_bf16(dst, src, length);
        return true;
    case LEARNAE_CODEC_F16:
        kernels->encode_f16(dst, src, length);
        return true;
    case LEARNAE_CODEC_TOPK:
        learnae_internal_encode_topk(dst, src, length, extent->n_kept);
        return true;
    default:
        return kernels->encode_groups[codec](
            dst, dst + learnae_internal_scales_nbytes(codec, length), src, length);
    }
}
