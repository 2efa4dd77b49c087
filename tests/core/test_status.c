/* Statuses, messages, and the choice of the instruction set.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

static learnae_message message;

static bool says(const char *part) {
    const bool found = strstr(message.text, part) != NULL;
    if (!found) {
        fprintf(stderr, "message: %s\n", message.text);
    }
    const bool one_line = strchr(message.text, '\n') == NULL && strlen(message.text) > 10;
    memset(&message, 0, sizeof message);
    return found && one_line;
}

static void test_names(void) {
    CHECK(strcmp(learnae_version(), LEARNAE_VERSION) == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_OK), "ok") == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_ERR_ARGUMENT), "argument") == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_ERR_SIZE), "size") == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_ERR_FORMAT), "format") == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_ERR_CHECKSUM), "checksum") == 0);
    CHECK(strcmp(learnae_status_name(LEARNAE_ERR_NONFINITE), "nonfinite") == 0);
    CHECK(strcmp(learnae_status_name((learnae_status)99), "unknown") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_F32), "f32") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_BF16), "bf16") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_F16), "f16") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_I8), "i8") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_I4), "i4") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_SIGN), "sign") == 0);
    CHECK(strcmp(learnae_codec_name(LEARNAE_CODEC_TERNARY), "ternary") == 0);
    CHECK(learnae_codec_name(0) == NULL && learnae_codec_name(1000) == NULL);
    CHECK(learnae_codec_name(UINT32_MAX) == NULL);
}

static void test_isas(void) {
    const size_t n = learnae_n_isas();
    CHECK(n >= 1);
    CHECK(strcmp(learnae_isa(), learnae_isa_name(0)) == 0); /* the best, unasked */
    CHECK(strcmp(learnae_isa_name(n - 1), "portable") == 0);
    CHECK(learnae_isa_name(n) == NULL && learnae_isa_name(SIZE_MAX) == NULL);
    for (size_t i = 0; i < n; i++) {
        CHECK(learnae_set_isa(learnae_isa_name(i)) == LEARNAE_OK);
        CHECK(strcmp(learnae_isa(), learnae_isa_name(i)) == 0);
    }
    CHECK(learnae_set_isa("sse9") == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_set_isa("") == LEARNAE_ERR_ARGUMENT);
    CHECK(strcmp(learnae_isa(), "portable") == 0); /* unchanged */
    CHECK(learnae_set_isa("best") == LEARNAE_OK);
    CHECK(strcmp(learnae_isa(), learnae_isa_name(0)) == 0);
    CHECK(learnae_set_isa("portable") == LEARNAE_OK && learnae_set_isa(NULL) == LEARNAE_OK);
    CHECK(strcmp(learnae_isa(), learnae_isa_name(0)) == 0);
#if defined(__aarch64__)
    CHECK(strcmp(learnae_isa(), "neon") == 0);
#endif
}

