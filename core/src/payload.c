/* Writing a payload. docs/payload.md is the specification.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "header.h"
#include "job.h"
#include "threads.h"

/* What a codec keeps where the caller names no density: 1 %. */
#define DENSITY 0.01f

/* topk: the elements kept in a full block, rounded up, which is exact in double. */
static learnae_status parameter_of(uint32_t codec, float density, uint32_t *parameter,
                                   learnae_message *message) {
    const bool topk = codec == LEARNAE_CODEC_TOPK;
    if (topk ? !(density >= 0.0f && density <= 1.0f) : density != 0.0f) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "density is %g; codec %s takes %s", (double)density,
                                     learnae_codec_name(codec), topk ? "0 to 1" : "none: 0");
    }
    const double kept = (double)(density == 0.0f ? DENSITY : density) * LEARNAE_BLOCK_LENGTH;
    const uint32_t whole = (uint32_t)kept;
    *parameter = !topk ? 0 : (double)whole < kept ? whole + 1 : whole;
    return LEARNAE_OK;
}

static learnae_status plan(struct job *job, float density, learnae_message *message) {
    const uint32_t codec = job->codec, n_vectors = job->n_vectors;
    const uint64_t n_elements = job->n_elements;
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
    const learnae_status status = parameter_of(codec, density, &job->parameter, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    job->geometry = learnae_internal_geometry(codec, n_vectors, n_elements, LEARNAE_BLOCK_LENGTH,
                                              job->parameter);
    if (job->geometry.n_blocks > UINT32_MAX || job->geometry.nbytes > SIZE_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "%llu elements are too many for one payload",
                                     (unsigned long long)n_elements);
    }
    return LEARNAE_OK;
}

/* ---- Blocks -------------------------------------------------------------------------- */

static learnae_status fail_nonfinite(const struct job *job, const float *values, uint32_t vector,
                                     size_t start, learnae_message *message) {
    size_t i = 0;
    while (values[i] - values[i] == 0.0f) {
        i++;
    }
    return learnae_internal_fail(LEARNAE_ERR_NONFINITE, message,
                                 "vector %u%s has %s at element %zu, which codec %s cannot "
                                 "carry",
                                 (unsigned)vector, job->base == NULL ? "" : " less its base",
                                 values[i] != values[i] ? "NaN" : "an infinity", start + i,
                                 learnae_codec_name(job->codec));
}

struct writing {
    const struct job *job;
    uint8_t *table;
    learnae_message *message; /* NULL while threads are at work */
    learnae_status status;    /* of the tile that is done again for its message */
    size_t step;              /* blocks a tile */
    atomic_size_t bad;        /* the first tile found that cannot be written, or n_tiles */
};

/* One block and its table entry. A block of codec delta leaves room behind it. */
static learnae_status write_block(const struct writing *call, size_t block,
                                  struct workplace *workplace) {
    const struct job *job = call->job;
    const struct geometry *geometry = &job->geometry;
    const uint32_t vector = (uint32_t)(block / geometry->blocks_per_vector);
    const size_t place = (size_t)(block % geometry->blocks_per_vector);
    const size_t start = place * LEARNAE_BLOCK_LENGTH;
    struct extent extent = learnae_internal_extent(geometry, block);
    uint8_t *const at = call->table + geometry->table_nbytes + vector * geometry->vector_nbytes +
                        place * geometry->full.nbytes;
    uint8_t *const entry = call->table + block * TABLE_ENTRY_NBYTES;
    const float *values =
        learnae_internal_block_values(job, workplace, block, start, extent.length);
    if (values == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, call->message,
                                     "block %llu of the difference is wrong, or its base is not "
                                     "the one it was made with",
                                     (unsigned long long)(workplace->cursor.n_opened - 1));
    }
    uint32_t crc = 0;
    if (job->codec == LEARNAE_CODEC_DELTA) {
        const float *model = learnae_internal_model_values(job, &workplace->place, vector, start,
                                                           extent.length, workplace->gathered);
        const size_t content = learnae_internal_encode_delta(at, model, values, extent.length);
        extent.nbytes = (size_t)round_up(content, LEARNAE_ALIGNMENT);
        memset(at + content, 0, extent.nbytes - content);
    } else if (job->codec == LEARNAE_CODEC_F32) {
        crc = learnae_internal_copy(at, values, &extent, geometry->nbytes >= LARGE_NBYTES);
    } else if (!learnae_internal_encode(job->codec, at, values, &extent)) {
        return fail_nonfinite(job, values, vector, start, call->message);
    }
    put_u32(entry, (uint32_t)extent.nbytes);
    put_u32(entry + 4,
            job->codec == LEARNAE_CODEC_F32 ? crc : learnae_crc32c(0, at, extent.nbytes));
    return LEARNAE_OK;
}

