/* Coordinate-wise medians and trimmed means, and distances between all pairs of models.
 *
 * Models in memory go to the kernels as they are; of payloads a piece of each is decoded first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"
#include "threads.h"

/* Floats that all models together have room for, decoded: 64 KiB. */
#define DECODED_TOTAL (LEARNAE_ROBUST_MAX * PAIR_RUN)

/* Where the models of a call come from. */
struct models {
    const float *const *floats; /* one pointer a model, or NULL where they are payloads */
    const float *own;           /* the first, before the payloads; may be NULL */
    const learnae_payload *const *payloads;
    size_t n;
    size_t n_elements;
    uint32_t vector;
};

/* ---- Checks -------------------------------------------------------------------------- */

static learnae_status fail(learnae_message *message, const char *what) {
    return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "%s", what);
}

static learnae_status check_count(size_t n, learnae_message *message) {
    if (n < 1 || n > LEARNAE_ROBUST_MAX) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "%zu models; robust aggregation takes 1 to %d", n,
                                     LEARNAE_ROBUST_MAX);
    }
    return LEARNAE_OK;
}

static learnae_status check_floats(const struct models *models, learnae_message *message) {
    const learnae_status status = check_count(models->n, message);
    if (status != LEARNAE_OK || models->n_elements == 0) {
        return status;
    }
    if (models->floats == NULL) {
        return fail(message, "models is NULL");
    }
    for (size_t k = 0; k < models->n; k++) {
        if (models->floats[k] == NULL) {
            return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "models[%zu] is NULL", k);
        }
    }
    return LEARNAE_OK;
}

static learnae_status check_payload(const learnae_payload *payload, size_t k, uint32_t vector,
                                    uint64_t n_elements, learnae_message *message) {
    if (payload == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message, "payload %zu is NULL", k);
    }
    if (vector >= payload->n_vectors) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "vector %u does not exist; payload %zu has %u",
                                     (unsigned)vector, k, (unsigned)payload->n_vectors);
    }
    if (payload->n_elements != n_elements) {
        return learnae_internal_fail(
            LEARNAE_ERR_ARGUMENT, message, "payload %zu has %llu elements instead of %llu", k,
            (unsigned long long)payload->n_elements, (unsigned long long)n_elements);
    }
    return learnae_internal_check_values(payload, vector, message);
}

static learnae_status check_payloads(struct models *models, const float *own,
                                     const learnae_payload *const *payloads, size_t n_payloads,
                                     uint32_t vector, uint64_t n_elements,
                                     learnae_message *message) {
    const struct models given = {NULL, own, payloads, n_payloads + (own != NULL), 0, vector};
    learnae_status status = check_count(given.n, message);
    if (status == LEARNAE_OK && n_payloads > 0 && payloads == NULL) {
        status = fail(message, "payloads is NULL");
    }
    for (size_t k = 0; status == LEARNAE_OK && k < n_payloads; k++) {
        status = check_payload(payloads[k], k, vector, n_elements, message);
    }
    if (status == LEARNAE_OK && n_elements > SIZE_MAX / sizeof(float)) {
        status = fail(message, "n_elements does not fit in memory");
    }
    *models = given;
    models->n_elements = (size_t)n_elements;
    return status;
}

/* ---- A piece of every model ------------------------------------------------------------ */

/* dst[0..n) = the elements of one payload from `start`, a multiple of 256. */
static void decode_piece(const struct kernel_table *kernels, float *dst,
                         const learnae_payload *payload, uint32_t vector, size_t start, size_t n) {
    for (size_t done = 0, length; done < n; done += length) {
        const struct source source =
            learnae_internal_source(payload, vector, start + done, &length);
        length = length < n - done ? length : n - done;
        kernels->decode[payload->codec](dst + done, &source, length);
    }
}

/* at[k] = the elements [start, start + n) of model k: where they are, or decoded into `room`, which
 * holds `n_room` of each. */
static void piece_of_all(const struct kernel_table *kernels, const struct models *models,
                         const float **at, float *room, size_t n_room, size_t start, size_t n) {
    const size_t n_own = models->own != NULL;
    for (size_t k = 0; k < models->n; k++) {
        if (models->floats != NULL) {
            at[k] = models->floats[k] + start;
        } else if (k < n_own) {
            at[k] = models->own + start;
        } else {
            float *decoded = room + k * n_room;
            decode_piece(kernels, decoded, models->payloads[k - n_own], models->vector, start, n);
            at[k] = decoded;
        }
    }
}

/* ---- Medians and trimmed means --------------------------------------------------------- */

/* Batcher's merge exchange: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M. */
static void sorting_network(struct network *network) {
    const size_t n = network->n_models;
    size_t top = 1;
    while (2 * top < n) {
        top *= 2;
    }
    network->n_exchanges = 0;
    for (size_t p = n > 1 ? top : 0; p > 0; p /= 2) {
        size_t q = top, r = 0;
        for (size_t d = p; d > 0; d = q - p, q /= 2, r = p) {
            for (size_t i = 0; i + d < n; i++) {
                if ((i & p) == r) {
                    const struct exchange exchange = {(uint8_t)i, (uint8_t)(i + d), true, true};
                    network->exchanges[network->n_exchanges++] = exchange;
                }
            }
        }
    }
}

