/* Medians and trimmed means. Expects what kernels.inl.h lists.
 *
 * Values are sorted as integers ("keys") in the order of their bits, because the floating-point
 * minimum of two instruction sets differs where a NaN or two zeros meet; it is not slower.
 *
 * SPDX-License-Identifier: Apache-2.0
 */

#if LANES > 1

#include "networks.inl.h"
#include "sink.inl.h"

/* Floats in a line of the first-level cache. Large arrays mostly start at the same offset in a
 * page, so that 16 streams share the few places of one set: what is not taken from a line at
 * once has to be fetched again. So lines are taken as they lie in memory, not as they are counted
 * from the first element: malloc() puts large arrays 16 bytes behind the start of a page, and
 * lines cut there take 1.15 (9 models) to 1.4 times (16) as long. On the other hand the streams
 * must advance together: visited in turn for 32 elements or more, they do not keep the memory
 * busy (16 models: 1.4 times as long, 2 times for 128 elements). */
#define LINE 16
#define PARTS_OF_LINE (LINE / LANES)

/* From so many models on, a line is taken while the one before is sorted, half of the models before
 * each vector, and lines further on are asked for: what the hardware asks for by itself is mostly
 * pushed out again. On a Zen 4, where all models start at the same offset in a page, the median of
 * 16 takes 0.75 of the time so, that of 9 takes 0.85, that of 5 1.15; where each starts elsewhere
 * 0.97, 1.05 and 1.2. Of 16 models, 16 to 32 lines ahead measure alike, 8 and 64 a little worse. */
#define AHEAD_FROM 9
#define AHEAD_NBYTES (24 * LINE * sizeof(float))

#define TAKE_AHEAD(k)                                                                              \
    LEARNAE_PREFETCH(models[k] + next, AHEAD_NBYTES);                                              \
    KERNEL(take)(taken + k, models[k] + next, n);
#define TAKE_FIRST(k)                                                                              \
    if (k < n / 2) {                                                                               \
        TAKE_AHEAD(k)                                                                              \
    }
#define TAKE_SECOND(k)                                                                             \
    if (k >= n / 2) {                                                                              \
        TAKE_AHEAD(k)                                                                              \
    }
