/* The pool: the same bits with any number of threads, calls at once, forks, and changes of the
 * number of threads while calls are under way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"
#include "forge.h"

#include <pthread.h>
#include <sys/wait.h>

enum { N_MODELS = 7, LENGTH = 150001, N_CALLS = 40 };

/* Models of 4.2 MB together, far above where the pool comes in, and what one thread makes. */
static float *models[N_MODELS];
static float weights[N_MODELS];
static float *expected;

static const float *const *const_models(void) {
    return (const float *const *)models;
}

static void prepare(void) {
    for (size_t k = 0; k < N_MODELS; k++) {
        models[k] = checked_alloc(LENGTH * sizeof(float));
        fill_floats(models[k], LENGTH, FILL_ANY);
        weights[k] = random_float();
    }
    expected = checked_alloc(LENGTH * sizeof(float));
    CHECK(learnae_n_threads() == 1);
    CHECK(learnae_average(expected, const_models(), weights, N_MODELS, LENGTH, NULL) == LEARNAE_OK);
}

static void check_one(float *dst) {
    memset(dst, 0xff, LENGTH * sizeof *dst);
    CHECK(learnae_average(dst, const_models(), weights, N_MODELS, LENGTH, NULL) == LEARNAE_OK);
    CHECK(memcmp(dst, expected, LENGTH * sizeof *dst) == 0);
}

static void test_number(void) {
    CHECK(learnae_set_threads(0) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_set_threads(LEARNAE_N_THREADS_MAX + 1) == LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_n_threads() == 1);
    float *dst = checked_alloc(LENGTH * sizeof *dst);
    for (size_t n = 1; n <= 8; n++) {
        CHECK(learnae_set_threads(n) == LEARNAE_OK && learnae_n_threads() == n);
        for (int call = 0; call < N_CALLS; call++) {
            check_one(dst);
        }
    }
    CHECK(learnae_set_threads(1) == LEARNAE_OK && learnae_n_threads() == 1);
    free(dst);
}

/* Leaves of many sizes, none of them a neighbour of the next, in place of the second model. */
static void check_leaves(const size_t *lengths, size_t n_leaves) {
    enum { MAX_LEAVES = 300 };
    static const float *rows[N_MODELS * MAX_LEAVES];
    static float *dst[MAX_LEAVES];
    static struct guarded buffers[MAX_LEAVES];
    CHECK(n_leaves <= MAX_LEAVES);
    for (size_t leaf = 0, at = 0; leaf < n_leaves; at += lengths[leaf++]) {
        at = at + lengths[leaf] <= LENGTH ? at : 0;
        for (size_t k = 0; k < N_MODELS; k++) {
            rows[k * n_leaves + leaf] = models[k] + at;
        }
        dst[leaf] = guarded_floats(&buffers[leaf], lengths[leaf], GUARD_END);
        memcpy(dst[leaf], models[1] + at, lengths[leaf] * sizeof(float));
        rows[n_leaves + leaf] = dst[leaf];
    }
    CHECK(learnae_average_leaves(dst, rows, weights, N_MODELS, lengths, n_leaves, NULL) ==
          LEARNAE_OK);
    for (size_t leaf = 0, at = 0; leaf < n_leaves; at += lengths[leaf++]) {
        at = at + lengths[leaf] <= LENGTH ? at : 0;
        CHECK(memcmp(dst[leaf], expected + at, lengths[leaf] * sizeof(float)) == 0);
        guarded_free(&buffers[leaf]);
    }
}

static void test_leaves(void) {
    size_t lengths[300];
    const size_t large[] = {0, LENGTH, 0, 16384, 1, 0, 32768, 100000, 16385, 0};
    for (size_t n_threads = 1; n_threads <= 3; n_threads++) {
        CHECK(learnae_set_threads(n_threads) == LEARNAE_OK);
        check_leaves(large, sizeof large / sizeof large[0]);
        check_leaves(large, 0);
        check_leaves(large, 1);
        for (size_t i = 0; i < 300; i++) {
            lengths[i] = random_below(i % 50 == 0 ? 70000 : 300);
        }
        check_leaves(lengths, 300);
    }
}

