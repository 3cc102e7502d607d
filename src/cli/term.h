/** The terminal, for commands. */
#ifndef MR_CLI_TERM_H
#define MR_CLI_TERM_H

#include "base/term.h"

#endif
