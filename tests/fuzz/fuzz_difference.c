/* libFuzzer target for the codecs of differences, whose blocks have a structure of their own: the
 * input is what a sender puts into one block, and a right frame is made around it. The invariant:
 * any block gives results or one named error, the same bits from every instruction set, and
 * nothing is read or written outside (AddressSanitizer watches; all buffers are exactly sized).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../core/forge.h"
#include "require.h"

#include <stdbool.h>

/* Above what is decoded at a time, so that reading starts in the middle of a block too. */
enum { MAX_ELEMENTS = 9000, HEAD_NBYTES = 4, FIRST = LEARNAE_HEADER_NBYTES + 64 };

static void *allocate(size_t nbytes) {
    void *memory = malloc(nbytes);
    REQUIRE(memory != NULL);
    return memory;
}

static float *floats(size_t n) {
    float *values = allocate(n * sizeof *values);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)(i % 7) - 3;
    }
    return values;
}

/* All results, one after the other. */
struct results {
    uint8_t *bytes;
    size_t nbytes;
};

static void add_result(struct results *results, const void *bytes, size_t nbytes) {
    results->bytes = realloc(results->bytes, results->nbytes + nbytes);
    REQUIRE(results->bytes != NULL);
    memcpy(results->bytes + results->nbytes, bytes, nbytes);
    results->nbytes += nbytes;
}

static void add_status(struct results *results, learnae_status status) {
    const int number = (int)status;
    add_result(results, &number, sizeof number);
}

/* What codec topk has and delta has not. */
static void use_values(struct results *results, const learnae_payload *payload) {
    const size_t n = (size_t)payload->n_elements;
    float *value = floats(n), *sum = floats(n);
    double squares[2] = {0, 0};
    add_status(results, learnae_payload_distance(payload, 0, sum, &squares[0], &squares[1], NULL));
    REQUIRE(learnae_payload_decode(payload, 0, value, NULL) == LEARNAE_OK);
    REQUIRE(learnae_payload_accumulate(payload, 0, 0.75f, sum, NULL) == LEARNAE_OK);
    add_result(results, value, n * sizeof *value);
    add_result(results, sum, n * sizeof *sum);
    add_result(results, squares, sizeof squares);
    free(value);
    free(sum);
}

