/* Reading payloads into models: decode, accumulate, average, distance.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "threads.h"

/* Values decoded at a time where they need a place of their own: 4 KiB, a small part of any
 * first-level cache. A piece of codec topk is found by going through its block from the start, so
 * that a large block in small pieces would take too long: these are as long as blocks mostly are.
 */
#define DECODED_LENGTH 1024
#define DECODED_LENGTH_TOPK LEARNAE_BLOCK_LENGTH

static size_t decoded_length(const learnae_payload *payload) {
    return payload->codec == LEARNAE_CODEC_TOPK ? DECODED_LENGTH_TOPK : DECODED_LENGTH;
}

static learnae_status fail_null(const char *name, learnae_message *message) {
    return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "%s is NULL", name);
}

/* The bytes that hold one vector, near enough. */
static uint64_t vector_nbytes(const learnae_payload *payload) {
    return payload->nbytes / payload->n_vectors;
}

static size_t n_tiles(size_t n_elements) {
    return n_elements / TILE_LENGTH + (n_elements % TILE_LENGTH != 0);
}

static size_t tile_end(size_t start, size_t n_elements) {
    return n_elements - start < TILE_LENGTH ? n_elements : start + TILE_LENGTH;
}

struct decoding {
    const learnae_payload *payload;
    uint32_t vector;
    float *dst;
};

static void decode_tiles(void *context, struct tiles *tiles) {
    const struct decoding *call = context;
    decode_kernel *const decode = learnae_internal_kernels()->decode[call->payload->codec];
    for (size_t tile; next_tile(tiles, &tile);) {
        const size_t start = tile * TILE_LENGTH;
        const size_t end = tile_end(start, (size_t)call->payload->n_elements);
        for (size_t at = start, length; at < end; at += length) {
            const struct source source =
                learnae_internal_source(call->payload, call->vector, at, &length);
            length = length < end - at ? length : end - at;
            decode(call->dst + at, &source, length);
        }
    }
}