#define LOAD(i) key v##i = at[i];
#define ADD(i)                                                                                     \
    if (i < half ? i >= first : i < end) {                                                         \
        sum = vec_add(sum, vec_from_key(v##i));                                                    \
    }
#define EXCHANGE(i, j)                                                                             \
    {                                                                                              \
        const key low = key_min(v##i, v##j);                                                       \
        v##j = key_max(v##i, v##j);                                                                \
        v##i = low;                                                                                \
    }
#define EACH_2(X) X(0) X(1)
#define EACH_3(X) EACH_2(X) X(2)
#define EACH_4(X) EACH_3(X) X(3)
#define EACH_5(X) EACH_4(X) X(4)
#define EACH_6(X) EACH_5(X) X(5)
#define EACH_7(X) EACH_6(X) X(6)
#define EACH_8(X) EACH_7(X) X(7)
#define EACH_9(X) EACH_8(X) X(8)
#define EACH_10(X) EACH_9(X) X(9)
#define EACH_11(X) EACH_10(X) X(10)
#define EACH_12(X) EACH_11(X) X(11)
#define EACH_13(X) EACH_12(X) X(12)
#define EACH_14(X) EACH_13(X) X(13)
#define EACH_15(X) EACH_14(X) X(14)
#define EACH_16(X) EACH_15(X) X(15)

/* The elements before the first start of a line, where most models have it. */
LEARNAE_INLINE size_t KERNEL(head)(const float *const *models, size_t n_models) {
    unsigned count[LINE] = {0};
    size_t most = 0;
    for (size_t k = 0; k < n_models; k++) {
        count[(0 - (uintptr_t)models[k] / sizeof(float)) % LINE]++;
    }
    for (size_t at = 1; at < LINE; at++) {
        most = count[at] > count[most] ? at : most;
    }
    return most;
}

/* The keys of a model's line, each vector's of all models next to each other. */
LEARNAE_INLINE void KERNEL(take)(key *keys, const float *line, const size_t n_models) {
    for (size_t part = 0; part < PARTS_OF_LINE; part++) {
        keys[part * n_models] = key_from_vec(vec_load(line + part * LANES));
    }
}

/* A vector of each of n_models, sorted, and the mean of those from `first` to `end`. Where these
 * are constants, the compiler drops the exchanges that the rows between them do not need. Nothing
 * but -0 leaves all that is added to it as it is. */
#define SORTED(n_models)                                                                           \
    LEARNAE_INLINE void KERNEL(JOIN(vector_, n_models))(                                           \
        struct KERNEL(sink) * sink, float *dst, const key *at, const int first, const int end) {   \
        const int half = (n_models + 1) / 2;                                                       \
        vec sum = vec_set(-0.0f);                                                                  \
        EACH_##n_models(LOAD) NETWORK_##n_models(EXCHANGE)                                         \
            EACH_##n_models(ADD) if (end - first > 1) {                                            \
            sum = vec_div(sum, vec_set((float)(end - first)));                                     \
        }                                                                                          \
        KERNEL(put)(sink, dst, vec_canonical(sum));                                                \
    }                                                                                              \
    LEARNAE_INLINE void KERNEL(JOIN(line_, n_models))(struct KERNEL(sink) * sink, float *dst,      \
                                                      const float *const *models, size_t start,    \
                                                      const int first, const int end) {            \
        key keys[PARTS_OF_LINE * n_models];                                                        \
        for (size_t k = 0; k < n_models; k++) {                                                    \
            KERNEL(take)(keys + k, models[k] + start, n_models);                                   \
        }                                                                                          \
        for (size_t part = 0; part < PARTS_OF_LINE; part++) {                                      \
            KERNEL(JOIN(vector_, n_models))                                                        \
            (sink, dst + start + part * LANES, keys + part * n_models, first, end);                \
        }                                                                                          \
    }                                                                                              \
    LEARNAE_INLINE void KERNEL(JOIN(piece_, n_models))(float *dst, const float *const *models,     \
                                                       size_t start, size_t n, const int first,    \
                                                       const int end) {                            \
        float copies[n_models][LINE] = {{0}}, mean[LINE];                                          \
        struct KERNEL(sink) plain = {0};                                                           \
        const float *copy[n_models];                                                               \
        for (size_t k = 0; k < n_models; k++) {                                                    \
            copy[k] = memcpy(copies[k], models[k] + start, n * sizeof(float));                     \
        }                                                                                          \
        KERNEL(JOIN(line_, n_models))(&plain, mean, copy, 0, first, end);                          \
        memcpy(dst + start, mean, n * sizeof(float));                                              \
    }                                                                                              \
    LEARNAE_INLINE void KERNEL(JOIN(step_, n_models))(                                             \
        struct KERNEL(sink) * sink, float *dst, const key *keys, key *taken,                       \
        const float *const *models, size_t next, const int first, const int end) {                 \
        const size_t n = n_models;                                                                 \
        EACH_##n_models(TAKE_FIRST) KERNEL(JOIN(vector_, n_models))(sink, dst, keys, first, end);  \
        EACH_##n_models(TAKE_SECOND) for (size_t part = 1; part < PARTS_OF_LINE; part++) {         \
            KERNEL(JOIN(vector_, n_models))                                                        \
            (sink, dst + part * LANES, keys + part * n_models, first, end);                        \
        }                                                                                          \
    }                                                                                              \
    LEARNAE_INLINE size_t KERNEL(JOIN(ahead_, n_models))(                                          \
        struct KERNEL(sink) * sink, float *dst, const float *const *models, size_t i,              \
        const int first, const int end, size_t n) {                                                \
        key keys[2][PARTS_OF_LINE * n_models];                                                     \
        for (size_t k = 0; k < n_models && i + LINE <= n; k++) {                                   \
            KERNEL(take)(keys[0] + k, models[k] + i, n_models);                                    \
        }                                                                                          \
        for (; i + 3 * LINE <= n; i += 2 * LINE) {                                                 \
            KERNEL(JOIN(step_, n_models))                                                          \
            (sink, dst + i, keys[0], keys[1], models, i + LINE, first, end);                       \
            KERNEL(JOIN(step_, n_models))                                                          \
            (sink, dst + i + LINE, keys[1], keys[0], models, i + 2 * LINE, first, end);            \
        }                                                                                          \
        return i;                                                                                  \
    }                                                                                              \
    LEARNAE_INLINE void KERNEL(JOIN(lines_, n_models))(float *dst, const float *const *models,     \
                                                       const int first, const int end,             \
                                                       bool past_caches, size_t n) {               \
        struct KERNEL(sink) sink = {0};                                                            \
        const size_t head = KERNEL(head)(models, n_models);                                        \
        size_t i = head < n ? head : n;                                                            \
        if (i > 0) {                                                                               \
            KERNEL(JOIN(piece_, n_models))(dst, models, 0, i, first, end);                         \
        }                                                                                          \
        if (past_caches && i + LINE <= n) {                                                        \
            KERNEL(JOIN(line_, n_models))(&sink, dst, models, i, first, end);                      \
            i += LINE;                                                                             \
            KERNEL(past_caches_from)(&sink, dst + i);                                              \
        }                                                                                          \
        if (n_models >= AHEAD_FROM) {                                                              \
            i = KERNEL(JOIN(ahead_, n_models))(&sink, dst, models, i, first, end, n);              \
        }                                                                                          \
        for (; i + LINE <= n; i += LINE) {                                                         \
            KERNEL(JOIN(line_, n_models))(&sink, dst, models, i, first, end);                      \
        }                                                                                          \
        KERNEL(end)(&sink, dst + i);                                                               \
        if (i < n) {                                                                               \
            KERNEL(JOIN(piece_, n_models))(dst, models, i, n - i, first, end);                     \
        }                                                                                          \
    }                                                                                              \
    static void KERNEL(JOIN(trimmed_, n_models))(float *dst, const float *const *models,           \
                                                 int first, bool past_caches, size_t n) {          \
        if (first == (n_models - 1) / 2) {                                                         \
            KERNEL(JOIN(lines_, n_models))                                                         \
            (dst, models, (n_models - 1) / 2, n_models / 2 + 1, past_caches, n);                   \
        } else {                                                                                   \
            KERNEL(JOIN(lines_, n_models))(dst, models, first, n_models - first, past_caches, n);  \
        }                                                                                          \
    }

/* clang-format off */
SORTED(2) SORTED(3) SORTED(4) SORTED(5) SORTED(6) SORTED(7) SORTED(8) SORTED(9)
SORTED(10) SORTED(11) SORTED(12) SORTED(13) SORTED(14) SORTED(15) SORTED(16)

static void (*const KERNEL(trimmed)[])(float *, const float *const *, int, bool, size_t) = {
    NULL, NULL, KERNEL(trimmed_2), KERNEL(trimmed_3), KERNEL(trimmed_4), KERNEL(trimmed_5),
    KERNEL(trimmed_6), KERNEL(trimmed_7), KERNEL(trimmed_8), KERNEL(trimmed_9),
    KERNEL(trimmed_10), KERNEL(trimmed_11), KERNEL(trimmed_12), KERNEL(trimmed_13),
    KERNEL(trimmed_14), KERNEL(trimmed_15), KERNEL(trimmed_16)};
/* clang-format on */

#undef AHEAD_FROM
#undef AHEAD_NBYTES
#undef TAKE_AHEAD
#undef TAKE_FIRST
#undef TAKE_SECOND
#undef LOAD
#undef ADD
#undef EXCHANGE
#undef SORTED
#undef PARTS_OF_LINE
#undef LINE

#endif

/* ---- More models than there are registers: row by row -------------------------------- */

/* Of each model at a time: the keys of all take 8 KiB, a part of the smallest first-level cache. */
#define ROW_LENGTH 32
#define ROW_VECTORS (ROW_LENGTH / LANES)

LEARNAE_INLINE void KERNEL(row_of)(key *dst, const float *src) {
    INDEPENDENT
    for (size_t t = 0; t < ROW_VECTORS; t++) {
        dst[t] = key_from_vec(vec_load(src + t * LANES));
    }
}

LEARNAE_INLINE void KERNEL(exchange)(key *low, key *high, const bool keep_low,
                                     const bool keep_high) {
    INDEPENDENT
    for (size_t t = 0; t < ROW_VECTORS; t++) {
        const key a = low[t], b = high[t];
        if (keep_low) {
            low[t] = key_min(a, b);
        }
        if (keep_high) {
            high[t] = key_max(a, b);
        }
    }
}

static void KERNEL(sort_rows)(key (*rows)[ROW_VECTORS], const struct network *network) {
    for (size_t e = 0; e < network->n_exchanges; e++) {
        const struct exchange exchange = network->exchanges[e];
        if (exchange.keep_low && exchange.keep_high) {
            KERNEL(exchange)(rows[exchange.low], rows[exchange.high], true, true);
        } else if (exchange.keep_low) {
            KERNEL(exchange)(rows[exchange.low], rows[exchange.high], true, false);
        } else {
            KERNEL(exchange)(rows[exchange.low], rows[exchange.high], false, true);
        }
    }
}

/* ROW_LENGTH elements of each model. */
static void KERNEL(rows)(float *dst, const float *const *models, size_t start,
                         const struct network *network) {
    key rows[LEARNAE_ROBUST_MAX][ROW_VECTORS];
    for (size_t k = 0; k < network->n_models; k++) {
        KERNEL(row_of)(rows[k], models[k] + start);
    }
    KERNEL(sort_rows)(rows, network);
    const size_t first = network->n_trim, end = network->n_models - first;
    vec sum[ROW_VECTORS];
    for (size_t t = 0; t < ROW_VECTORS; t++) {
        sum[t] = vec_from_key(rows[first][t]);
    }
    for (size_t k = first + 1; k < end; k++) {
        for (size_t t = 0; t < ROW_VECTORS; t++) {
            sum[t] = vec_add(sum[t], vec_from_key(rows[k][t]));
        }
    }
    const vec count = vec_set((float)(end - first));
    for (size_t t = 0; t < ROW_VECTORS; t++) {
        vec_store(dst + t * LANES, vec_canonical(vec_div(sum[t], count)));
    }
}

static void KERNEL(trimmed_mean)(float *dst, const float *const *models,
                                 const struct network *network, bool past_caches, size_t n) {
#if LANES > 1
    if (network->n_models >= 2 && network->n_models <= 16) {
        KERNEL(trimmed)[network->n_models](dst, models, (int)network->n_trim, past_caches, n);
        return;
    }
#endif
    (void)past_caches;
    size_t i = 0;
    for (; i + ROW_LENGTH <= n; i += ROW_LENGTH) {
        KERNEL(rows)(dst + i, models, i, network);
    }
    if (i < n) {
        float copies[LEARNAE_ROBUST_MAX][ROW_LENGTH] = {{0}}, last[ROW_LENGTH];
        const float *copy[LEARNAE_ROBUST_MAX];
        for (size_t k = 0; k < network->n_models; k++) {
            copy[k] = memcpy(copies[k], models[k] + i, (n - i) * sizeof(float));
        }
        KERNEL(rows)(last, copy, 0, network);
        memcpy(dst + i, last, (n - i) * sizeof(float));
    }
}

#undef ROW_LENGTH
#undef ROW_VECTORS
