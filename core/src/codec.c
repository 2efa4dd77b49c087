/* Codecs: how many bytes a block takes, where its elements lie, and how it is filled.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

const char *learnae_codec_name(uint32_t codec) {
    switch (codec) {
    case LEARNAE_CODEC_F32:
        return "f32";
    case LEARNAE_CODEC_BF16:
        return "bf16";
    case LEARNAE_CODEC_F16:
        return "f16";
    case LEARNAE_CODEC_I8:
        return "i8";
    default:
        return NULL;
    }
}

static uint64_t scales_nbytes(uint64_t length) {
    return 4 * ((length + LEARNAE_I8_GROUP - 1) / LEARNAE_I8_GROUP);
}

uint64_t learnae_internal_content_nbytes(uint32_t codec, uint64_t length) {
    switch (codec) {
    case LEARNAE_CODEC_F32:
        return 4 * length;
    case LEARNAE_CODEC_I8:
        return scales_nbytes(length) + length;
    default:
        return 2 * length;
    }
}

struct geometry learnae_internal_geometry(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                          uint32_t block_length) {
    /* Not (n + length - 1) / length: n_elements may be anything below 2^64. */
    const uint64_t blocks = n_elements / block_length + (n_elements % block_length != 0);
    const uint64_t last_length = n_elements - (blocks - 1) * block_length;
    const uint64_t full = learnae_internal_content_nbytes(codec, block_length);
    const uint64_t last = learnae_internal_content_nbytes(codec, last_length);
    struct geometry geometry = {.blocks_per_vector = blocks,
                                .n_blocks = blocks * n_vectors,
                                .block_nbytes = round_up(full, LEARNAE_ALIGNMENT),
                                .last_length = (uint32_t)last_length};
    geometry.table_nbytes = round_up(geometry.n_blocks * TABLE_ENTRY_NBYTES, LEARNAE_ALIGNMENT);
    geometry.vector_nbytes =
        (blocks - 1) * geometry.block_nbytes + round_up(last, LEARNAE_ALIGNMENT);
    geometry.nbytes =
        LEARNAE_HEADER_NBYTES + geometry.table_nbytes + n_vectors * geometry.vector_nbytes;
    return geometry;
}

struct extent learnae_internal_extent(uint32_t codec, const struct geometry *geometry,
                                      uint32_t block_length, uint64_t block) {
    const bool last = (block + 1) % geometry->blocks_per_vector == 0;
    const uint64_t length = last ? geometry->last_length : block_length;
    const uint64_t content = learnae_internal_content_nbytes(codec, length);
    const struct extent extent = {(size_t)length, (size_t)content,
                                  (size_t)round_up(content, LEARNAE_ALIGNMENT)};
    return extent;
}

/* The offset comes from the geometry that learnae_payload_open() compared with nbytes, never
 * from the table: so it stays inside whatever the blocks and the table hold. */
struct source learnae_internal_source(const learnae_payload *payload, uint32_t vector,
                                      uint64_t element, size_t *n_left) {
    const struct geometry geometry = learnae_internal_geometry(
        payload->codec, payload->n_vectors, payload->n_elements, payload->block_length);
    const uint64_t block = element / payload->block_length;
    const uint64_t skipped = element % payload->block_length;
    const uint64_t length =
        block + 1 == geometry.blocks_per_vector ? geometry.last_length : payload->block_length;
    const uint8_t *start = payload->bytes + LEARNAE_HEADER_NBYTES + geometry.table_nbytes +
                           vector * geometry.vector_nbytes + block * geometry.block_nbytes;
    struct source source = {.data = start, .scales = NULL, .weight = 0.0f};
    if (payload->codec == LEARNAE_CODEC_I8) {
        source.scales = start + skipped / LEARNAE_I8_GROUP * 4;
        source.data = start + scales_nbytes(length) + skipped;
    } else {
        source.data = start + learnae_internal_content_nbytes(payload->codec, skipped);
    }
    *n_left = (size_t)(length - skipped);
    return source;
}

bool learnae_internal_encode(uint32_t codec, uint8_t *dst, const float *src, size_t length) {
    const struct kernel_table *kernels = learnae_internal_kernels();
    const size_t nbytes = (size_t)learnae_internal_content_nbytes(codec, length);
    memset(dst + nbytes, 0, (size_t)round_up(nbytes, LEARNAE_ALIGNMENT) - nbytes);
    switch (codec) {
    case LEARNAE_CODEC_F32:
        memcpy(dst, src, nbytes);
        return true;
    case LEARNAE_CODEC_BF16:
        kernels->encode_bf16(dst, src, length);
        return true;
    case LEARNAE_CODEC_F16:
        kernels->encode_f16(dst, src, length);
        return true;
    default:
        return kernels->encode_i8(dst, dst + scales_nbytes(length), src, length);
    }
}