learnae_status learnae_payload_decode(const learnae_payload *payload, uint32_t vector, float *dst,
                                      learnae_message *message) {
    const learnae_status status = learnae_internal_check_values(payload, vector, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (dst == NULL) {
        return fail_null("dst", message);
    }
    struct decoding call = {payload, vector, dst};
    learnae_internal_run(decode_tiles, &call, n_tiles((size_t)payload->n_elements),
                         vector_nbytes(payload) + 4 * payload->n_elements);
    return LEARNAE_OK;
}

/* How many of the first payloads the next pass takes: those of one codec, as far as they go. */
static size_t run_length(const learnae_payload *const *payloads, size_t n_payloads) {
    size_t n = 0;
    while (n < n_payloads && payloads[n]->codec == payloads[0]->codec) {
        n++;
    }
    return pass_length(n);
}

struct merge {
    float *dst;
    float own_weight;
    const learnae_payload *const *payloads;
    const float *weights;
    size_t n_payloads;
    uint32_t vector;
    size_t n_elements;
    size_t turn;   /* tiles that a thread takes at a time */
    bool streamed; /* see struct source */
};

/* Add payloads first .. first + n_run to dst[start .. end). Their blocks may end at different
 * elements, so each step goes to the nearest end; all ends are multiples of BLOCK_STEP. */
static void add_run(const struct merge *call, float own_weight, size_t first, size_t n_run,
                    size_t start, size_t end, struct ahead *ahead) {
    const uint32_t codec = n_run == 0 ? (uint32_t)LEARNAE_CODEC_F32 : call->payloads[first]->codec;
    add_kernel *const add = learnae_internal_kernels()->add[codec];
    for (size_t at = start, step; at < end; at += step) {
        struct source sources[MAX_SOURCES] = {{0}};
        step = end - at;
        for (size_t k = 0; k < n_run; k++) {
            size_t left;
            sources[k] =
                learnae_internal_source(call->payloads[first + k], call->vector, at, &left);
            sources[k].weight = call->weights[first + k];
            sources[k].streamed = call->streamed;
            step = left < step ? left : step;
        }
        sources[0].ahead = ahead;
        add(call->dst + at, call->dst + at, own_weight, sources, n_run, step);
    }
}

/* Whether one's own elements are scaled by themselves, before anything is added: a kernel of topk
 * touches few of them, and has time to fetch or even scale the next ones. */
static bool scales_apart(const struct merge *call) {
    return call->n_payloads > 0 && call->payloads[0]->codec == LEARNAE_CODEC_TOPK &&
           call->own_weight != 1.0f;
}

/* Scale what kernels have not scaled of the elements before `end`. */
static void scale_rest(struct ahead *ahead, float *end) {
    const struct source none = {0};
    learnae_internal_kernels()->add[LEARNAE_CODEC_F32](ahead->at, ahead->at, ahead->weight, &none,
                                                       0, (size_t)(end - ahead->at));
    ahead->at = end;
}

/* Behind the tile this thread goes on up to `next_end`. */
static void merge_tile(const struct merge *call, size_t start, size_t end, size_t next_end,
                       struct ahead *ahead) {
    float own_weight = call->own_weight;
    if (scales_apart(call)) {
        scale_rest(ahead, call->dst + end);
        ahead->end = call->dst + next_end;
        own_weight = 1.0f;
    }
    size_t done = 0;
    do {
        const size_t n_left = call->n_payloads - done;
        const size_t n_run = n_left == 0 ? 0 : run_length(call->payloads + done, n_left);
        add_run(call, own_weight, done, n_run, start, end, ahead);
        own_weight = 1.0f; /* exact */
        done += n_run;
    } while (done < call->n_payloads);
}

static void merge_tiles(void *context, struct tiles *tiles) {
    const struct merge *call = context;
    const size_t n = n_tiles(call->n_elements);
    for (size_t turn; next_tile(tiles, &turn);) {
        const size_t first = turn * call->turn;
        const size_t last = n - first < call->turn ? n - 1 : first + call->turn - 1;
        float *const dst = call->dst + first * TILE_LENGTH;
        struct ahead ahead = {.at = dst, .end = dst, .weight = call->own_weight};
        for (size_t tile = first; tile <= last; tile++) {
            const size_t start = tile * TILE_LENGTH, end = tile_end(start, call->n_elements);
            merge_tile(call, start, end, tile == last ? end : tile_end(end, call->n_elements),
                       &ahead);
        }
    }
}

/* A tile of small codes is a short run for the hardware to follow: 16 KiB with i8. Turns of up to
 * 16 tiles cost two threads a third less time than single ones; but everybody should have many. */
static size_t turn_length(size_t n) {
    const size_t n_threads = learnae_n_threads(), share = n / (16 * n_threads);
    const size_t length = n_threads == 1 ? n : share < 16 ? share : 16;
    return length < 1 ? 1 : length;
}

static void merge(struct merge *call) {
    uint64_t nbytes = 8 * (uint64_t)call->n_elements;
    for (size_t k = 0; k < call->n_payloads; k++) {
        nbytes += vector_nbytes(call->payloads[k]);
    }
    const size_t n = n_tiles(call->n_elements);
    call->turn = turn_length(n);
    call->streamed = nbytes > STREAMED_NBYTES;
    learnae_internal_run(merge_tiles, call, (n + call->turn - 1) / call->turn, nbytes);
}

learnae_status learnae_payload_accumulate(const learnae_payload *payload, uint32_t vector,
                                          float weight, float *acc, learnae_message *message) {
    const learnae_status status = learnae_internal_check_values(payload, vector, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (acc == NULL) {
        return fail_null("acc", message);
    }
    struct merge call = {.dst = acc,
                         .own_weight = 1.0f,
                         .payloads = &payload,
                         .weights = &weight,
                         .n_payloads = 1,
                         .vector = vector,
                         .n_elements = (size_t)payload->n_elements};
    merge(&call);
    return LEARNAE_OK;
}

learnae_status learnae_payload_average(float *dst, float own_weight,
                                       const learnae_payload *const *payloads, const float *weights,
                                       size_t n_payloads, uint32_t vector, uint64_t n_elements,
                                       learnae_message *message) {
    if (n_payloads > 0 && (payloads == NULL || weights == NULL)) {
        return fail_null("payloads or weights", message);
    }
    for (size_t k = 0; k < n_payloads; k++) {
        const learnae_status status = learnae_internal_check_values(payloads[k], vector, message);
        if (status != LEARNAE_OK) {
            return status;
        }
        if (payloads[k]->n_elements != n_elements) {
            return learnae_internal_fail(
                LEARNAE_ERR_ARGUMENT, message, "payload %zu has %llu elements, dst has %llu", k,
                (unsigned long long)payloads[k]->n_elements, (unsigned long long)n_elements);
        }
    }
    if (dst == NULL && n_elements > 0) {
        return fail_null("dst", message);
    }
    struct merge call = {.dst = dst,
                         .own_weight = own_weight,
                         .payloads = payloads,
                         .weights = weights,
                         .n_payloads = n_payloads,
                         .vector = vector,
                         .n_elements = (size_t)n_elements};
    merge(&call);
    return LEARNAE_OK;
}

/* The sum of the squares is not finite: because of a value, or because the sum overflowed? */
static learnae_status check_finite(const learnae_payload *payload, uint32_t vector,
                                   learnae_message *message) {
    const struct kernel_table *kernels = learnae_internal_kernels();
    const size_t longest = decoded_length(payload);
    float value[DECODED_LENGTH_TOPK];
    for (size_t start = 0, length; start < (size_t)payload->n_elements; start += length) {
        const struct source source = learnae_internal_source(payload, vector, start, &length);
        length = length < longest ? length : longest;
        kernels->decode[payload->codec](value, &source, length);
        for (size_t i = 0; i < length; i++) {
            if (value[i] - value[i] != 0.0f) {
                return learnae_internal_fail(LEARNAE_ERR_NONFINITE, message,
                                             "the payload has %s at element %zu of vector %u",
                                             value[i] != value[i] ? "NaN" : "an infinity",
                                             start + i, (unsigned)vector);
            }
        }
    }
    return LEARNAE_OK;
}

/* The lanes in order. NaN only where the reference has one; its bits then depend on the
 * compiler's operand order, so they are set. */
static double sum_lanes(const double lanes[8]) {
    double sum = lanes[0];
    for (int i = 1; i < 8; i++) {
        sum += lanes[i];
    }
    if (sum != sum) {
        const uint64_t canonical = 0x7ff8000000000000u;
        memcpy(&sum, &canonical, sizeof sum);
    }
    return sum;
}

learnae_status learnae_payload_distance(const learnae_payload *payload, uint32_t vector,
                                        const float *reference, double *distance2, double *norm2,
                                        learnae_message *message) {
    const learnae_status status = learnae_internal_check_values(payload, vector, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    if (distance2 == NULL || norm2 == NULL) {
        return fail_null("distance2 or norm2", message);
    }
    const struct kernel_table *kernels = learnae_internal_kernels();
    const size_t n = (size_t)payload->n_elements;
    double distance_lanes[8] = {0}, norm_lanes[8] = {0};
    const size_t longest = decoded_length(payload);
    float value[DECODED_LENGTH_TOPK];
    for (size_t start = 0, length; start < n; start += length) {
        const struct source source = learnae_internal_source(payload, vector, start, &length);
        length = length < longest ? length : longest;
        kernels->decode[payload->codec](value, &source, length);
        kernels->squares(distance_lanes, norm_lanes, value,
                         reference == NULL ? NULL : reference + start, length);
    }
    const double norm = sum_lanes(norm_lanes);
    if (norm - norm != 0.0) {
        const learnae_status finite = check_finite(payload, vector, message);
        if (finite != LEARNAE_OK) {
            return finite;
        }
    }
    *norm2 = norm;
    *distance2 = reference == NULL ? norm : sum_lanes(distance_lanes);
    return LEARNAE_OK;
}