static learnae_status write_tile(const struct writing *call, size_t tile,
                                 struct workplace *workplace) {
    const size_t n_blocks = (size_t)call->job->geometry.n_blocks;
    learnae_status status = LEARNAE_OK;
    for (size_t i = 0; i < call->step && tile * call->step + i < n_blocks && status == LEARNAE_OK;
         i++) {
        status = write_block(call, tile * call->step + i, workplace);
    }
    return status;
}

/* As in verify.c: the first tile that cannot be written is found whoever takes it. Not inlined,
 * as otherwise the scratch would be there twice. */
static LEARNAE_NOINLINE void write_tiles(void *context, struct tiles *tiles) {
    struct writing *call = context;
    struct workplace workplace;
    workplace.cursor = (struct cursor){.next = NULL};
    workplace.place = (struct place){0};
    for (size_t tile; next_tile(tiles, &tile);) {
        size_t bad = atomic_load(&call->bad);
        if (tile >= bad) {
            return;
        }
        const learnae_status status = write_tile(call, tile, &workplace);
        if (status != LEARNAE_OK) {
            while (tile < bad && !atomic_compare_exchange_weak(&call->bad, &bad, tile)) {
            }
            call->status = call->message != NULL ? status : call->status;
            return;
        }
    }
}

/* All blocks, and their table entries. A difference of codec delta whose blocks are not as long
 * as ours is read from its start to its end, as one tile. */
static learnae_status write_blocks(uint8_t *table, const struct job *job,
                                   learnae_message *message) {
    const size_t n_blocks = (size_t)job->geometry.n_blocks;
    const bool whole = job->difference != NULL && job->difference->codec == LEARNAE_CODEC_DELTA &&
                       job->difference->block_length != LEARNAE_BLOCK_LENGTH;
    const size_t n_tiles = whole ? 1 : n_blocks;
    learnae_message unseen;
    struct writing call = {
        .job = job, .table = table, .step = whole ? n_blocks : 1, .bad = n_tiles};
    learnae_internal_run(write_tiles, &call, n_tiles,
                         job->geometry.nbytes + 4 * job->n_elements * job->n_vectors);
    const size_t bad = atomic_load(&call.bad);
    if (bad == n_tiles) {
        return LEARNAE_OK;
    }
    struct tiles again = {bad, bad + 1}; /* for status and message */
    call.message = message == NULL ? &unseen : message;
    atomic_store(&call.bad, n_tiles);
    write_tiles(&call, &again);
    return call.status;
}

/* Over zeros. */
static void write_header(uint8_t *header, const struct job *job, uint64_t nbytes) {
    memcpy(header + AT_MAGIC, MAGIC, MAGIC_NBYTES);
    put_u16(header + AT_VERSION, VERSION);
    put_u16(header + AT_CODEC, job->codec);
    put_u32(header + AT_N_VECTORS, job->n_vectors);
    put_u64(header + AT_N_ELEMENTS, job->n_elements);
    put_u32(header + AT_BLOCK_LENGTH, LEARNAE_BLOCK_LENGTH);
    put_u32(header + AT_N_BLOCKS, (uint32_t)job->geometry.n_blocks);
    memcpy(header + AT_SCHEMA, job->schema, LEARNAE_SCHEMA_NBYTES);
    put_u64(header + AT_NBYTES, nbytes);
    put_u32(header + AT_TABLE_CRC,
            learnae_crc32c(0, header + LEARNAE_HEADER_NBYTES, (size_t)job->geometry.table_nbytes));
    put_u32(header + AT_PARAMETER, job->parameter);
    if (job->base_cid != NULL) {
        memcpy(header + AT_BASE, job->base_cid, LEARNAE_CID_NBYTES);
    }
    put_u32(header + AT_HEADER_CRC, learnae_crc32c(0, header, AT_HEADER_CRC));
}

