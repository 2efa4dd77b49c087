/* Four streams of bits, read side by side: a code word ends where its length says, so that one
 * stream alone would wait for its own table look-ups. Elements i with i mod 4 = k are in stream k.
 * Bits fill each byte from its lowest on; what is left of a stream's last byte is 0.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef LEARNAE_STREAMS_H
#define LEARNAE_STREAMS_H

#include "prefix.h"

#define N_STREAMS 4

/* The first byte of a block that may be coded. */
enum { MODE_SAME = 0, MODE_RAW = 1, MODE_CODED = 2 };

/* ---- Writing ------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
    uint64_t word;
    uint32_t n_bits; /* in word: below 8 between two puts */
};

LEARNAE_INLINE void put_bits(struct writer *writer, uint64_t bits, uint32_t n_bits) {
    writer->word |= bits << writer->n_bits;
    writer->n_bits += n_bits;
}

/* Eight bytes are stored though not all are full: the next ones are stored over them. */
LEARNAE_INLINE void flush(struct writer *writer) {
    const uint32_t n_bytes = writer->n_bits / 8;
    memcpy(writer->at, &writer->word, 8);
    writer->at += n_bytes;
    writer->word >>= 8 * n_bytes;
    writer->n_bits %= 8;
}

/* At the end of a stream another begins. */
LEARNAE_INLINE void flush_exactly(struct writer *writer) {
    for (; writer->n_bits >= 8; writer->n_bits -= 8, writer->word >>= 8) {
        *writer->at++ = (uint8_t)writer->word;
    }
}

/* The rest of the last byte. */
LEARNAE_INLINE void end_stream(struct writer *writer) {
    put_bits(writer, 0, writer->n_bits == 0 ? 0 : 8 - writer->n_bits);
    flush_exactly(writer);
}

/* ---- Reading ------------------------------------------------------------------------- */

struct streams {
    const uint8_t *stream[N_STREAMS];
    size_t nbytes[N_STREAMS];
    uint64_t at[N_STREAMS]; /* the next bit */
};

/* Streams one behind the other, from `at` on; their sizes are 32 bits each. */
LEARNAE_INLINE void begin_streams(struct streams *streams, const uint8_t *sizes,
                                  const uint8_t *at) {
    for (size_t k = 0; k < N_STREAMS; k++) {
        streams->stream[k] = at;
        streams->nbytes[k] = read_u32(sizes + 4 * k);
        streams->at[k] = 0;
        at += streams->nbytes[k];
    }
}

/* The next 57 bits or more, of a stream that has eight bytes left. */
LEARNAE_INLINE uint64_t window_at(const uint8_t *stream, uint64_t at) {
    uint64_t word;
    memcpy(&word, stream + at / 8, sizeof word);
    return word >> at % 8;
}

/* The same near the end of a stream, behind which there are zeros. */
LEARNAE_INLINE uint64_t last_window(const struct streams *streams, size_t k) {
    const uint64_t at = streams->at[k];
    uint64_t word = 0;
    if (at / 8 < streams->nbytes[k]) {
        const size_t left = streams->nbytes[k] - (size_t)(at / 8);
        memcpy(&word, streams->stream[k] + at / 8, left < 8 ? left : 8);
    }
    return word >> at % 8;
}

/* How often window_at() may be asked of every stream when it moves on by up to `max_bits` each
 * time, whatever the bits say. */
LEARNAE_INLINE size_t n_safe_rounds(const struct streams *streams, uint32_t max_bits) {
    uint64_t n = UINT64_MAX;
    for (size_t k = 0; k < N_STREAMS; k++) {
        const uint64_t end = 8 * (uint64_t)streams->nbytes[k];
        const uint64_t left = end < streams->at[k] + 64 ? 0 : end - streams->at[k] - 64;
        n = left / max_bits < n ? left / max_bits : n;
    }
    return (size_t)n;
}

/* Every stream must end in its last byte, and what is left of that be zero. */
LEARNAE_INLINE bool streams_ended(const struct streams *streams) {
    for (size_t k = 0; k < N_STREAMS; k++) {
        if ((streams->at[k] + 7) / 8 != streams->nbytes[k] || last_window(streams, k) != 0) {
            return false;
        }
    }
    return true;
}

#endif /* LEARNAE_STREAMS_H */
