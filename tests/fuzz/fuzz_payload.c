/* libFuzzer target for everything that reads a payload. The invariant: any bytes give results or
 * one named error; results are the same bits from every instruction set, and nothing is read or
 * written outside the buffers (AddressSanitizer watches; all are exactly sized).
 *
 * Random bytes never pass a CRC, so the mutator below also puts checksums right, and sometimes
 * the whole frame, so that what lies behind each check is reached.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "../core/forge.h"
#include "require.h"

#include <stdbool.h>

/* A cap on elements a vector, as a reader has one: a few blocks of the smallest length. */
enum { MAX_ELEMENTS = 3000 };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
int LLVMFuzzerInitialize(int *n_arguments, char ***arguments);

/* The same read by one instruction set: the bits of all results. */
struct results {
    float *decoded, *accumulated, *average, *median;
    double distance2, norm2, far[9];
    learnae_status verified, distance;
};

static float pattern[MAX_ELEMENTS];
static const char *isas[8]; /* asked once: under a hypervisor that is slow */
static size_t n_isas;

int LLVMFuzzerInitialize(int *n_arguments, char ***arguments) {
    (void)n_arguments;
    (void)arguments;
    for (size_t i = 0; i < MAX_ELEMENTS; i++) {
        pattern[i] = (float)(i % 7) - 3;
    }
    for (n_isas = 0; n_isas < learnae_n_isas(); n_isas++) {
        REQUIRE(n_isas < sizeof isas / sizeof isas[0]);
        isas[n_isas] = learnae_isa_name(n_isas);
    }
    return 0;
}

static float *floats(size_t n) {
    float *values = malloc(n * sizeof *values);
    REQUIRE(values != NULL);
    memcpy(values, pattern, n * sizeof *values);
    return values;
}

static struct results read_vector(const learnae_payload *payload, const learnae_payload *other,
                                  uint32_t vector, size_t isa) {
    const size_t n = (size_t)payload->n_elements;
    struct results results = {
        .decoded = floats(n), .accumulated = floats(n), .average = floats(n), .median = floats(n)};
    REQUIRE(learnae_set_isa(isas[isa]) == LEARNAE_OK);
    learnae_message message;
    results.verified = learnae_payload_verify(payload, &message);
    REQUIRE(learnae_payload_decode(payload, vector, results.decoded, NULL) == LEARNAE_OK);
    results.distance = learnae_payload_distance(payload, vector, results.average,
                                                &results.distance2, &results.norm2, &message);
    REQUIRE(learnae_payload_accumulate(payload, vector, 0.75f, results.accumulated, NULL) ==
            LEARNAE_OK);
    /* two codecs and two block lengths in one average, if the other's vector exists */
    const learnae_payload *list[3] = {payload, payload, other};
    const float weights[3] = {0.5f, -1e30f, 2};
    REQUIRE(learnae_payload_average(results.average, 0.25f, list, weights,
                                    vector < other->n_vectors ? 3 : 2, vector, n,
                                    NULL) == LEARNAE_OK);
    const size_t n_two = vector < other->n_vectors ? 2 : 1;
    REQUIRE(learnae_payload_median(results.median, results.median, list + 1, n_two, vector, n,
                                   NULL) == LEARNAE_OK);
    REQUIRE(learnae_payload_distances(results.far, results.median, list + 1, n_two, vector, n,
                                      NULL) == LEARNAE_OK);
    return results;
}

static void free_results(struct results *results) {
    free(results->decoded);
    free(results->accumulated);
    free(results->average);
    free(results->median);
}

