/* Codec delta: reading blocks that may be hostile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "delta.h"

static void read_lengths(uint8_t lengths[N_CLASSES], const uint8_t *block) {
    for (size_t symbol = 0; symbol < N_CLASSES; symbol++) {
        lengths[symbol] = block[AT_LENGTHS + symbol / 2] >> symbol % 2 * 4 & 15;
    }
}

/* The size of the content, from the sizes of its parts; 0 where it cannot be. */
static uint64_t content_nbytes(const uint8_t *block, size_t nbytes, size_t length) {
    uint8_t lengths[N_CLASSES];
    uint64_t content = AT_STREAMS;
    switch (block[0]) {
    case MODE_SAME:
        return AT_LENGTHS;
    case MODE_RAW:
        return learnae_internal_delta_bound(length);
    case MODE_CODED:
        if (nbytes < AT_STREAMS) {
            return 0;
        }
        read_lengths(lengths, block);
        for (size_t k = 0; k < N_STREAMS; k++) {
            content += read_u32(block + AT_SIZES + 4 * k);
        }
        return learnae_internal_code_complete(lengths, N_CLASSES) &&
                       block[AT_LENGTHS + N_CLASSES / 2] >> 4 == 0 &&
                       learnae_internal_all_zero(block + AT_LENGTHS + N_CLASSES / 2 + 1,
                                                 AT_SIZES - AT_LENGTHS - N_CLASSES / 2 - 1)
                   ? content
                   : 0;
    default:
        return 0;
    }
}

/* The padding is less than LEARNAE_ALIGNMENT: the size of a block follows from what is in it. */
bool learnae_internal_delta_valid(const uint8_t *block, size_t nbytes, size_t length) {
    if (nbytes < AT_LENGTHS || !learnae_internal_all_zero(block + 1, AT_LENGTHS - 1)) {
        return false;
    }
    const uint64_t content = content_nbytes(block, nbytes, length);
    return content != 0 && content <= nbytes && round_up(content, LEARNAE_ALIGNMENT) == nbytes &&
           learnae_internal_all_zero(block + content, nbytes - (size_t)content);
}

/* An entry of the table: in bits 0 to 3 the length of the word, in 4 to 8 c, in 9 whether z is
 * not 0, in 11 to 15 a mask that makes the place 0 where z is. */
static void entries_of(uint16_t entries[N_CLASSES], const uint8_t lengths[N_CLASSES]) {
    entries[0] = lengths[0];
    for (uint32_t symbol = 1; symbol < N_CLASSES; symbol++) {
        entries[symbol] = (uint16_t)(lengths[symbol] | (symbol - 1) << 4 | 1u << 9 | 31u << 11);
    }
}

void learnae_internal_delta_begin(struct delta_reader *reader, const uint8_t *block) {
    reader->mode = block[0];
    reader->raw = block + AT_LENGTHS;
    if (reader->mode != MODE_CODED) {
        return;
    }
    uint8_t lengths[N_CLASSES];
    uint16_t entries[N_CLASSES];
    read_lengths(lengths, block);
    entries_of(entries, lengths);
    learnae_internal_code_table(reader->table, lengths, entries, N_CLASSES);
    begin_streams(&reader->streams, block + AT_SIZES, block + AT_STREAMS);
}

/* z of the element that `window` starts with: the next 57 bits or more. *at moves behind it. */
LEARNAE_INLINE uint32_t element(const uint16_t *table, uint64_t window, uint32_t from_exponent,
                                uint64_t *at) {
    const uint32_t entry = table[window & (CODE_TABLE_LENGTH - 1)];
    const uint32_t n_word = entry & 15;
    const uint32_t place = ((entry >> 4) - from_exponent) & entry >> 11;
    const uint32_t below = (uint32_t)(window >> n_word) & (((uint32_t)1 << place) - 1);
    *at += n_word + place;
    return below | (entry >> 9 & 1) << place;
}

static void read_rounds(struct streams *streams, const uint16_t *table, uint32_t *z,
                        const uint32_t *exponents, size_t n) {
    const uint8_t *const s0 = streams->stream[0], *const s1 = streams->stream[1];
    const uint8_t *const s2 = streams->stream[2], *const s3 = streams->stream[3];
    uint64_t at0 = streams->at[0], at1 = streams->at[1];
    uint64_t at2 = streams->at[2], at3 = streams->at[3];
    for (size_t i = 0; i < n; i += N_STREAMS) {
        z[i] = element(table, window_at(s0, at0), exponents[i], &at0);
        z[i + 1] = element(table, window_at(s1, at1), exponents[i + 1], &at1);
        z[i + 2] = element(table, window_at(s2, at2), exponents[i + 2], &at2);
        z[i + 3] = element(table, window_at(s3, at3), exponents[i + 3], &at3);
    }
    streams->at[0] = at0;
    streams->at[1] = at1;
    streams->at[2] = at2;
    streams->at[3] = at3;
}

/* z of n elements; exponents are those of the base. */
static void read_step(struct delta_reader *reader, uint32_t z[STEP], const uint32_t exponents[STEP],
                      size_t n) {
    struct streams *const streams = &reader->streams;
    size_t i = 0;
    for (size_t rounds;
         (rounds = n_safe_rounds(streams, ELEMENT_MAX_BITS)) > 0 && i + N_STREAMS <= n;) {
        const size_t left = (n - i) / N_STREAMS;
        const size_t now = N_STREAMS * (left < rounds ? left : rounds);
        read_rounds(streams, reader->table, z + i, exponents + i, now);
        i += now;
    }
    for (; i < n; i++) {
        const size_t k = i % N_STREAMS;
        z[i] = element(reader->table, last_window(streams, k), exponents[i], &streams->at[k]);
    }
}

static void read_coded(struct delta_reader *reader, float *values, size_t n) {
    uint32_t from[STEP] = {0}, z[STEP] = {0}, exponents[STEP];
    memcpy(from, values, n * sizeof *values);
    for (size_t i = 0; i < STEP; i++) {
        exponents[i] = exponent(from[i]);
    }
    read_step(reader, z, exponents, n);
    for (size_t i = 0; i < STEP; i++) {
        from[i] = unordered(ordered(from[i]) + (z[i] >> 1 ^ (0u - (z[i] & 1))));
    }
    memcpy(values, from, n * sizeof *values);
}

void learnae_internal_delta_next(struct delta_reader *reader, float *values, size_t n) {
    if (reader->mode == MODE_RAW) {
        memcpy(values, reader->raw, n * sizeof *values);
        reader->raw += n * sizeof *values;
    }
    for (size_t start = 0; start < n && reader->mode == MODE_CODED; start += STEP) {
        read_coded(reader, values + start, n - start < STEP ? n - start : STEP);
    }
}

bool learnae_internal_delta_end(const struct delta_reader *reader) {
    return reader->mode != MODE_CODED || streams_ended(&reader->streams);
}
