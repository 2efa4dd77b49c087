/* Codec delta: writing. delta.h says what is written, and why.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "delta.h"

/* Of a value that is not 0. */
LEARNAE_INLINE uint32_t highest_bit(uint32_t value) {
#if defined(__GNUC__)
    return 31 ^ (uint32_t)__builtin_clz(value);
#else
    uint32_t n = 0;
    while (value >>= 1) {
        n++;
    }
    return n;
#endif
}

uint64_t learnae_internal_delta_bound(uint64_t length) {
    return AT_LENGTHS + 4 * length;
}

/* Elements as they are coded. */
struct parts {
    uint32_t z[STEP];
    uint32_t exponent[STEP];
};

/* Elements behind the n-th are 0, so that rounds of four can be whole. */
static void split(struct parts *parts, const float *src, const float *base, size_t n) {
    uint32_t from[STEP], to[STEP];
    memcpy(from, base, n * sizeof *base);
    memcpy(to, src, n * sizeof *src);
    if (n < STEP) {
        memset(from + n, 0, (STEP - n) * sizeof *from);
        memset(to + n, 0, (STEP - n) * sizeof *to);
    }
    for (size_t i = 0; i < STEP; i++) {
        const uint32_t d = ordered(to[i]) - ordered(from[i]);
        parts->z[i] = d << 1 ^ (0u - (d >> 31));
        parts->exponent[i] = exponent(from[i]);
    }
}

/* No branch: whether an element changed at all is often a coin's toss. */
LEARNAE_INLINE uint32_t symbol_of(uint32_t z, uint32_t place, uint32_t from_exponent) {
    return (1 + ((place + from_exponent) & 31)) & (0u - (uint32_t)(z != 0));
}

/* How often each symbol comes, and how many bits go as they are, in each stream. */
struct counts {
    uint32_t symbol[N_STREAMS][N_CLASSES];
    uint64_t n_bits[N_STREAMS];
};

static void count(struct counts *counts, const float *src, const float *base, size_t length) {
    struct parts parts;
    memset(counts, 0, sizeof *counts);
    for (size_t start = 0; start < length; start += STEP) {
        const size_t n = length - start < STEP ? length - start : STEP;
        split(&parts, src + start, base + start, n);
        for (size_t i = 0; i < n; i++) {
            const uint32_t place = highest_bit(parts.z[i] | 1);
            counts->symbol[i % N_STREAMS][symbol_of(parts.z[i], place, parts.exponent[i])]++;
            counts->n_bits[i % N_STREAMS] += place;
        }
    }
}

/* Write lengths and sizes; return the size of the content. */
static uint64_t plan(uint8_t *head, uint8_t lengths[N_CLASSES], uint64_t nbytes[N_STREAMS],
                     const struct counts *counts) {
    uint32_t total[N_CLASSES];
    uint64_t content = AT_STREAMS;
    for (size_t symbol = 0; symbol < N_CLASSES; symbol++) {
        total[symbol] = 0;
        for (size_t k = 0; k < N_STREAMS; k++) {
            total[symbol] += counts->symbol[k][symbol];
        }
    }
    learnae_internal_code_lengths(lengths, total, N_CLASSES);
    for (size_t symbol = 0; symbol < N_CLASSES; symbol++) {
        head[AT_LENGTHS + symbol / 2] |= (uint8_t)(lengths[symbol] << symbol % 2 * 4);
    }
    for (size_t k = 0; k < N_STREAMS; k++) {
        uint64_t n_bits = counts->n_bits[k];
        for (size_t symbol = 0; symbol < N_CLASSES; symbol++) {
            n_bits += (uint64_t)counts->symbol[k][symbol] * lengths[symbol];
        }
        nbytes[k] = (n_bits + 7) / 8;
        const uint32_t size = (uint32_t)nbytes[k];
        memcpy(head + AT_SIZES + 4 * k, &size, sizeof size);
        content += nbytes[k];
    }
    return content;
}