__attribute__((no_sanitize("coverage"))) /* a loop over elements: nothing to learn there */
static void
compare(const struct results *a, const struct results *b, size_t n) {
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        finite = finite && a->decoded[i] - a->decoded[i] == 0;
    }
    REQUIRE(a->distance == (finite ? LEARNAE_OK : LEARNAE_ERR_NONFINITE));
    REQUIRE(a->verified == b->verified && a->distance == b->distance);
    REQUIRE(memcmp(a->decoded, b->decoded, n * sizeof(float)) == 0);
    REQUIRE(memcmp(a->accumulated, b->accumulated, n * sizeof(float)) == 0);
    REQUIRE(memcmp(a->average, b->average, n * sizeof(float)) == 0);
    REQUIRE(memcmp(a->median, b->median, n * sizeof(float)) == 0);
    REQUIRE(memcmp(a->far, b->far, sizeof a->far) == 0);
    REQUIRE(memcmp(&a->distance2, &b->distance2, sizeof(double)) == 0);
    REQUIRE(memcmp(&a->norm2, &b->norm2, sizeof(double)) == 0);
}

/* A payload of the library's own, in another codec, to average with and to be the base. */
static uint8_t *own_payload(const learnae_payload *payload, learnae_payload *own) {
    const size_t n = (size_t)payload->n_elements;
    const uint32_t codec = payload->codec % FORGE_LAST_CODEC + 1;
    size_t nbytes;
    float *values = floats(n);
    const float *const vectors[LEARNAE_N_VECTORS_MAX] = {values, values, values, values};
    const uint32_t n_vectors = payload->n_vectors;
    REQUIRE(learnae_payload_nbytes(codec, n_vectors, n, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = malloc(nbytes);
    REQUIRE(bytes != NULL);
    REQUIRE(learnae_payload_write(bytes, nbytes, codec, payload->schema, vectors, n_vectors, n,
                                  NULL) == LEARNAE_OK);
    REQUIRE(learnae_payload_open(bytes, nbytes, n, own, NULL) == LEARNAE_OK);
    free(values);
    return bytes;
}

/* As a difference, whether it says so or not: the sum, as one instruction set gives it. */
static uint8_t *rebased(const learnae_payload *base, const learnae_payload *payload, size_t isa,
                        size_t *nbytes) {
    learnae_payload difference = *payload;
    difference.base[0] = 1;
    REQUIRE(learnae_set_isa(isas[isa]) == LEARNAE_OK);
    REQUIRE(learnae_payload_nbytes(LEARNAE_CODEC_F32, payload->n_vectors, payload->n_elements,
                                   nbytes, NULL) == LEARNAE_OK);
    uint8_t *sum = malloc(*nbytes);
    REQUIRE(sum != NULL);
    REQUIRE(learnae_payload_rebase(sum, *nbytes, base, &difference, NULL) == LEARNAE_OK);
    return sum;
}

static void compare_rebased(const learnae_payload *base, const learnae_payload *payload, size_t isa,
                            size_t other) {
    size_t nbytes;
    uint8_t *a = rebased(base, payload, isa, &nbytes), *b = rebased(base, payload, other, &nbytes);
    REQUIRE(memcmp(a, b, nbytes) == 0);
    free(a);
    free(b);
}

/* Codecs delta, i8z and i4z have no values of their own: whoever wants some is told so. What they
 * give with a base or unpacked, fuzz_difference.c and fuzz_packed.c try. */
static void refuse_values(const learnae_payload *delta) {
    const size_t n = (size_t)delta->n_elements;
    float *dst = floats(n);
    double numbers[9];
    const float weight = 1;
    learnae_payload_verify(delta, NULL);
    REQUIRE(learnae_payload_decode(delta, 0, dst, NULL) == LEARNAE_ERR_ARGUMENT);
    REQUIRE(learnae_payload_accumulate(delta, 0, weight, dst, NULL) == LEARNAE_ERR_ARGUMENT);
    REQUIRE(learnae_payload_average(dst, weight, &delta, &weight, 1, 0, n, NULL) ==
            LEARNAE_ERR_ARGUMENT);
    REQUIRE(learnae_payload_median(dst, dst, &delta, 1, 0, n, NULL) == LEARNAE_ERR_ARGUMENT);
    REQUIRE(learnae_payload_distance(delta, 0, dst, numbers, numbers + 1, NULL) ==
            LEARNAE_ERR_ARGUMENT);
    REQUIRE(learnae_payload_distances(numbers, dst, &delta, 1, 0, n, NULL) == LEARNAE_ERR_ARGUMENT);
    REQUIRE(memcmp(dst, pattern, n * sizeof *dst) == 0);
    free(dst);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    learnae_payload payload, own;
    learnae_message message = {{0}};
    const learnae_status status =
        learnae_payload_open(data, size, MAX_ELEMENTS, &payload, &message);
    REQUIRE((status == LEARNAE_OK) == (message.text[0] == 0));
    REQUIRE(strlen(message.text) < sizeof message.text - 1); /* no message is cut */
    if (status != LEARNAE_OK) {
        REQUIRE(status != LEARNAE_ERR_ARGUMENT && status != LEARNAE_ERR_NONFINITE);
        return 0;
    }
    if (payload.codec >= LEARNAE_CODEC_DELTA) {
        refuse_values(&payload);
        return 0;
    }
    uint8_t *own_bytes = own_payload(&payload, &own);
    /* one vector and one other instruction set an execution: speed finds more than repetition */
    const uint32_t vector = data[FORGE_SCHEMA] % payload.n_vectors;
    const size_t last = n_isas - 1; /* portable, the reference */
    struct results reference = read_vector(&payload, &own, vector, last);
    const size_t isa = data[FORGE_SCHEMA + 1] % (last + 1);
    struct results results = read_vector(&payload, &own, vector, isa);
    compare(&results, &reference, (size_t)payload.n_elements);
    compare_rebased(&own, &payload, isa, last);
    free_results(&results);
    free_results(&reference);
    free(own_bytes);
    return 0;
}

/* Frame the bytes as a payload of the counts their header names, brought into range. */
static size_t frame(uint8_t *data, size_t size, size_t max_size) {
    const uint64_t range = data[FORGE_SCHEMA + 2] % 16 == 0 ? 1200 : 300; /* small ones are fast */
    struct forge forge = {1 + data[FORGE_CODEC] % (uint32_t)FORGE_LAST_CODEC,
                          1 + data[FORGE_N_VECTORS] % 4u,
                          1 + forge_get(data + FORGE_N_ELEMENTS, 2) % range,
                          256 * (1 + data[FORGE_BLOCK_LENGTH + 1] % 4u)};
    while (forge_nbytes(&forge) > max_size && forge.n_elements > 1) {
        forge.n_elements /= 2;
    }
    const size_t nbytes = (size_t)forge_nbytes(&forge);
    if (nbytes > max_size) {
        return size;
    }
    if (nbytes > size) {
        memset(data + size, 0, nbytes - size);
    }
    forge_frame(&forge, data);
    /* Padding mostly zero, so that verification passes in a good part of the cases. */
    const uint64_t blocks = forge_blocks(&forge);
    uint8_t *at = data + LEARNAE_HEADER_NBYTES + forge_up(8 * blocks * forge.n_vectors);
    for (uint64_t i = 0; i < blocks * forge.n_vectors; i++) {
        const uint64_t content = forge_content(forge.codec, forge_length(&forge, i % blocks));
        if (data[FORGE_SCHEMA] % 8 != 0) {
            memset(at + content, 0, (size_t)(forge_up(content) - content));
        }
        at += forge_up(content);
    }
    return nbytes;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    const unsigned mode = seed % 8;
    if (mode >= 4 && size >= LEARNAE_HEADER_NBYTES + 64) { /* frame, then damage a little */
        if (mode != 7) {
            size = LLVMFuzzerMutate(data, size, max_size);
        }
        if (size >= LEARNAE_HEADER_NBYTES) {
            size = frame(data, size, max_size);
        }
        if (mode == 7) { /* one byte of header or table */
            const size_t at = seed / 8 % (LEARNAE_HEADER_NBYTES + 64);
            data[at < size ? at : 0] ^= (uint8_t)(1u << seed / 2048 % 8);
        }
    } else {
        size = LLVMFuzzerMutate(data, size, max_size);
    }
    if (mode != 0) {
        forge_seal(data, size);
    }
    return size;
}