static learnae_status write_job(void *dst, size_t dst_nbytes, const struct job *job, size_t *nbytes,
                                learnae_message *message) {
    if (dst == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "dst is NULL");
    }
    const struct geometry *geometry = &job->geometry;
    if (dst_nbytes < geometry->nbytes) {
        return learnae_internal_fail(LEARNAE_ERR_SIZE, message,
                                     "dst has %zu bytes, the payload needs %llu", dst_nbytes,
                                     (unsigned long long)geometry->nbytes);
    }
    uint8_t *const header = dst;
    uint8_t *const table = header + LEARNAE_HEADER_NBYTES;
    memset(header, 0, (size_t)(LEARNAE_HEADER_NBYTES + geometry->table_nbytes));
    const learnae_status status = write_blocks(table, job, message);
    if (status == LEARNAE_OK) {
        *nbytes = learnae_internal_varies(job->codec)
                      ? learnae_internal_close_gaps(header, geometry)
                      : (size_t)geometry->nbytes;
        write_header(header, job, *nbytes);
    }
    return status;
}

/* ---- Models -------------------------------------------------------------------------- */

/* What the caller's program knows of the options, and zeros for what was added since. What this
 * library does not know must be zero. */
static learnae_status read_options(const learnae_write_options *given,
                                   learnae_write_options *options, learnae_message *message) {
    memset(options, 0, sizeof *options);
    if (given == NULL) {
        return LEARNAE_OK;
    }
    const size_t size = given->size;
    if (size < sizeof given->size) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "options->size is %zu: set it to sizeof *options", size);
    }
    memcpy(options, given, size < sizeof *options ? size : sizeof *options);
    if (size > sizeof *options &&
        !learnae_internal_all_zero((const uint8_t *)given + sizeof *options,
                                   size - sizeof *options)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "options has a field set that learnae " LEARNAE_VERSION
                                     " does not know");
    }
    return LEARNAE_OK;
}

/* Whether two payloads, or a payload and what is to be written, carry the same model. */
static learnae_status check_base(const learnae_payload *base, const uint8_t *schema,
                                 uint32_t n_vectors, uint64_t n_elements,
                                 learnae_message *message) {
    if (!learnae_internal_all_zero(base->base, LEARNAE_CID_NBYTES)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "the base is itself a difference: rebase it first");
    }
    if (base->n_vectors != n_vectors || base->n_elements != n_elements) {
        return learnae_internal_fail(
            LEARNAE_ERR_ARGUMENT, message,
            "the base has %u vectors of %llu elements, the difference %u of %llu",
            (unsigned)base->n_vectors, (unsigned long long)base->n_elements, (unsigned)n_vectors,
            (unsigned long long)n_elements);
    }
    if (memcmp(base->schema, schema, LEARNAE_SCHEMA_NBYTES) != 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "the base and the difference have different schemas");
    }
    return learnae_internal_check_values(base, 0, message);
}

static learnae_status check_job(const struct job *job, learnae_message *message) {
    if (job->schema == NULL || job->vectors == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "schema or vectors is NULL");
    }
    if (learnae_internal_codec(job->codec)->packs != 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "codec %s is what learnae_payload_pack() makes of a payload",
                                     learnae_codec_name(job->codec));
    }
    if (job->leaf_elements == NULL || job->n_leaves == 0) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "leaf_elements and n_leaves go together");
    }
    const learnae_status status = learnae_internal_check_leaves(job, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (job->base == NULL && job->base_cid == NULL && job->codec != LEARNAE_CODEC_DELTA) {
        return LEARNAE_OK;
    }
    if (job->base == NULL || job->base_cid == NULL || job->base_cid[0] != CID_VERSION) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "a difference needs a base and its binary CIDv1, and codec "
                                     "delta makes nothing else");
    }
    return check_base(job->base, job->schema, job->n_vectors, job->n_elements, message);
}

