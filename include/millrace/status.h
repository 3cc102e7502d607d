/** Status codes, the error text that goes with them, and how they become exit codes. */
#ifndef MILLRACE_STATUS_H
#define MILLRACE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MR_OK = 0,
    MR_AGAIN,   /* nothing is wrong: not everything fitted, or nothing was there in time */
    MR_END,     /* the source has handed over all that it was asked for */
    MR_EUSAGE,  /* command line */
    MR_ECONFIG, /* job file */
    MR_EDATA,   /* data or model file is not what it should be */
    MR_EINPUT,  /* an input does not exist or cannot be read */
    MR_EKAFKA,  /* broker unreachable, or refuses */
    MR_ESINK,   /* a sink is unreachable, or refuses */
    MR_EIO,     /* local file input or output */
    MR_ENOMEM,
    MR_EBACKEND,   /* device missing, failed or lost */
    MR_EFENCED,    /* another instance has taken this one's place */
    MR_EINVARIANT, /* a promise of the program does not hold: never restart unseen */
    MR_ERETRY,     /* stopped before its work was done: start again to go on */
    MR_EDIFFER,    /* what was compared is further apart than is tolerated */
    MR_ERESTART,   /* the open transaction was given up: the lane is rebuilt from what is committed; no exit code */
} mr_status;

#define MR_ERR_TEXT_BYTES 768

/** One error: what went wrong, where, with which value, and what to do. The text is always terminated. */
struct mr_err {
    mr_status status;
    char text[MR_ERR_TEXT_BYTES];
};

/**
 * Fills *err (which may be NULL) with a status and a printf-formatted text; too long a text is cut.
 * Returns status, so that `return mr_fail(err, MR_EDATA, "...")` is one line. Thread-safe for distinct err.
 */
mr_status mr_fail(struct mr_err *err, mr_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* which reads one file at a time, and must know that what mr_fail returns is not MR_OK */
#define mr_fail(err, status, ...) ((mr_fail)(err, status, __VA_ARGS__), (status))
#endif

/** Name of a status for logs, such as "config"; never NULL. */
const char *mr_status_name(mr_status status);

/** Exit code of the process for a status: sysexits numbers, see README.md. */
int mr_status_exit(mr_status status);

#ifdef __cplusplus
}
#endif
#endif