static void test_leaves_refused(void) {
    float a[2] = {1, 2};
    float *dst[2] = {a, NULL};
    const float *rows[4] = {a, NULL, NULL, NULL};
    const float factors[2] = {1, 2};
    size_t lengths[2] = {2, 0};
    learnae_message message;
    CHECK(learnae_average_leaves(dst, rows, factors, 0, lengths, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(learnae_average_leaves(dst, rows, factors, 2, lengths, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "models[2] is NULL") != NULL);
    CHECK(learnae_average_leaves(dst, rows, factors, 1, lengths, 2, &message) == LEARNAE_OK);
    lengths[1] = 1;
    CHECK(learnae_average_leaves(dst, rows, factors, 1, lengths, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
    CHECK(strstr(message.text, "dst[1] is NULL") != NULL);
    CHECK(learnae_average_leaves(NULL, NULL, factors, 1, NULL, 0, &message) == LEARNAE_OK);
    CHECK(learnae_average_leaves(NULL, rows, factors, 1, lengths, 2, &message) ==
          LEARNAE_ERR_ARGUMENT);
}

/* The first byte of a block. */
static size_t block_at(const uint8_t *bytes, size_t block) {
    size_t at = LEARNAE_HEADER_NBYTES + (size_t)forge_up(8 * forge_get(bytes + FORGE_N_BLOCKS, 4));
    for (size_t i = 0; i < block; i++) {
        at += (size_t)forge_get(bytes + LEARNAE_HEADER_NBYTES + 8 * i, 4);
    }
    return at;
}

/* Payloads written, read, merged and checked by three threads and by one. */
static void check_payload(uint32_t codec) {
    static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1};
    static const float factors[N_MODELS] = {0.5f, -1, 0.25f, 3, 1, 0.125f, 2};
    const float *vectors[2] = {models[0], models[1]};
    const learnae_payload *payloads[N_MODELS];
    learnae_payload payload;
    learnae_message message;
    size_t nbytes;
    CHECK(learnae_payload_nbytes(codec, 2, LENGTH, &nbytes, NULL) == LEARNAE_OK);
    uint8_t *bytes[2];
    float *results[2];
    for (size_t i = 0; i < 2; i++) {
        bytes[i] = checked_alloc(nbytes);
        results[i] = checked_alloc(2 * LENGTH * sizeof(float));
        memcpy(results[i], models[2], LENGTH * sizeof(float));
        CHECK(learnae_set_threads(1 + 2 * i) == LEARNAE_OK);
        CHECK(learnae_payload_write(bytes[i], nbytes, codec, schema, vectors, 2, LENGTH, NULL) ==
              LEARNAE_OK);
        CHECK(learnae_payload_open(bytes[i], nbytes, LENGTH, &payload, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_verify(&payload, NULL) == LEARNAE_OK);
        for (size_t k = 0; k < N_MODELS; k++) {
            payloads[k] = &payload;
        }
        CHECK(learnae_payload_average(results[i], 0.5f, payloads, factors, N_MODELS, 1, LENGTH,
                                      NULL) == LEARNAE_OK);
        CHECK(learnae_payload_decode(&payload, 1, results[i] + LENGTH, NULL) == LEARNAE_OK);
    }
    CHECK(memcmp(bytes[0], bytes[1], nbytes) == 0);
    CHECK(memcmp(results[0], results[1], 2 * LENGTH * sizeof(float)) == 0);
    /* of many damaged blocks the first is named: number 3, in spite of 5 and the last */
    bytes[1][block_at(bytes[1], payload.n_blocks - 1)] ^= 1;
    bytes[1][block_at(bytes[1], 5)] ^= 1;
    bytes[1][block_at(bytes[1], 3)] ^= 1;
    for (int call = 0; call < N_CALLS; call++) {
        CHECK(learnae_payload_verify(&payload, &message) == LEARNAE_ERR_CHECKSUM);
        CHECK(strstr(message.text, "block 3 of") != NULL);
    }
    for (size_t i = 0; i < 2; i++) {
        free(bytes[i]);
        free(results[i]);
    }
}

/* Of many elements that cannot be written the first is named. */
static void check_nonfinite(void) {
    static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1};
    float *vector = checked_alloc(LENGTH * sizeof(float));
    memset(vector, 0, LENGTH * sizeof(float));
    vector[LENGTH - 1] = vector[70000] = vector[40001] = float_from_bits(0x7f800000);
    const float *vectors[1] = {vector};
    size_t nbytes;
    CHECK(learnae_payload_nbytes(LEARNAE_CODEC_I8, 1, LENGTH, &nbytes, NULL) == LEARNAE_OK);
    void *bytes = checked_alloc(nbytes);
    for (int call = 0; call < N_CALLS; call++) {
        learnae_message message;
        CHECK(learnae_payload_write(bytes, nbytes, LEARNAE_CODEC_I8, schema, vectors, 1, LENGTH,
                                    &message) == LEARNAE_ERR_NONFINITE);
        CHECK(strstr(message.text, "an infinity at element 40001") != NULL);
    }
    free(bytes);
    free(vector);
}

static void test_payloads(void) {
    for (size_t k = 0; k < 3; k++) {
        fill_floats(models[k], LENGTH, FILL_FINITE);
    }
    for (uint32_t codec = LEARNAE_CODEC_F32; codec <= LEARNAE_CODEC_TOPK; codec++) {
        check_payload(codec);
    }
    check_nonfinite();
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
    CHECK(learnae_average(expected, const_models(), weights, N_MODELS, LENGTH, NULL) == LEARNAE_OK);
}

static void *caller(void *unused) {
    (void)unused;
    float *dst = checked_alloc(LENGTH * sizeof *dst);
    for (int call = 0; call < N_CALLS; call++) {
        check_one(dst);
    }
    free(dst);
    return NULL;
}

/* Three callers and, in this thread, changes of the number under them. */
static void test_callers_at_once(void) {
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, caller, NULL) == 0);
    }
    for (size_t i = 0; i < 3 * N_CALLS; i++) {
        CHECK(learnae_set_threads(1 + i % 4) == LEARNAE_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* While another thread has the pool: the child has one thread, works, and can ask for more. */
static void test_fork(void) {
    pthread_t other;
    CHECK(learnae_set_threads(3) == LEARNAE_OK);
    CHECK(pthread_create(&other, NULL, caller, NULL) == 0);
    for (int i = 0; i < 5; i++) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            float *dst = checked_alloc(LENGTH * sizeof *dst);
            CHECK(learnae_n_threads() == 1);
            check_one(dst);
            CHECK(learnae_set_threads(2) == LEARNAE_OK);
            check_one(dst);
            CHECK(learnae_set_threads(1) == LEARNAE_OK);
            free(dst);
            _exit(0);
        }
        int status = 1;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(learnae_n_threads() == 3);
    }
    CHECK(pthread_join(other, NULL) == 0);
}

int main(void) {
    prepare();
    test_number();
    test_leaves();
    test_leaves_refused();
    test_payloads();
    test_callers_at_once();
    test_fork();
    CHECK(learnae_set_threads(1) == LEARNAE_OK);
    for (size_t k = 0; k < N_MODELS; k++) {
        free(models[k]);
    }
    free(expected);
    return 0;
}
