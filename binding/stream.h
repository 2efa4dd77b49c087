/* The three loops that learnae.bench takes as this machine's ceiling. They are in the extension
 * module and not in the library: nobody who embeds learnae needs them.
 *
 * Each goes over its memory `passes` times, with registers of `width` bytes: 16 (whatever the
 * compiler takes for this machine by default), 32 (AVX2) or 64 (AVX-512). A width that this build
 * does not have is taken as 16; one that this CPU does not have ends the process, so ask it
 * first. nbytes is a multiple of 256. */
#include <stddef.h>
#include <stdint.h>

/* Read all of it. Returns the bitwise or of its words, which nobody needs, so that no compiler
 * can leave the reading out. */
uint64_t learnae_stream_read(const void *bytes, size_t nbytes, size_t passes, int width);

/* Multiply floats by `factor` where they are. */
void learnae_stream_scale(void *bytes, size_t nbytes, size_t passes, int width, float factor);

/* Copy to memory that does not overlap, as the C library does it, which knows this machine. */
void learnae_stream_copy(void *dst, const void *src, size_t nbytes, size_t passes);
