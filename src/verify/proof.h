/** What a verification found: what contradicts, what could not be proved, and the figures; as text or JSON. */
#ifndef MR_VERIFY_PROOF_H
#define MR_VERIFY_PROOF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "millrace/blob.h"
#include "millrace/status.h"

#define MR_FINDING_TEXT_BYTES 512
#define MR_FINDINGS_SHOWN     20

typedef enum {
    MR_FOUND_MISSING,
    MR_FOUND_DUPLICATED,
    MR_FOUND_REORDERED,
    MR_FOUND_DIFFERENT,
    MR_FOUND_FOREIGN,
    MR_FOUND_LEARNED_TWICE,
    MR_FOUND_NOT_LEARNED,
    MR_FOUND_STATE,   /* the state topic contradicts itself, or has a record of others */
    MR_FOUND_WEIGHTS, /* a model is not what its records make */
    MR_FOUND_AHEAD,   /* the group's offset, of the state's */
    MR_FOUND_BEHIND,
    MR_FOUND_COUNTS, /* in = out + dead + filtered, or the manifests' counters */
    MR_FOUND_KINDS
} mr_found;

/** One contradiction. topic: NULL where it has no place; partition and offset -1 likewise. */
struct mr_finding {
    mr_found kind;
    char topic[256];
    int32_t partition;
    int64_t offset;
    char text[MR_FINDING_TEXT_BYTES];
};

/** Lines of text, as many as memory holds. */
struct mr_proof_lines {
    struct mr_blob text; /* one behind the other, each with its 0 */
    uint64_t count;      /* of those in text */
    uint64_t left_out;   /* for want of memory */
};

/** Starts zeroed; mr_proof_deinit() frees what it holds. */
struct mr_proof {
    struct mr_finding finding[MR_FINDINGS_SHOWN]; /* the first ones */
    uint64_t count[MR_FOUND_KINDS], total;
    struct mr_proof_lines notes, facts; /* what is not proved; what is */
    uint64_t messages, in, out, dead, filtered;
    uint64_t commits, updates, models_equal;
    double seconds;
    mr_status stopped; /* an error has ended it before all was looked at */
    mr_status missing; /* MR_EINPUT: records that are needed are no longer there */
};

/** Stable name of a kind: "missing". */
const char *mr_found_name(mr_found kind);

/** Notes a contradiction; all are counted, the first ones kept. */
void mr_proof_found(struct mr_proof *proof, mr_found kind, const char *topic, int32_t partition, int64_t offset,
                    const char *format, ...) __attribute__((format(printf, 6, 7)));
/** Notes what is not proved, what is: a line each, cut at MR_FINDING_TEXT_BYTES. */
void mr_proof_note(struct mr_proof *proof, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mr_proof_fact(struct mr_proof *proof, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Frees its lines. */
void mr_proof_deinit(struct mr_proof *proof);

/** Prints it for people, or as one JSON object. */
void mr_proof_print(const struct mr_proof *proof, const char *job, bool is_json, FILE *out);

/** MR_OK: nothing contradicts and nothing that is needed was gone. MR_EINVARIANT, MR_EINPUT. */
mr_status mr_proof_status(const struct mr_proof *proof, struct mr_err *err);

#endif
