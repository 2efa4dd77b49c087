/* How deep the library goes into the stack: learnae.h promises 192 KiB, which embedded programs
 * and musl's small threads are built around.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

#include <pthread.h>

/* The blocks of several steps of the pool's queue, and a last one that is short. */
enum { N = 5 * LEARNAE_BLOCK_LENGTH + 12345, N_MODELS = 33, STACK_NBYTES = 2 << 20, PAINT = 0xa5 };

#if defined(__SANITIZE_ADDRESS__)
#define INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define INSTRUMENTED 1
#endif
#endif

#if defined(INSTRUMENTED) || !defined(__OPTIMIZE__)
enum { LIMIT_NBYTES = STACK_NBYTES / 2 }; /* red zones, and variables that nobody merged */
#else
enum { LIMIT_NBYTES = 192 << 10 };
#endif

static const uint8_t schema[LEARNAE_SCHEMA_NBYTES] = {1, 2, 3};
static const uint8_t cid[LEARNAE_CID_NBYTES] = {1, 0x55, 0x12, 0x20, 9, 9};
static float *models[N_MODELS], *out;
static float weights[N_MODELS];

/* The bytes of a payload; free them. */
static uint8_t *written(uint32_t codec, const float *vector, const learnae_payload *base,
                        learnae_payload *payload) {
    static const size_t leaves[] = {1, 0, 300, N - 301};
    const learnae_write_options options = {.size = sizeof options,
                                           .base = base,
                                           .base_cid = base == NULL ? NULL : cid,
                                           .leaf_elements = leaves,
                                           .n_leaves = 4};
    const float *const parts[] = {vector, NULL, vector + 1, vector + 301};
    size_t bound, nbytes;
    CHECK(learnae_payload_bound(codec, 1, N, &options, &bound, NULL) == LEARNAE_OK);
    uint8_t *bytes = checked_alloc(bound);
    CHECK(learnae_payload_write_with(bytes, bound, codec, schema, parts, 1, N, &options, &nbytes,
                                     NULL) == LEARNAE_OK);
    CHECK(learnae_payload_open(bytes, nbytes, N, payload, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(payload, NULL) == LEARNAE_OK);
    return bytes;
}

static void use_arrays(void) {
    const float *const *all = (const float *const *)models;
    double *distances2 = checked_alloc(N_MODELS * N_MODELS * sizeof *distances2);
    size_t selected;
    CHECK(learnae_average(out, all, weights, N_MODELS, N, NULL) == LEARNAE_OK);
    CHECK(learnae_mix(out, models[0], 0.5f, N, NULL) == LEARNAE_OK);
    for (size_t n = 1; n <= N_MODELS; n += 8) {
        CHECK(learnae_trimmed_mean(out, all, n, n / 4, N, NULL) == LEARNAE_OK);
        CHECK(learnae_median(out, all, n, N, NULL) == LEARNAE_OK);
        CHECK(learnae_distances(distances2, all, n, N, NULL) == LEARNAE_OK);
    }
    CHECK(learnae_distances(distances2, all, N_MODELS, N, NULL) == LEARNAE_OK);
    CHECK(learnae_krum(&selected, NULL, distances2, N_MODELS, 3, 1, NULL) == LEARNAE_OK);
    free(distances2);
}

/* Of one codec, as it stands alone or, where it cannot, as a difference. */
static void use_payloads(uint32_t codec) {
    learnae_payload views[N_MODELS], base;
    const learnae_payload *all[N_MODELS];
    uint8_t *bytes[N_MODELS];
    uint8_t *base_bytes = written(LEARNAE_CODEC_I8, models[0], NULL, &base);
    const bool alone = codec != LEARNAE_CODEC_DELTA;
    for (size_t k = 0; k < N_MODELS; k++) {
        bytes[k] = written(codec, models[k], alone ? NULL : &base, &views[k]);
        all[k] = &views[k];
    }
    if (alone) {
        double distance2, norm2, *distances2 = checked_alloc(64 * 64 * sizeof *distances2);
        float clipped[N_MODELS];
        CHECK(learnae_payload_decode(all[0], 0, out, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_accumulate(all[0], 0, 0.5f, out, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_average(out, 0.5f, all, weights, N_MODELS, 0, N, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_distance(all[0], 0, out, &distance2, &norm2, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_median(out, out, all, N_MODELS, 0, N, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_trimmed_mean(out, out, all, 9, 2, 0, N, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_distances(distances2, out, all, N_MODELS, 0, N, NULL) == LEARNAE_OK);
        CHECK(learnae_payload_clip(out, all, weights, N_MODELS, 1.0, 0, N, clipped, NULL) ==
              LEARNAE_OK);
        free(distances2);
    }
    learnae_payload difference;
    uint8_t *difference_bytes = written(codec, models[1], &base, &difference);
    uint8_t *sum = checked_alloc(N * 5);
    CHECK(learnae_payload_rebase(sum, N * 5, &base, &difference, NULL) == LEARNAE_OK);
    for (size_t k = 0; k < N_MODELS; k++) {
        free(bytes[k]);
    }
    free(difference_bytes);
    free(sum);
    free(base_bytes);
}

/* A payload made smaller, and read again. */
static void use_packed(uint32_t codec) {
    learnae_payload plain, packed;
    size_t bound, nbytes;
    uint8_t *bytes = written(codec, models[0], NULL, &plain);
    CHECK(learnae_payload_pack_bound(&plain, &bound, NULL) == LEARNAE_OK);
    uint8_t *smaller = checked_alloc(bound);
    CHECK(learnae_payload_pack(smaller, bound, &plain, &nbytes, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_open(smaller, nbytes, N, &packed, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_verify(&packed, NULL) == LEARNAE_OK);
    CHECK(learnae_payload_unpack(bytes, plain.nbytes, &packed, NULL) == LEARNAE_OK);
    free(bytes);
    free(smaller);
}

/* Everything that walks blocks. Returns where the stack was when it began. */
static void *use_all(void *unused) {
    (void)unused;
    void *began = __builtin_frame_address(0); /* sanitizers may put variables elsewhere */
    use_arrays();
    for (uint32_t codec = 1; codec <= LEARNAE_CODEC_DELTA; codec++) {
        use_payloads(codec);
    }
    use_packed(LEARNAE_CODEC_I8);
    use_packed(LEARNAE_CODEC_I4);
    return began;
}

/* What nobody has written to since is still painted. Sanitizers call it out of bounds. */
#if defined(__clang__)
__attribute__((no_sanitize("address", "memory", "thread")))
#endif
static const uint8_t *lowest_touched(const uint8_t *stack) {
    while (*stack == PAINT) {
        stack++;
    }
    return stack;
}

static void test_depth(void) {
    uint8_t *stack =
        mmap(NULL, STACK_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    memset(stack, PAINT, STACK_NBYTES);
    pthread_attr_t attributes;
    pthread_t thread;
    void *began = NULL;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK_NBYTES) == 0);
    CHECK(pthread_create(&thread, &attributes, use_all, NULL) == 0);
    CHECK(pthread_join(thread, &began) == 0);
    pthread_attr_destroy(&attributes);
    const size_t depth = (size_t)((uint8_t *)began - lowest_touched(stack));
    printf("%s: %zu bytes of the stack\n", learnae_isa(), depth);
    CHECK(depth > 0 && depth <= LIMIT_NBYTES);
    CHECK(munmap(stack, STACK_NBYTES) == 0);
}

int main(void) {
    out = checked_alloc(N * sizeof *out);
    for (size_t k = 0; k < N_MODELS; k++) {
        models[k] = checked_alloc(N * sizeof(float));
        fill_floats(models[k], N, FILL_PLAIN);
        weights[k] = 1.0f / N_MODELS;
    }
    fill_floats(out, N, FILL_PLAIN);
    check_every_isa(test_depth);
    for (size_t k = 0; k < N_MODELS; k++) {
        free(models[k]);
    }
    free(out);
    return 0;
}