/* Drop what the values in the middle do not depend on, from the last exchange to the first. */
static void prune(struct network *network) {
    bool needed[LEARNAE_ROBUST_MAX] = {false};
    for (size_t k = network->n_trim; k < network->n_models - network->n_trim; k++) {
        needed[k] = true;
    }
    size_t kept = network->n_exchanges;
    for (size_t e = network->n_exchanges; e-- > 0;) {
        struct exchange exchange = network->exchanges[e];
        exchange.keep_low = needed[exchange.low];
        exchange.keep_high = needed[exchange.high];
        if (exchange.keep_low || exchange.keep_high) {
            needed[exchange.low] = needed[exchange.high] = true;
            network->exchanges[--kept] = exchange;
        }
    }
    network->n_exchanges -= kept;
    memmove(network->exchanges, network->exchanges + kept,
            network->n_exchanges * sizeof network->exchanges[0]);
}

struct order {
    float *dst;
    const struct models *models;
    struct network network;
    size_t tile_length;
    bool past_caches;
};

static void order_job(void *context, struct tiles *tiles) {
    const struct order *call = context;
    const struct models *models = call->models;
    const struct kernel_table *kernels = learnae_internal_kernels();
    float room[DECODED_TOTAL];
    const float *at[LEARNAE_ROBUST_MAX];
    for (size_t tile; next_tile(tiles, &tile);) {
        const size_t start = tile * call->tile_length, left = models->n_elements - start;
        const size_t n = left < call->tile_length ? left : call->tile_length;
        piece_of_all(kernels, models, at, room, call->tile_length, start, n);
        kernels->trimmed_mean(call->dst + start, at, &call->network, call->past_caches, n);
    }
}

/* Whether dst is better written past the caches: large, and not read as one of the models. */
static bool past_caches(const float *dst, const struct models *models) {
    const size_t n_own = models->own != NULL;
    const uint64_t model_nbytes = (uint64_t)models->n_elements * sizeof(float);
    uint64_t nbytes = (1 + n_own) * model_nbytes;
    bool is_read = models->own == dst;
    for (size_t k = 0; k < models->n - n_own; k++) {
        is_read = is_read || (models->floats != NULL && models->floats[k] == dst);
        nbytes += models->floats != NULL
                      ? model_nbytes
                      : models->payloads[k]->nbytes / models->payloads[k]->n_vectors;
    }
    return !is_read && nbytes >= LARGE_NBYTES;
}

static void trimmed_mean(float *dst, const struct models *models, size_t n_trim) {
    struct order call = {.dst = dst, .models = models, .past_caches = past_caches(dst, models)};
    call.network.n_models = models->n;
    call.network.n_trim = n_trim;
    sorting_network(&call.network);
    prune(&call.network);
    call.tile_length =
        models->floats != NULL ? TILE_LENGTH : DECODED_TOTAL / models->n / PAIR_RUN * PAIR_RUN;
    const size_t n_tiles = (models->n_elements - 1) / call.tile_length + 1;
    learnae_internal_run(order_job, &call, n_tiles,
                         (uint64_t)(models->n + 1) * sizeof(float) * models->n_elements);
}

static learnae_status checked_trimmed_mean(float *dst, const struct models *models, size_t n_trim,
                                           learnae_message *message) {
    if (n_trim > (models->n - 1) / 2) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_trim of %zu at either end leaves none of %zu models",
                                     n_trim, models->n);
    }
    if (models->n_elements == 0) {
        return LEARNAE_OK;
    }
    if (dst == NULL) {
        return fail(message, "dst is NULL");
    }
    trimmed_mean(dst, models, n_trim);
    return LEARNAE_OK;
}

learnae_status learnae_trimmed_mean(float *dst, const float *const *floats, size_t n_models,
                                    size_t n_trim, size_t n_elements, learnae_message *message) {
    const struct models models = {floats, NULL, NULL, n_models, n_elements, 0};
    const learnae_status status = check_floats(&models, message);
    return status == LEARNAE_OK ? checked_trimmed_mean(dst, &models, n_trim, message) : status;
}

learnae_status learnae_median(float *dst, const float *const *models, size_t n_models,
                              size_t n_elements, learnae_message *message) {
    const size_t n_trim = n_models == 0 ? 0 : (n_models - 1) / 2;
    return learnae_trimmed_mean(dst, models, n_models, n_trim, n_elements, message);
}

learnae_status learnae_payload_trimmed_mean(float *dst, const float *own,
                                            const learnae_payload *const *payloads,
                                            size_t n_payloads, size_t n_trim, uint32_t vector,
                                            uint64_t n_elements, learnae_message *message) {
    struct models models;
    const learnae_status status =
        check_payloads(&models, own, payloads, n_payloads, vector, n_elements, message);
    return status == LEARNAE_OK ? checked_trimmed_mean(dst, &models, n_trim, message) : status;
}

