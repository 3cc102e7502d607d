/** For rows that come from no topic: `millrace score` and `millrace bench` encode with it. */
#ifndef MR_CLI_NO_SOURCE_H
#define MR_CLI_NO_SOURCE_H

#include "millrace/source.h"

/** Knows no headers and no times; its one topic is called "stdin". Only these three entries are there. */
extern const struct mr_source_ops mr_no_source;

#endif