static void test_average_arguments(void) {
    float a[4] = {1, 2, 3, 4}, before[4];
    const float *models[2] = {a, NULL};
    const float weights[2] = {0.5f, 0.5f};
    memcpy(before, a, sizeof a);
    CHECK(learnae_average(a, models, weights, 0, 4, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("n_models is 0"));
    CHECK(learnae_average(a, models, weights, 2, 4, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("models[1] is NULL"));
    CHECK(learnae_average(a, NULL, weights, 2, 4, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("NULL"));
    CHECK(learnae_average(NULL, models, weights, 1, 4, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_average(NULL, models, weights, 1, 0, NULL) == LEARNAE_OK);
    CHECK(learnae_mix(a, a, -0.01f, 4, &message) == LEARNAE_ERR_ARGUMENT && says("rate is -0.01"));
    CHECK(learnae_mix(a, a, 1.01f, 4, &message) == LEARNAE_ERR_ARGUMENT && says("[0, 1]"));
    const float nan = float_from_bits(0x7fc00000);
    CHECK(learnae_mix(a, a, nan, 4, &message) == LEARNAE_ERR_ARGUMENT && says("rate"));
    CHECK(learnae_mix(a, NULL, 0.5f, 4, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("params or mean is NULL"));
    CHECK(learnae_mix(NULL, a, 0.5f, 4, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_mix(NULL, NULL, 0.5f, 0, NULL) == LEARNAE_OK);
    CHECK(memcmp(a, before, sizeof a) == 0);
    CHECK(learnae_mix(a, a, 0.0f, 4, &message) == LEARNAE_OK);
    CHECK(message.text[0] == 0); /* left alone on success */
}

static void test_nbytes_arguments(void) {
    size_t nbytes = 7;
    CHECK(learnae_payload_nbytes(0, 1, 1, &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("codec 0"));
    CHECK(learnae_payload_nbytes(1000, 1, 1, &nbytes, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_nbytes(1, 0, 1, &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("n_vectors is 0"));
    CHECK(learnae_payload_nbytes(1, 5, 1, &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("1 to 4"));
    CHECK(learnae_payload_nbytes(1, 1, 0, &nbytes, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("n_elements is 0"));
    CHECK(learnae_payload_nbytes(1, 1, 1, NULL, &message) == LEARNAE_ERR_ARGUMENT && says("NULL"));
    CHECK(learnae_payload_nbytes(1, 4, UINT64_MAX, &nbytes, &message) == LEARNAE_ERR_SIZE);
    CHECK(says("18446744073709551615 elements"));
    const uint64_t most = (uint64_t)UINT32_MAX * LEARNAE_BLOCK_LENGTH;
    CHECK(learnae_payload_nbytes(1, 1, most + 1, &nbytes, NULL) == LEARNAE_ERR_SIZE);
    CHECK(learnae_payload_nbytes(1, 2, most / 2 + LEARNAE_BLOCK_LENGTH, &nbytes, NULL) ==
          LEARNAE_ERR_SIZE);
    CHECK(nbytes == 7);
    CHECK(learnae_payload_nbytes(1, 1, most, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == 128 + 8 * ((uint64_t)UINT32_MAX + 1) + 4 * most);
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_I8, 2, 16384 + 1, &nbytes, NULL) == LEARNAE_OK);
    CHECK(nbytes == 128 + 64 + 2 * (16640 + 64));
}

static void test_payload_arguments(void) {
    uint8_t bytes[256], schema[LEARNAE_SCHEMA_NBYTES] = {0};
    float values[2] = {1, 2};
    const float *vectors[2] = {values, NULL};
    CHECK(learnae_payload_write(bytes, 255, 1, schema, vectors, 1, 2, &message) ==
          LEARNAE_ERR_SIZE);
    CHECK(says("dst has 255 bytes, the payload needs 256"));
    CHECK(learnae_payload_write(bytes, 256, 1, schema, vectors, 2, 2, NULL) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_write(NULL, 256, 1, schema, vectors, 1, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(says("NULL"));
    CHECK(learnae_payload_write(bytes, 256, 1, schema, vectors, 1, 2, &message) == LEARNAE_OK);
    learnae_payload payload, other;
    CHECK(learnae_payload_open(bytes, 256, 2, NULL, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_open(NULL, 256, 2, &payload, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_open(NULL, 0, 2, &payload, &message) == LEARNAE_ERR_FORMAT);
    CHECK(says("0 bytes"));
    CHECK(learnae_payload_open(bytes, 256, 1, &payload, &message) == LEARNAE_ERR_SIZE);
    CHECK(says("2 elements a vector; the cap is 1"));
    CHECK(learnae_payload_open(bytes, 256, 2, &payload, &message) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&payload, &message) == LEARNAE_OK);
    CHECK(learnae_payload_verify(NULL, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_decode(&payload, 1, values, &message) == LEARNAE_ERR_ARGUMENT);
    CHECK(says("vector 1 does not exist; the payload has 1"));
    CHECK(learnae_payload_decode(&payload, 0, NULL, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_decode(NULL, 0, values, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_accumulate(&payload, 4, 1, values, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_accumulate(&payload, 0, 1, NULL, NULL) == LEARNAE_ERR_ARGUMENT);
    double d = 0;
    CHECK(learnae_payload_distance(&payload, 1, NULL, &d, &d, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_distance(&payload, 0, NULL, NULL, &d, NULL) == LEARNAE_ERR_ARGUMENT);
    const learnae_payload *list[2] = {&payload, &other};
    const float weights[2] = {1, 1};
    other = payload;
    other.n_elements = 1;
    CHECK(learnae_payload_average(values, 1, list, weights, 2, 0, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(says("payload 1 has 1 elements, dst has 2"));
    CHECK(learnae_payload_average(values, 1, list, weights, 1, 1, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_average(values, 1, NULL, weights, 1, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_payload_average(NULL, 1, list, weights, 1, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    list[0] = NULL;
    CHECK(learnae_payload_average(values, 1, list, weights, 1, 0, 2, NULL) == LEARNAE_ERR_ARGUMENT);
    CHECK(values[0] == 1 && values[1] == 2 && d == 0); /* nothing half-done */
    CHECK(learnae_payload_average(values, 0.5f, NULL, NULL, 0, 0, 2, NULL) == LEARNAE_OK);
    CHECK(values[0] == 0.5f && values[1] == 1);
}

static void test_nonfinite_on_writing(void) {
    const size_t n = 20000;
    float *values = checked_alloc(n * sizeof *values);
    fill_floats(values, n, FILL_PLAIN);
    size_t nbytes;
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_I8, 2, n, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes = checked_alloc(nbytes), schema[LEARNAE_SCHEMA_NBYTES] = {0};
    float *good = checked_alloc(n * sizeof *good);
    memcpy(good, values, n * sizeof *good);
    const float *vectors[2] = {good, values};
    values[17001] = float_from_bits(0xffc00001);
    CHECK(learnae_payload_write(bytes, nbytes, LEARNAE_CODEC_I8, schema, vectors, 2, n, &message) ==
          LEARNAE_ERR_NONFINITE);
    CHECK(says("vector 1 has NaN at element 17001"));
    values[3] = float_from_bits(0xff800000);
    CHECK(learnae_payload_write(bytes, nbytes, LEARNAE_CODEC_I8, schema, vectors, 2, n, &message) ==
          LEARNAE_ERR_NONFINITE);
    CHECK(says("vector 1 has an infinity at element 3"));
    free(values);
    free(good);
    free(bytes);
}

int main(void) {
    test_names();
    test_isas();
    test_average_arguments();
    test_nbytes_arguments();
    test_payload_arguments();
    check_every_isa(test_nonfinite_on_writing);
    return 0;
}