/* Everything a reader does, with one instruction set. */
static struct results results_of(const learnae_payload *base, const learnae_payload *payload) {
    const size_t n = (size_t)payload->n_elements;
    struct results results = {NULL, 0};
    size_t nbytes;
    const learnae_status verified = learnae_payload_verify(payload, NULL);
    REQUIRE(verified == LEARNAE_OK || verified == LEARNAE_ERR_FORMAT);
    add_status(&results, verified);
    if (payload->codec == LEARNAE_CODEC_TOPK) {
        use_values(&results, payload);
    }
    REQUIRE(learnae_payload_nbytes(LEARNAE_CODEC_F32, 1, n, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *sum = allocate(nbytes);
    const learnae_status rebased = learnae_payload_rebase(sum, nbytes, base, payload, NULL);
    REQUIRE(rebased == LEARNAE_OK ||
            (rebased == LEARNAE_ERR_FORMAT && payload->codec == LEARNAE_CODEC_DELTA));
    add_status(&results, rebased);
    if (rebased == LEARNAE_OK) {
        add_result(&results, sum, nbytes);
    }
    free(sum);
    return results;
}

/* A payload of one block of the input's bytes, of the size that topk needs, or of their own. */
static uint8_t *framed(uint32_t codec, uint32_t n, uint32_t kept, const uint8_t *content,
                       size_t size, size_t *nbytes) {
    const bool topk = codec == LEARNAE_CODEC_TOPK;
    const learnae_write_options options = {
        .size = sizeof options, .density = topk ? (float)kept / (float)LEARNAE_BLOCK_LENGTH : 0};
    const struct forge forge = {LEARNAE_CODEC_F32, 1, n, LEARNAE_BLOCK_LENGTH};
    REQUIRE(learnae_payload_bound(codec, 1, n, &options, nbytes, NULL) == LEARNAE_OK);
    const size_t own = size == 0 ? 64 : (size_t)forge_up(size);
    const size_t room = topk || own > *nbytes - FIRST ? *nbytes - FIRST : own;
    *nbytes = FIRST + room;
    uint8_t *bytes = allocate(*nbytes);
    memset(bytes, 0, *nbytes);
    forge_frame(&forge, bytes);
    forge_put(bytes + FORGE_CODEC, codec, 2);
    forge_put(bytes + FORGE_PARAMETER, topk ? kept : 0, 4);
    forge_put(bytes + FORGE_NBYTES, *nbytes, 8);
    forge_put(bytes + LEARNAE_HEADER_NBYTES, room, 4);
    memcpy(bytes + FIRST, content, size < room ? size : room);
    bytes[FORGE_BASE] = 1;
    forge_seal(bytes, *nbytes);
    return bytes;
}

static uint8_t *base_of(uint32_t n, learnae_payload *base) {
    const float *const vectors[1] = {floats(n)};
    const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {0};
    size_t nbytes;
    REQUIRE(learnae_payload_nbytes(LEARNAE_CODEC_I8, 1, n, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = allocate(nbytes);
    REQUIRE(learnae_payload_write(bytes, nbytes, LEARNAE_CODEC_I8, schema, vectors, 1, n, NULL) ==
            LEARNAE_OK);
    REQUIRE(learnae_payload_open(bytes, nbytes, n, base, NULL) == LEARNAE_OK);
    free((void *)(uintptr_t)vectors[0]);
    return bytes;
}

/* What the library writes for a model near the base, changed where the input is not zero: random
 * bytes alone would hardly ever make a complete prefix code. */
static uint8_t *changed(const learnae_payload *base, uint32_t codec, const uint8_t *changes,
                        size_t size, size_t *nbytes) {
    static const uint8_t cid[LEARNAE_CID_NBYTES] = {1};
    const learnae_write_options options = {.size = sizeof options, .base = base, .base_cid = cid};
    const size_t n = (size_t)base->n_elements;
    float *model = floats(n);
    for (size_t i = 0; i < n; i += 1 + i % 3) {
        model[i] += (float)(i % 11) * 1e-3f;
    }
    const float *const vectors[1] = {model};
    REQUIRE(learnae_payload_bound(codec, 1, n, &options, nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = allocate(*nbytes);
    REQUIRE(learnae_payload_write_with(bytes, *nbytes, codec, base->schema, vectors, 1, n, &options,
                                       nbytes, NULL) == LEARNAE_OK);
    bytes = realloc(bytes, *nbytes);
    REQUIRE(bytes != NULL);
    for (size_t i = 0; i < size && FIRST + i < *nbytes; i++) {
        bytes[FIRST + i] ^= changes[i];
    }
    forge_seal(bytes, *nbytes);
    free(model);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD_NBYTES) {
        return 0;
    }
    const uint32_t range = data[0] % 16 == 0 ? MAX_ELEMENTS : 600; /* small ones are fast */
    const uint32_t n = 1 + (uint32_t)forge_get(data, 2) % range;
    const uint32_t codec = data[3] % 4 == 0 ? LEARNAE_CODEC_TOPK : LEARNAE_CODEC_DELTA;
    const uint32_t kept = 1 + (uint32_t)forge_get(data + 2, 2) % LEARNAE_BLOCK_LENGTH;
    static const char *best; /* asked once: under a hypervisor that is slow */
    best = best == NULL ? learnae_isa_name(0) : best;
    size_t nbytes;
    learnae_payload payload, base;
    uint8_t *base_bytes = base_of(n, &base);
    uint8_t *bytes = data[3] / 4 % 2 == 0
                         ? framed(codec, n, kept, data + HEAD_NBYTES, size - HEAD_NBYTES, &nbytes)
                         : changed(&base, codec, data + HEAD_NBYTES, size - HEAD_NBYTES, &nbytes);
    REQUIRE(learnae_payload_open(bytes, nbytes, n, &payload, NULL) == LEARNAE_OK);
    REQUIRE(learnae_set_isa("portable") == LEARNAE_OK);
    struct results expected = results_of(&base, &payload);
    REQUIRE(learnae_set_isa(best) == LEARNAE_OK);
    struct results results = results_of(&base, &payload);
    REQUIRE(results.nbytes == expected.nbytes &&
            memcmp(results.bytes, expected.bytes, results.nbytes) == 0);
    free(results.bytes);
    free(expected.bytes);
    free(base_bytes);
    free(bytes);
    return 0;
}
