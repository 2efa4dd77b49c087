/* Codecs i8z and i4z: reading blocks that may be hostile.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "packed.h"

/* ---- One block ----------------------------------------------------------------------- */

static void read_lengths(uint8_t lengths[N_CODES], const uint8_t *head) {
    for (size_t code = 0; code < N_CODES; code++) {
        lengths[code] = head[code / 2] >> code % 2 * 4 & 15;
    }
}

/* The size of what follows the scales, from the sizes of its parts; 0 where it cannot be. `left`
 * bytes are there, padding included. */
static uint64_t tail_nbytes(const uint8_t *block, size_t scales_nbytes, size_t n, size_t left) {
    const uint8_t *const head = block + PACKED_HEAD_NBYTES + scales_nbytes;
    if (block[0] == MODE_RAW) {
        return n;
    }
    if (block[0] != MODE_CODED || left < PACKED_STREAMS) {
        return 0;
    }
    uint8_t lengths[N_CODES];
    uint64_t nbytes = PACKED_STREAMS;
    read_lengths(lengths, head);
    for (size_t k = 0; k < N_STREAMS; k++) {
        const size_t n_words = (n + N_STREAMS - 1 - k) / N_STREAMS;
        const uint32_t size = read_u32(head + PACKED_SIZES + 4 * k);
        if (size < (n_words + 7) / 8) {
            return 0; /* no word is shorter than a bit: who unpacks this asks for memory in vain */
        }
        nbytes += size;
    }
    return learnae_internal_code_complete(lengths, N_CODES) ? nbytes : 0;
}

/* A block of i4 whose elements are odd in number leaves half a byte over, which is 0. */
static bool spare_zero(uint32_t codec, size_t length, const uint8_t *codes, size_t n) {
    const uint32_t used = length * learnae_internal_codec(codec)->n_bits % 8;
    return used == 0 || codes[n - 1] >> used == 0;
}

bool learnae_internal_packed_valid(uint32_t codec, const uint8_t *block, size_t nbytes,
                                   size_t length) {
    const size_t scales_nbytes = (size_t)learnae_internal_scales_nbytes(codec, length);
    const size_t before = PACKED_HEAD_NBYTES + scales_nbytes;
    if (nbytes < before || !learnae_internal_all_zero(block + 1, PACKED_HEAD_NBYTES - 1)) {
        return false;
    }
    const size_t n = n_codes_of(codec, length);
    const uint64_t tail = tail_nbytes(block, scales_nbytes, n, nbytes - before);
    const uint64_t content = before + tail;
    return tail != 0 && content <= nbytes && round_up(content, LEARNAE_ALIGNMENT) == nbytes &&
           learnae_internal_all_zero(block + content, nbytes - (size_t)content) &&
           (block[0] == MODE_CODED || spare_zero(codec, length, block + before, n));
}

/* entry: the code, and the length of its word from bit 8 on. */
LEARNAE_INLINE uint8_t take_code(const uint16_t *table, uint64_t window, uint32_t *n_bits) {
    const uint32_t entry = table[window & (CODE_TABLE_LENGTH - 1)];
    *n_bits = entry >> 8;
    return (uint8_t)entry;
}

LEARNAE_INLINE void take_run(const uint16_t *table, const uint8_t *stream, uint64_t *at,
                             uint8_t *codes) {
    uint64_t window = window_at(stream, *at);
    for (size_t i = 0; i < RUN_LENGTH; i++) {
        uint32_t n_bits;
        codes[i * N_STREAMS] = take_code(table, window, &n_bits);
        window >>= n_bits;
        *at += n_bits;
    }
}

static void read_rounds(struct streams *streams, const uint16_t *table, uint8_t *codes, size_t n) {
    const uint8_t *const s0 = streams->stream[0], *const s1 = streams->stream[1];
    const uint8_t *const s2 = streams->stream[2], *const s3 = streams->stream[3];
    uint64_t at0 = streams->at[0], at1 = streams->at[1];
    uint64_t at2 = streams->at[2], at3 = streams->at[3];
    for (size_t i = 0; i < n; i += ROUND_LENGTH) {
        take_run(table, s0, &at0, codes + i);
        take_run(table, s1, &at1, codes + i + 1);
        take_run(table, s2, &at2, codes + i + 2);
        take_run(table, s3, &at3, codes + i + 3);
    }
    streams->at[0] = at0;
    streams->at[1] = at1;
    streams->at[2] = at2;
    streams->at[3] = at3;
}

