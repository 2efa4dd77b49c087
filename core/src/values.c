/* What a payload's blocks are made of: a model, a model less its base, or a base and a difference
 * put together again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "job.h"

/* Values of the difference decoded at a time beside a block of sums: 16 KiB of the stack. */
#define PIECE_LENGTH 4096

/* dst[0..length) = a vector's values from element `start` on, a multiple of BLOCK_STEP. */
static void decode_range(float *dst, const learnae_payload *payload, uint32_t vector, size_t start,
                         size_t length) {
    const struct kernel_table *kernels = learnae_internal_kernels();
    for (size_t done = 0, n; done < length; done += n) {
        const struct source source =
            learnae_internal_source(payload, vector, (uint64_t)start + done, &n);
        n = n < length - done ? n : length - done;
        kernels->decode[payload->codec](dst + done, &source, n);
    }
}

/* Open a block of the difference: the next, or one further on. Its place follows from the table,
 * which learnae_payload_open() compared with nbytes. */
static bool open_block(struct cursor *cursor, const learnae_payload *difference, uint64_t number) {
    const struct geometry geometry = learnae_internal_geometry_of(difference);
    const uint8_t *const table = difference->bytes + LEARNAE_HEADER_NBYTES;
    const uint8_t *block = cursor->next == NULL ? table + geometry.table_nbytes : cursor->next;
    for (; cursor->n_opened < number; cursor->n_opened++) {
        block += read_u32(table + cursor->n_opened * TABLE_ENTRY_NBYTES);
    }
    const size_t nbytes = read_u32(table + cursor->n_opened * TABLE_ENTRY_NBYTES);
    cursor->n_left = learnae_internal_extent(&geometry, cursor->n_opened).length;
    cursor->next = block + nbytes;
    cursor->n_opened++;
    if (!learnae_internal_delta_valid(block, nbytes, cursor->n_left)) {
        return false;
    }
    learnae_internal_delta_begin(&cursor->reader, block);
    return true;
}

/* Turn the base's values into the model's. The difference's blocks may end elsewhere than ours,
 * but at multiples of BLOCK_STEP, and with each vector. */
static bool apply_delta(struct cursor *cursor, const learnae_payload *difference, size_t block,
                        float *values, size_t length) {
    const bool alike = difference->block_length == LEARNAE_BLOCK_LENGTH;
    for (size_t done = 0, n; done < length; done += n) {
        if (cursor->n_left == 0 &&
            !open_block(cursor, difference, alike ? block : cursor->n_opened)) {
            return false;
        }
        n = length - done < cursor->n_left ? length - done : cursor->n_left;
        learnae_internal_delta_next(&cursor->reader, values + done, n);
        cursor->n_left -= n;
        if (cursor->n_left == 0 && !learnae_internal_delta_end(&cursor->reader)) {
            return false;
        }
    }
    return true;
}

/* sums[i] = sums[i] + value i of the difference: a product with 1 is exact, so that one rounding
 * is left. */
static void add_difference(float *sums, const learnae_payload *difference, uint32_t vector,
                           size_t start, size_t length) {
    float piece[PIECE_LENGTH];
    const struct source source = {.data = (const uint8_t *)piece, .weight = 1.0f};
    for (size_t done = 0, n; done < length; done += n) {
        n = length - done < PIECE_LENGTH ? length - done : PIECE_LENGTH;
        decode_range(piece, difference, vector, start + done, n);
        learnae_internal_kernels()->add[LEARNAE_CODEC_F32](sums + done, sums + done, 1.0f, &source,
                                                           1, n);
    }
}

/* ---- Leaves -------------------------------------------------------------------------- */

learnae_status learnae_internal_check_leaves(const struct job *job, learnae_message *message) {
    uint64_t left = job->n_elements;
    for (size_t leaf = 0; leaf < job->n_leaves; leaf++) {
        const size_t n = job->leaf_elements[leaf];
        if (n > left) {
            left = 1;
            break;
        }
        left -= n;
        for (uint32_t v = 0; n > 0 && v < job->n_vectors; v++) {
            const size_t at = v * job->n_leaves + leaf;
            if (job->vectors[at] == NULL) {
                return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "vectors[%zu] is NULL",
                                             at);
            }
        }
    }
    return left == 0 ? LEARNAE_OK
                     : learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                             "leaf_elements do not add up to n_elements, %llu",
                                             (unsigned long long)job->n_elements);
}

/* A vector's elements from `start` on, as far as one leaf holds them: *n is at most what it was. */
static const float *piece_at(const struct job *job, struct place *place, uint32_t vector,
                             size_t start, size_t *n) {
    if (start < place->first) {
        *place = (struct place){0}; /* of the next vector */
    }
    while (start - place->first >= job->leaf_elements[place->leaf]) {
        place->first += job->leaf_elements[place->leaf++];
    }
    const size_t skipped = start - place->first;
    const size_t left = job->leaf_elements[place->leaf] - skipped;
    *n = *n < left ? *n : left;
    return job->vectors[vector * job->n_leaves + place->leaf] + skipped;
}

const float *learnae_internal_model_values(const struct job *job, struct place *place,
                                           uint32_t vector, size_t start, size_t length,
                                           float *scratch) {
    size_t n = length;
    const float *piece = piece_at(job, place, vector, start, &n);
    if (n == length) {
        return piece;
    }
    for (size_t done = 0; done < length; done += n) {
        n = length - done;
        piece = piece_at(job, place, vector, start + done, &n);
        memcpy(scratch + done, piece, n * sizeof *piece);
    }
    return scratch;
}

/* values[i] = element start + i of the model, minus values[i]. */
static void subtract_from_model(float *values, const struct job *job, struct place *place,
                                uint32_t vector, size_t start, size_t length) {
    for (size_t done = 0, n; done < length; done += n) {
        n = length - done;
        const float *piece = piece_at(job, place, vector, start + done, &n);
        const struct source source = {.data = (const uint8_t *)(values + done), .weight = -1.0f};
        learnae_internal_kernels()->add[LEARNAE_CODEC_F32](values + done, piece, 1.0f, &source, 1,
                                                           n);
    }
}

const float *learnae_internal_block_values(const struct job *job, struct workplace *workplace,
                                           size_t block, size_t start, size_t length) {
    const uint32_t vector = (uint32_t)(block / job->geometry.blocks_per_vector);
    float *const scratch = workplace->scratch;
    if (job->base == NULL) {
        return learnae_internal_model_values(job, &workplace->place, vector, start, length,
                                             scratch);
    }
    decode_range(scratch, job->base, vector, start, length);
    if (job->difference != NULL && job->difference->codec == LEARNAE_CODEC_DELTA) {
        return apply_delta(&workplace->cursor, job->difference, block, scratch, length) ? scratch
                                                                                        : NULL;
    }
    if (job->difference != NULL) {
        add_difference(scratch, job->difference, vector, start, length);
    } else if (job->codec != LEARNAE_CODEC_DELTA) {
        subtract_from_model(scratch, job, &workplace->place, vector, start, length);
    }
    return scratch;
}
