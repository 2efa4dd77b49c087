/* A first program: merge what another machine sent into one's own model, in place.
 *
 *   cc merge.c $(pkg-config --cflags --libs learnae) -o merge && ./merge
 *
 * prints: own model 2 3 4
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <learnae.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 3 };

static const uint8_t SCHEMA[LEARNAE_SCHEMA_NBYTES]; /* one's own digest of names and shapes */

/* What the other machine does: a model as bytes to send. The caller frees them. */
static void *encode(const float *model, size_t *nbytes, learnae_message *message) {
    void *bytes = NULL;
    if (!learnae_payload_nbytes(LEARNAE_CODEC_F32, 1, N, nbytes, message) &&
        (bytes = malloc(*nbytes)) != NULL &&
        learnae_payload_write(bytes, *nbytes, LEARNAE_CODEC_F32, SCHEMA, &model, 1, N, message)) {
        free(bytes);
        bytes = NULL;
    }
    return bytes;
}

/* What this machine does with bytes that may be anything: open, verify, and only then merge. */
static learnae_status merge(float *own, const void *bytes, size_t nbytes,
                            learnae_message *message) {
    learnae_payload payload;
    const learnae_payload *payloads[] = {&payload};
    const float weights[] = {0.5F};
    learnae_status status = learnae_payload_open(bytes, nbytes, N, &payload, message);
    if (!status) {
        status = learnae_payload_verify(&payload, message);
    }
    if (!status) {
        status = learnae_payload_average(own, 0.5F, payloads, weights, 1, 0, N, message);
    }
    return status;
}

int main(void) {
    float own[N] = {1, 2, 3}, theirs[N] = {3, 4, 5};
    learnae_message message = {"out of memory"};
    size_t nbytes = 0;
    void *bytes = encode(theirs, &nbytes, &message);
    int failed = bytes == NULL || merge(own, bytes, nbytes, &message) != LEARNAE_OK;
    free(bytes);
    if (failed) {
        fprintf(stderr, "%s\n", message.text);
        return 1;
    }
    printf("own model %g %g %g\n", (double)own[0], (double)own[1], (double)own[2]);
    return 0;
}
