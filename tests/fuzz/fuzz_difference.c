/* libFuzzer target for the codecs of differences, whose blocks have a structure of their own: the
 * input is what a sender puts into one block, and a right frame is made around it. The invariant:
 * any block gives results or one named error, the same bits from every instruction set, and
 * nothing is read or written outside (AddressSanitizer watches; all buffers are exactly sized).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../core/forge.h"

#include <stdio.h>
#include <stdlib.h>

/* Above what is decoded at a time, so that reading starts in the middle of a block too. */
enum { MAX_ELEMENTS = 9000, HEAD_NBYTES = 4, FIRST = LEARNAE_HEADER_NBYTES + 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: false: %s\n", __FILE__, __LINE__, #condition);                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

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

/* Everything a reader does, with one instruction set: all results, one after the other. */
static uint8_t *results_of(const learnae_payload *base, const learnae_payload *payload,
                           size_t *nbytes) {
    const size_t n = (size_t)payload->n_elements, n_bytes = n * sizeof(float);
    size_t sum_nbytes;
    REQUIRE(learnae_payload_nbytes(LEARNAE_CODEC_F32, 1, n, &sum_nbytes, NULL) == LEARNAE_OK);
    float *value = floats(n), *sum = floats(n);
    double squares[2] = {0, 0};
    const int statuses[2] = {
        (int)learnae_payload_verify(payload, NULL),
        (int)learnae_payload_distance(payload, 0, sum, &squares[0], &squares[1], NULL)};
    REQUIRE(learnae_payload_decode(payload, 0, value, NULL) == LEARNAE_OK);
    REQUIRE(learnae_payload_accumulate(payload, 0, 0.75f, sum, NULL) == LEARNAE_OK);
    *nbytes = 2 * n_bytes + sum_nbytes + sizeof squares + sizeof statuses;
    uint8_t *results = allocate(*nbytes);
    memcpy(results, value, n_bytes);
    memcpy(results + n_bytes, sum, n_bytes);
    memcpy(results + 2 * n_bytes, squares, sizeof squares);
    memcpy(results + 2 * n_bytes + sizeof squares, statuses, sizeof statuses);
    uint8_t *rebased = allocate(sum_nbytes);
    REQUIRE(learnae_payload_rebase(rebased, sum_nbytes, base, payload, NULL) == LEARNAE_OK);
    memcpy(results + *nbytes - sum_nbytes, rebased, sum_nbytes);
    free(rebased);
    free(value);
    free(sum);
    return results;
}

/* A payload of one block of the input's bytes, filled up with zeros. */
static uint8_t *framed(uint32_t n, uint32_t kept, const uint8_t *content, size_t size,
                       size_t *nbytes) {
    const learnae_write_options options = {sizeof options, NULL, NULL,
                                           (float)kept / (float)LEARNAE_BLOCK_LENGTH};
    const struct forge forge = {LEARNAE_CODEC_F32, 1, n, LEARNAE_BLOCK_LENGTH};
    REQUIRE(learnae_payload_bound(LEARNAE_CODEC_TOPK, 1, n, &options, nbytes, NULL) == LEARNAE_OK);
    const size_t room = *nbytes - FIRST;
    uint8_t *bytes = allocate(*nbytes);
    memset(bytes, 0, *nbytes);
    forge_frame(&forge, bytes);
    forge_put(bytes + FORGE_CODEC, LEARNAE_CODEC_TOPK, 2);
    forge_put(bytes + FORGE_PARAMETER, kept, 4);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD_NBYTES) {
        return 0;
    }
    const uint32_t range = data[0] % 16 == 0 ? MAX_ELEMENTS : 600; /* small ones are fast */
    const uint32_t n = 1 + (uint32_t)forge_get(data, 2) % range;
    const uint32_t kept = 1 + (uint32_t)forge_get(data + 2, 2) % LEARNAE_BLOCK_LENGTH;
    static const char *best; /* asked once: under a hypervisor that is slow */
    best = best == NULL ? learnae_isa_name(0) : best;
    size_t nbytes, n_results, n_expected;
    learnae_payload payload, base;
    uint8_t *bytes = framed(n, kept, data + HEAD_NBYTES, size - HEAD_NBYTES, &nbytes);
    uint8_t *base_bytes = base_of(n, &base);
    REQUIRE(learnae_payload_open(bytes, nbytes, n, &payload, NULL) == LEARNAE_OK);
    REQUIRE(learnae_set_isa("portable") == LEARNAE_OK);
    uint8_t *expected = results_of(&base, &payload, &n_expected);
    REQUIRE(learnae_set_isa(best) == LEARNAE_OK);
    uint8_t *results = results_of(&base, &payload, &n_results);
    REQUIRE(n_results == n_expected && memcmp(results, expected, n_results) == 0);
    free(results);
    free(expected);
    free(base_bytes);
    free(bytes);
    return 0;
}