/* n codes of a coded block, whose head is valid. False: the streams are wrong. */
static bool read_codes(uint8_t *codes, const uint8_t *head, size_t n) {
    uint8_t lengths[N_CODES];
    uint16_t entries[N_CODES], table[CODE_TABLE_LENGTH];
    struct streams streams;
    size_t i = 0;
    read_lengths(lengths, head);
    for (uint32_t code = 0; code < N_CODES; code++) {
        entries[code] = (uint16_t)(code | (uint32_t)lengths[code] << 8);
    }
    learnae_internal_code_table(table, lengths, entries, N_CODES);
    begin_streams(&streams, head + PACKED_SIZES, head + PACKED_STREAMS);
    for (size_t rounds;
         (rounds = n_safe_rounds(&streams, RUN_LENGTH * CODE_MAX)) > 0 && i + ROUND_LENGTH <= n;) {
        const size_t left = (n - i) / ROUND_LENGTH;
        const size_t now = ROUND_LENGTH * (left < rounds ? left : rounds);
        read_rounds(&streams, table, codes + i, now);
        i += now;
    }
    for (; i < n; i++) {
        uint32_t n_bits;
        codes[i] = take_code(table, last_window(&streams, i % N_STREAMS), &n_bits);
        streams.at[i % N_STREAMS] += n_bits;
    }
    return streams_ended(&streams);
}

/* ---- A payload ----------------------------------------------------------------------- */

/* Where a block starts. A thread's blocks ascend, so that it goes on from the last one. */
struct place {
    size_t block;
    const uint8_t *at;
};

static bool unpack_block(const struct packing *call, size_t block, struct place *place) {
    const learnae_payload *const payload = call->payload;
    const uint8_t *const table = payload->bytes + LEARNAE_HEADER_NBYTES;
    for (; place->block < block; place->block++) {
        place->at += read_u32(table + place->block * TABLE_ENTRY_NBYTES);
    }
    const size_t length = learnae_internal_extent(&call->from, block).length;
    const size_t nbytes = read_u32(table + block * TABLE_ENTRY_NBYTES);
    if (!learnae_internal_packed_valid(payload->codec, place->at, nbytes, length)) {
        return false;
    }
    const size_t scales_nbytes = (size_t)learnae_internal_scales_nbytes(payload->codec, length);
    const size_t n = n_codes_of(payload->codec, length);
    const uint8_t *const tail = place->at + PACKED_HEAD_NBYTES + scales_nbytes;
    uint8_t *const dst = block_at(call, block), *const codes = dst + scales_nbytes;
    memcpy(dst, place->at + PACKED_HEAD_NBYTES, scales_nbytes);
    if (place->at[0] == MODE_RAW) {
        memcpy(codes, tail, n);
    } else if (!read_codes(codes, tail, n)) {
        return false;
    }
    learnae_internal_enter_block(call, block, scales_nbytes + n);
    return spare_zero(payload->codec, length, codes, n);
}

/* As in verify.c: the first block that is wrong is found whoever takes it. */
static void unpack_tiles(void *context, struct tiles *tiles) {
    struct packing *call = context;
    const learnae_payload *const payload = call->payload;
    const size_t step = blocks_together(payload);
    struct place place = {0,
                          payload->bytes + LEARNAE_HEADER_NBYTES + (size_t)call->from.table_nbytes};
    for (size_t tile; next_tile(tiles, &tile);) {
        for (size_t block = tile * step; block < (tile + 1) * step; block++) {
            size_t bad = atomic_load(&call->bad);
            if (block >= bad) {
                return;
            }
            if (!unpack_block(call, block, &place)) {
                while (block < bad && !atomic_compare_exchange_weak(&call->bad, &bad, block)) {
                }
                return;
            }
        }
    }
}

learnae_status learnae_payload_unpack(void *dst, size_t dst_nbytes, const learnae_payload *payload,
                                      learnae_message *message) {
    struct packing call = {.payload = payload, .dst = dst};
    const learnae_status status = learnae_internal_begin_packing(&call, dst_nbytes, false, message);
    if (status != LEARNAE_OK) {
        return status;
    }
    const size_t step = blocks_together(payload);
    learnae_internal_run(unpack_tiles, &call, (payload->n_blocks + step - 1) / step,
                         payload->nbytes + call.to.nbytes);
    const size_t bad = atomic_load(&call.bad);
    if (bad < payload->n_blocks) {
        return learnae_internal_fail(LEARNAE_ERR_FORMAT, message,
                                     "payload block %llu of %u has codes that are wrong",
                                     (unsigned long long)bad, (unsigned)payload->n_blocks);
    }
    learnae_internal_end_packing(&call, (size_t)call.to.nbytes);
    return LEARNAE_OK;
}