learnae_status learnae_payload_median(float *dst, const float *own,
                                      const learnae_payload *const *payloads, size_t n_payloads,
                                      uint32_t vector, uint64_t n_elements,
                                      learnae_message *message) {
    const size_t n_models = n_payloads + (own != NULL);
    const size_t n_trim = n_models == 0 ? 0 : (n_models - 1) / 2;
    return learnae_payload_trimmed_mean(dst, own, payloads, n_payloads, n_trim, vector, n_elements,
                                        message);
}

/* ---- Distances ------------------------------------------------------------------------- */

/* The upper triangle goes below the diagonal too. A NaN's bits depend on the compiler's operand
 * order, so they are set. */
static void mirror(double *distances2, size_t n) {
    const uint64_t canonical = 0x7ff8000000000000u;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            double *at = distances2 + i * n + j;
            if (*at != *at) {
                memcpy(at, &canonical, sizeof *at);
            }
            distances2[j * n + i] = *at;
        }
    }
}

/* The last run of every model, filled up with zeros. Full runs stay where they are. */
static void fill_up(const float **at, float *room, size_t n_models, size_t n) {
    for (size_t k = 0; k < n_models; k++) {
        float *run = room + k * PAIR_RUN;
        if (at[k] != run) {
            memcpy(run, at[k], n * sizeof *run);
            at[k] = run;
        }
        memset(run + n, 0, (PAIR_RUN - n) * sizeof *run);
    }
}

/* The sums of a part of the runs: enough of them for the threads, which add in any order, while the
 * order of the additions is the header's. */
#define PARTS_MAX 16
#define PARTS_TOTAL 8192 /* doubles that all parts together have room for: 64 KiB */

struct pairwise {
    const struct models *models;
    double *parts; /* of each part a matrix */
    size_t part_length;
};

static void part_of_pairs(const struct pairwise *call, size_t part) {
    const struct models *models = call->models;
    const struct kernel_table *kernels = learnae_internal_kernels();
    double *sums = call->parts + part * models->n * models->n;
    float room[DECODED_TOTAL];
    const float *at[LEARNAE_ROBUST_MAX];
    const size_t first = part * call->part_length, left = models->n_elements - first;
    const size_t end = first + (left < call->part_length ? left : call->part_length);
    for (size_t start = first; start < end; start += PAIR_RUN) {
        const size_t n = end - start < PAIR_RUN ? end - start : PAIR_RUN;
        piece_of_all(kernels, models, at, room, PAIR_RUN, start, n);
        if (n < PAIR_RUN) {
            fill_up(at, room, models->n, n);
        }
        kernels->pairs(sums, at, models->n);
    }
}

static void pairwise_job(void *context, struct tiles *tiles) {
    for (size_t part; next_tile(tiles, &part);) {
        part_of_pairs(context, part);
    }
}

static void add_parts(double *distances2, const struct models *models) {
    double parts[PARTS_TOTAL];
    const size_t n_sums = models->n * models->n;
    const size_t most = PARTS_TOTAL / n_sums < PARTS_MAX ? PARTS_TOTAL / n_sums : PARTS_MAX;
    const size_t n_runs = (models->n_elements - 1) / PAIR_RUN + 1;
    const size_t part_runs = (n_runs - 1) / most + 1, n_parts = (n_runs - 1) / part_runs + 1;
    memset(parts, 0, n_parts * n_sums * sizeof *parts);
    struct pairwise call = {models, parts, part_runs * PAIR_RUN};
    learnae_internal_run(pairwise_job, &call, n_parts,
                         (uint64_t)models->n * sizeof(float) * models->n_elements);
    for (size_t part = 0; part < n_parts; part++) {
        for (size_t i = 0; i < n_sums; i++) {
            distances2[i] += parts[part * n_sums + i];
        }
    }
}

static learnae_status distances(double *distances2, const struct models *models,
                                learnae_message *message) {
    if (distances2 == NULL) {
        return fail(message, "distances2 is NULL");
    }
    for (size_t i = 0; i < models->n * models->n; i++) {
        distances2[i] = 0.0;
    }
    if (models->n_elements > 0) {
        add_parts(distances2, models);
        mirror(distances2, models->n);
    }
    return LEARNAE_OK;
}

learnae_status learnae_distances(double *distances2, const float *const *floats, size_t n_models,
                                 size_t n_elements, learnae_message *message) {
    const struct models models = {floats, NULL, NULL, n_models, n_elements, 0};
    const learnae_status status = check_floats(&models, message);
    return status == LEARNAE_OK ? distances(distances2, &models, message) : status;
}

learnae_status learnae_payload_distances(double *distances2, const float *own,
                                         const learnae_payload *const *payloads, size_t n_payloads,
                                         uint32_t vector, uint64_t n_elements,
                                         learnae_message *message) {
    struct models models;
    const learnae_status status =
        check_payloads(&models, own, payloads, n_payloads, vector, n_elements, message);
    return status == LEARNAE_OK ? distances(distances2, &models, message) : status;
}
