/**
 * One job in two processes, its trainer and its scorers, with this one above them: it forks both, hands signals on, and
 * waits. Both have the job as it was parsed, so that they cannot differ in it.
 *
 * Signals: SIGINT and SIGTERM ask a child for an end, however often they come (a terminal and systemd send them to all
 * processes at once); MR_ROLES_LEAVE, from the parent at its second signal, is "leave at once". A parent that is killed
 * leaves children that end in order.
 */
#ifndef MR_CLI_RUN_ROLES_H
#define MR_CLI_RUN_ROLES_H

#include <signal.h>

#include "config/job.h"
#include "scoring/follow.h"

#define MR_ROLES_LEAVE SIGUSR2

/**
 * Makes both processes, before any thread is. *role_out: what this process is now; MR_ROLE_WHOLE: the parent, for which
 * mr_roles_watch comes next. MR_EIO: no process could be made.
 */
mr_status mr_roles_fork(mr_job_role *role_out, struct mr_err *err);

/**
 * The parent: waits for both. set: SIGINT and SIGTERM, blocked. is_limited: a child that has come to its end leaves the
 * other to come to its own; else, or when it ends badly, the other is asked to end. Status and text are those of the
 * first that ended badly. is_live: shows the line of both that mr_roles_line has.
 */
mr_status mr_roles_watch(const sigset_t *set, bool is_limited, bool is_live, struct mr_err *err);

/** In a child: whether there is a parent that this was forked by. */
bool mr_roles_is_child(void);

/** In a child: what the parent shows of it, in the place of a moving line of its own. */
void mr_roles_line(const char *text);

/** In a child: around what is printed, so that lines of the two stay whole. Nothing in other processes. */
void mr_roles_print_begin(void);
void mr_roles_print_end(void);

/** In the scorers: whether the trainer has ended. */
bool mr_roles_trainer_has_ended(void);

#endif