learnae_status learnae_payload_bound(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                     const learnae_write_options *options, size_t *nbytes,
                                     learnae_message *message) {
    learnae_write_options known;
    learnae_status status = read_options(options, &known, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    struct job job = {.codec = codec, .n_vectors = n_vectors, .n_elements = n_elements};
    status = plan(&job, known.density, message);
    if (status == LEARNAE_OK && nbytes == NULL) {
        status = learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "nbytes is NULL");
    }
    if (status == LEARNAE_OK) {
        *nbytes = (size_t)job.geometry.nbytes;
    }
    return status;
}

learnae_status learnae_payload_nbytes(uint32_t codec, uint32_t n_vectors, uint64_t n_elements,
                                      size_t *nbytes, learnae_message *message) {
    if (learnae_codec_name(codec) != NULL && learnae_internal_varies(codec)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "the size of a %s depends on its content: "
                                     "learnae_payload_bound() gives the most it can be",
                                     learnae_codec_name(codec));
    }
    return learnae_payload_bound(codec, n_vectors, n_elements, NULL, nbytes, message);
}

learnae_status learnae_payload_write_with(void *dst, size_t dst_nbytes, uint32_t codec,
                                          const uint8_t schema[LEARNAE_SCHEMA_NBYTES],
                                          const float *const *vectors, uint32_t n_vectors,
                                          uint64_t n_elements, const learnae_write_options *options,
                                          size_t *nbytes, learnae_message *message) {
    learnae_write_options known;
    learnae_status status = read_options(options, &known, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    const bool whole = known.leaf_elements == NULL && known.n_leaves == 0;
    const size_t all = (size_t)n_elements; /* cut off, it is refused as the wrong sum */
    struct job job = {.codec = codec,
                      .n_vectors = n_vectors,
                      .n_elements = n_elements,
                      .schema = schema,
                      .vectors = vectors,
                      .leaf_elements = whole ? &all : known.leaf_elements,
                      .n_leaves = whole ? 1 : known.n_leaves,
                      .base = known.base,
                      .base_cid = known.base_cid};
    status = plan(&job, known.density, message);
    if (status == LEARNAE_OK) {
        status = check_job(&job, message);
    }
    if (status == LEARNAE_OK) {
        size_t written;
        status = write_job(dst, dst_nbytes, &job, nbytes == NULL ? &written : nbytes, message);
    }
    return status;
}

learnae_status learnae_payload_write(void *dst, size_t dst_nbytes, uint32_t codec,
                                     const uint8_t schema[LEARNAE_SCHEMA_NBYTES],
                                     const float *const *vectors, uint32_t n_vectors,
                                     uint64_t n_elements, learnae_message *message) {
    return learnae_payload_write_with(dst, dst_nbytes, codec, schema, vectors, n_vectors,
                                      n_elements, NULL, NULL, message);
}

learnae_status learnae_payload_rebase(void *dst, size_t dst_nbytes, const learnae_payload *base,
                                      const learnae_payload *difference, learnae_message *message) {
    if (base == NULL || difference == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "base or difference is NULL");
    }
    if (learnae_internal_all_zero(difference->base, LEARNAE_CID_NBYTES)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "the difference stands alone: it names no base");
    }
    struct job job = {.codec = LEARNAE_CODEC_F32,
                      .n_vectors = difference->n_vectors,
                      .n_elements = difference->n_elements,
                      .schema = difference->schema,
                      .base = base,
                      .difference = difference};
    learnae_status status = check_base(base, job.schema, job.n_vectors, job.n_elements, message);
    if (status == LEARNAE_OK && difference->codec != LEARNAE_CODEC_DELTA) {
        status = learnae_internal_check_values(difference, 0, message);
    }
    if (status == LEARNAE_OK) {
        status = plan(&job, 0.0f, message);
    }
    size_t nbytes;
    return status == LEARNAE_OK ? write_job(dst, dst_nbytes, &job, &nbytes, message) : status;
}
