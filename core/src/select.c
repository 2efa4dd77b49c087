/* Rules that decide from distances: Krum, and centred clipping.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal.h"

/* ---- Krum ------------------------------------------------------------------------------ */

static void insert(double *sorted, size_t n, double value) {
    while (n > 0 && sorted[n - 1] > value) {
        sorted[n] = sorted[n - 1];
        n--;
    }
    sorted[n] = value;
}

static double score(const double *row, size_t self, size_t n_models, size_t n_nearest) {
    const uint64_t infinity_bits = 0x7ff0000000000000u;
    double sorted[LEARNAE_ROBUST_MAX], infinity, sum = 0.0;
    size_t n = 0;
    memcpy(&infinity, &infinity_bits, sizeof infinity);
    for (size_t j = 0; j < n_models; j++) {
        if (j != self) {
            insert(sorted, n++, row[j] == row[j] ? row[j] : infinity);
        }
    }
    for (size_t j = 0; j < n_nearest; j++) {
        sum += sorted[j];
    }
    return sum;
}

learnae_status learnae_krum(size_t *selected, double *scores, const double *distances2,
                            size_t n_models, size_t n_faulty, size_t n_selected,
                            learnae_message *message) {
    if (selected == NULL || distances2 == NULL) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "selected or distances2 is NULL");
    }
    if (n_models < 3 || n_models > LEARNAE_ROBUST_MAX || n_faulty > (n_models - 3) / 2) {
        return learnae_internal_fail(
            LEARNAE_ERR_ARGUMENT, message,
            "Krum needs 2 * n_faulty + 3 to %d models; there are %zu, n_faulty is %zu",
            LEARNAE_ROBUST_MAX, n_models, n_faulty);
    }
    if (n_selected < 1 || n_selected > n_models - n_faulty) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "n_selected is %zu; of %zu models 1 to %zu can be selected",
                                     n_selected, n_models, n_models - n_faulty);
    }
    double known[LEARNAE_ROBUST_MAX];
    size_t order[LEARNAE_ROBUST_MAX];
    for (size_t i = 0; i < n_models; i++) {
        known[i] = score(distances2 + i * n_models, i, n_models, n_models - n_faulty - 2);
        size_t at = i;
        for (; at > 0 && known[order[at - 1]] > known[i]; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    memcpy(selected, order, n_selected * sizeof *selected);
    if (scores != NULL) {
        memcpy(scores, known, n_models * sizeof *scores);
    }
    return LEARNAE_OK;
}

/* ---- Centred clipping ------------------------------------------------------------------ */

/* The correctly rounded root of a number, bit by bit: sqrt() would make the library need
 * libm, and one call per model does not have to be fast. */
static double square_root(double square) {
    if (!(square > 0.0) || square > DBL_MAX) {
        return square > 0.0 ? square : 0.0;
    }
    /* square = mantissa * 4^exponent, all exact, with the mantissa in [2^52, 2^54). */
    int exponent = 0;
    for (; square < 0x1p52; exponent--) {
        square *= 4.0;
    }
    for (; square >= 0x1p54; exponent++) {
        square *= 0.25;
    }
    /* The integer root of mantissa * 2^54, two bits of it a step: 54 bits, which are 53 and one to
     * round by. Where that one is set, more would follow: an odd number's square is odd. */
    uint64_t digits = (uint64_t)square, remainder = 0, root = 0;
    for (int i = 0; i < 54; i++, digits <<= 2) {
        remainder = remainder << 2 | (digits >> 52 & 3u);
        const uint64_t next = 4 * root + 1;
        root *= 2;
        if (remainder >= next) {
            remainder -= next;
            root++;
        }
    }
    double result = (double)(root / 2 + root % 2) * 0x1p-26;
    for (; exponent > 0; exponent--) {
        result *= 2.0;
    }
    for (; exponent < 0; exponent++) {
        result *= 0.5;
    }
    return result;
}

learnae_status learnae_clip(float *clipped, float *own_weight, const double *distances2,
                            const float *weights, size_t n_models, double radius,
                            learnae_message *message) {
    if (!(radius >= 0.0)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "radius is %g; it must be 0 or more", radius);
    }
    if (own_weight == NULL ||
        (n_models > 0 && (clipped == NULL || distances2 == NULL || weights == NULL))) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "clipped, own_weight, distances2 or weights is NULL");
    }
    for (size_t k = 0; k < n_models; k++) {
        if (distances2[k] != distances2[k]) {
            return learnae_internal_fail(LEARNAE_ERR_NONFINITE, message,
                                         "the squared distance of model %zu is NaN", k);
        }
    }
    double own = 1.0;
    for (size_t k = 0; k < n_models; k++) {
        const double distance = square_root(distances2[k]), weight = (double)weights[k];
        clipped[k] = (float)(distance <= radius ? weight : weight * (radius / distance));
        own -= (double)clipped[k];
    }
    *own_weight = (float)own;
    return LEARNAE_OK;
}

learnae_status learnae_payload_clip(float *dst, const learnae_payload *const *payloads,
                                    const float *weights, size_t n_payloads, double radius,
                                    uint32_t vector, uint64_t n_elements, float *clipped,
                                    learnae_message *message) {
    if (n_payloads > 0 && (payloads == NULL || weights == NULL || clipped == NULL || dst == NULL)) {
        return learnae_internal_fail(LEARNAE_ERR_ARGUMENT, message,
                                     "dst, payloads, weights or clipped is NULL");
    }
    float own_weight = 1.0f;
    double own = 1.0;
    for (size_t k = 0; k < n_payloads; k++) {
        double distance2, norm2;
        if (payloads[k] != NULL && payloads[k]->n_elements != n_elements) {
            return learnae_internal_fail(
                LEARNAE_ERR_ARGUMENT, message, "payload %zu has %llu elements, dst has %llu", k,
                (unsigned long long)payloads[k]->n_elements, (unsigned long long)n_elements);
        }
        learnae_status status =
            learnae_payload_distance(payloads[k], vector, dst, &distance2, &norm2, message);
        if (status == LEARNAE_OK) {
            status =
                learnae_clip(clipped + k, &own_weight, &distance2, weights + k, 1, radius, message);
        }
        if (status != LEARNAE_OK) {
            return status;
        }
        own -= (double)clipped[k];
    }
    return learnae_payload_average(dst, (float)own, payloads, clipped, n_payloads, vector,
                                   n_elements, message);
}