/* code: the word, and its length from bit 16 on. */
LEARNAE_INLINE void put_element(struct writer *writer, const uint32_t code[N_CLASSES], uint32_t z,
                                uint32_t from_exponent) {
    const uint32_t place = highest_bit(z | 1);
    const uint32_t word = code[symbol_of(z, place, from_exponent)], n_word = word >> 16;
    const uint64_t below = z & (((uint32_t)1 << place) - 1);
    put_bits(writer, (word & 0xffff) | below << n_word, n_word + place);
}

/* n is a multiple of four, and each stream has room for n / 4 elements and eight bytes. */
static void put_rounds(struct writer writers[N_STREAMS], const uint32_t code[N_CLASSES],
                       const struct parts *parts, size_t n) {
    struct writer w0 = writers[0], w1 = writers[1], w2 = writers[2], w3 = writers[3];
    for (size_t i = 0; i < n; i += N_STREAMS) {
        put_element(&w0, code, parts->z[i], parts->exponent[i]);
        flush(&w0);
        put_element(&w1, code, parts->z[i + 1], parts->exponent[i + 1]);
        flush(&w1);
        put_element(&w2, code, parts->z[i + 2], parts->exponent[i + 2]);
        flush(&w2);
        put_element(&w3, code, parts->z[i + 3], parts->exponent[i + 3]);
        flush(&w3);
    }
    writers[0] = w0;
    writers[1] = w1;
    writers[2] = w2;
    writers[3] = w3;
}

static void write_streams(uint8_t *dst, const uint8_t lengths[N_CLASSES],
                          const uint64_t nbytes[N_STREAMS], const float *src, const float *base,
                          size_t length) {
    struct parts parts;
    struct writer writers[N_STREAMS];
    const uint8_t *end[N_STREAMS];
    uint16_t words[N_CLASSES];
    uint32_t code[N_CLASSES];
    learnae_internal_code_words(words, lengths, N_CLASSES);
    for (size_t symbol = 0; symbol < N_CLASSES; symbol++) {
        code[symbol] = words[symbol] | (uint32_t)lengths[symbol] << 16;
    }
    uint8_t *at = dst + AT_STREAMS;
    for (size_t k = 0; k < N_STREAMS; k++) {
        writers[k] = (struct writer){.at = at};
        at += nbytes[k];
        end[k] = at;
    }
    const ptrdiff_t room = STEP / N_STREAMS * ELEMENT_MAX_BITS / 8 + 16;
    for (size_t start = 0; start < length; start += STEP) {
        const size_t n = length - start < STEP ? length - start : STEP;
        bool roomy = n == STEP;
        for (size_t k = 0; k < N_STREAMS; k++) {
            roomy = roomy && end[k] - writers[k].at >= room;
        }
        split(&parts, src + start, base + start, n);
        if (roomy) {
            put_rounds(writers, code, &parts, n);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            put_element(&writers[i % N_STREAMS], code, parts.z[i], parts.exponent[i]);
            flush_exactly(&writers[i % N_STREAMS]);
        }
    }
    for (size_t k = 0; k < N_STREAMS; k++) {
        end_stream(&writers[k]);
    }
}

size_t learnae_internal_encode_delta(uint8_t *dst, const float *src, const float *base,
                                     size_t length) {
    memset(dst, 0, AT_LENGTHS);
    if (memcmp(src, base, length * sizeof *src) == 0) {
        dst[0] = MODE_SAME;
        return AT_LENGTHS;
    }
    struct counts counts;
    uint8_t lengths[N_CLASSES], head[AT_STREAMS] = {MODE_CODED};
    uint64_t nbytes[N_STREAMS];
    count(&counts, src, base, length);
    const uint64_t content = plan(head, lengths, nbytes, &counts);
    if (content >= learnae_internal_delta_bound(length)) {
        dst[0] = MODE_RAW;
        memcpy(dst + AT_LENGTHS, src, length * sizeof *src);
        return (size_t)learnae_internal_delta_bound(length);
    }
    memcpy(dst, head, sizeof head);
    write_streams(dst, lengths, nbytes, src, base, length);
    return (size_t)content;
}
