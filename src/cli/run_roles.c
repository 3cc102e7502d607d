#include "cli/run_roles.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/term.h"
#include "config/roles.h"

#define TICK_NS        20000000
#define LIVE_NS        200000000
#define STOP_LIMIT_NS  (12 * 1000000000LL) /* children end by themselves within 11 s, whatever hangs */
#define LEAVE_LIMIT_NS (3 * 1000000000LL)  /* and within that from the second signal on */
#define LINE_BYTES     256
#define ROLE_COUNT     2

/* What a child shows; odd while it writes. */
struct line {
    _Atomic unsigned turn;
    char text[LINE_BYTES];
};

struct child {
    mr_job_role role;
    pid_t pid; /* 0: it has ended */
    bool is_stopped;
};

static struct {
    struct line *line; /* [ROLE_COUNT], shared; NULL: there is no parent, nor children */
    int lock_fd;       /* of a file that nobody sees: who prints has it locked */
    int trainer_fd;    /* scorers: it ends when the trainer does */
    mr_job_role role;
    struct child child[ROLE_COUNT];
} roles = {.lock_fd = -1, .trainer_fd = -1};

static mr_status shared_make(struct mr_err *err)
{
    void *const page =
        mmap(NULL, ROLE_COUNT * sizeof *roles.line, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    roles.lock_fd = memfd_create("millrace-print", MFD_CLOEXEC);
    if (page == MAP_FAILED || roles.lock_fd < 0)
        return mr_fail(err, MR_EIO, "no memory that processes share: %s", strerror(errno));
    roles.line = page;
    return MR_OK;
}

/* What a child does first. A parent that is gone already has left no signal. */
static void child_begin(mr_job_role role, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) raise(SIGTERM); /* blocked: it is taken where the others are */
    prctl(PR_SET_NAME, mr_job_role_name(role));
    roles.role = role;
    memset(roles.child, 0, sizeof roles.child);
}

/* Forks one; true in the child. */
static mr_status child_fork(struct child *child, mr_job_role role, bool *is_child_out, struct mr_err *err)
{
    const pid_t parent = getpid();
    const pid_t pid = fork();
    *is_child_out = !pid;
    if (pid < 0) return mr_fail(err, MR_EIO, "no process for the %s: %s", mr_job_role_name(role), strerror(errno));
    *child = (struct child){.role = role, .pid = pid};
    if (!pid) child_begin(role, parent);
    return MR_OK;
}

static void children_signal(int number)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (!roles.child[i].pid) continue;
        kill(roles.child[i].pid, number);
        roles.child[i].is_stopped = true;
    }
}

mr_status mr_roles_fork(mr_job_role *role_out, struct mr_err *err)
{
    int ends[2];
    bool is_child = false;
    *role_out = MR_ROLE_WHOLE;
    fflush(NULL); /* or what is in a buffer would be written by each */
    mr_status status = shared_make(err);
    if (!status && pipe2(ends, O_CLOEXEC)) status = mr_fail(err, MR_EIO, "no pipe: %s", strerror(errno));
    if (!status) status = child_fork(&roles.child[0], MR_ROLE_TRAINER, &is_child, err);
    if (status) return status;
    if (is_child) {
        close(ends[0]); /* the other end closes when this process ends */
        *role_out = MR_ROLE_TRAINER;
        return MR_OK;
    }
    close(ends[1]);
    status = child_fork(&roles.child[1], MR_ROLE_SCORERS, &is_child, err);
    if (!status && is_child) {
        roles.trainer_fd = ends[0];
        *role_out = MR_ROLE_SCORERS;
        return MR_OK;
    }
    close(ends[0]);
    if (status) {
        children_signal(SIGKILL);
        waitpid(roles.child[0].pid, NULL, 0);
    }
    return status;
}

bool mr_roles_is_child(void)
{
    return roles.role != MR_ROLE_WHOLE;
}

bool mr_roles_trainer_has_ended(void)
{
    struct pollfd end = {.fd = roles.trainer_fd, .events = POLLIN};
    return roles.trainer_fd >= 0 && poll(&end, 1, 0) > 0;
}

void mr_roles_print_begin(void)
{
    while (mr_roles_is_child() && lockf(roles.lock_fd, F_LOCK, 0) && errno == EINTR) {
    }
}

void mr_roles_print_end(void)
{
    const int done = mr_roles_is_child() ? lockf(roles.lock_fd, F_ULOCK, 0) : 0;
    (void)done;
}

/* ---- the line of both ---- */

void mr_roles_line(const char *text)
{
    struct line *const line = &roles.line[roles.role == MR_ROLE_TRAINER ? 0 : 1];
    atomic_fetch_add(&line->turn, 1);
    snprintf(line->text, sizeof line->text, "%s", text);
    atomic_fetch_add(&line->turn, 1);
}

/* False: it is just being written, or there is none yet. */
static bool line_get(const struct line *line, char out[LINE_BYTES])
{
    const unsigned turn = atomic_load(&line->turn);
    memcpy(out, line->text, LINE_BYTES);
    out[LINE_BYTES - 1] = '\0';
    return *out && !(turn & 1) && atomic_load(&line->turn) == turn;
}

static void live_print(bool is_over)
{
    char trainer[LINE_BYTES], scorers[LINE_BYTES], text[2 * LINE_BYTES + 16];
    const unsigned cols = mr_term_width(STDERR_FILENO);
    int bytes = 4;
    memcpy(text, "\r\033[K", 5);
    if (!is_over && line_get(&roles.line[0], trainer) && line_get(&roles.line[1], scorers)) {
        bytes += snprintf(text + 4, sizeof text - 4, "%s | %s", trainer, scorers);
        if (cols && bytes - 4 >= (int)cols) bytes = (int)cols + 3;
    } else if (!is_over) {
        return;
    }
    const ssize_t written = write(STDERR_FILENO, text, (size_t)bytes);
    (void)written;
}

/* ---- the parent ---- */

static mr_status status_of(int exit_code)
{
    for (int status = MR_OK; status < MR_ERESTART; status++) {
        if (mr_status_exit((mr_status)status) == exit_code) return (mr_status)status;
    }
    return MR_EINVARIANT;
}

/* How a child ended. */
static mr_status end_judge(mr_job_role role, int how, struct mr_err *err)
{
    const char *const name = mr_job_role_name(role);
    const int signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
    const bool is_crash =
        signal == SIGSEGV || signal == SIGABRT || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;
    if (signal)
        return mr_fail(err, is_crash ? MR_EINVARIANT : MR_ERETRY, "the %s %s ended by signal %d (%s)%s", name,
                       role == MR_ROLE_SCORERS ? "were" : "was", signal, strsignal(signal),
                       is_crash ? "" : ": start again to go on");
    const mr_status status = status_of(WEXITSTATUS(how));
    return status ? mr_fail(err, status, "the %s ended with exit code %d: what it says above", name, WEXITSTATUS(how))
                  : MR_OK;
}

/* Takes what has ended; first: of those that ended badly. */
static unsigned ended_take(bool is_limited, struct mr_err *first)
{
    unsigned left = 0;
    for (int i = 0; i < ROLE_COUNT; i++) {
        struct child *const child = &roles.child[i], *const other = &roles.child[!i];
        struct mr_err err = {0};
        int how;
        if (!child->pid || waitpid(child->pid, &how, WNOHANG) != child->pid) continue;
        child->pid = 0;
        const mr_status status = end_judge(child->role, how, &err);
        if (status && !first->status) *first = err;
        if (!other->pid || other->is_stopped || (is_limited && !status)) continue;
        mr_log(status ? MR_LOG_ERROR : MR_LOG_INFO, "run", "%s; the %s %s with it",
               status ? err.text : "one of two has ended", mr_job_role_name(other->role),
               other->role == MR_ROLE_SCORERS ? "end" : "ends");
        kill(other->pid, SIGTERM);
        other->is_stopped = true;
    }
    for (int i = 0; i < ROLE_COUNT; i++) left += roles.child[i].pid != 0;
    return left;
}

/* What does not end is not waited for. */
static void children_kill(void)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        const mr_job_role role = roles.child[i].role;
        if (roles.child[i].pid)
            mr_log(MR_LOG_ERROR, "run",
                   "the %s %s not end in time and %s killed: what is not committed will be repeated",
                   mr_job_role_name(role), role == MR_ROLE_SCORERS ? "do" : "does",
                   role == MR_ROLE_SCORERS ? "are" : "is");
    }
    children_signal(SIGKILL);
}

static bool is_any_stopped(void)
{
    bool is_any = false;
    for (int i = 0; i < ROLE_COUNT; i++) is_any |= roles.child[i].pid && roles.child[i].is_stopped;
    return is_any;
}

mr_status mr_roles_watch(const sigset_t *set, bool is_limited, bool is_live, struct mr_err *err)
{
    const struct timespec tick = {.tv_nsec = TICK_NS};
    struct mr_err first = {0};
    unsigned signal_count = 0;
    int64_t live_due_ns = 0, kill_due_ns = 0;
    mr_log(MR_LOG_INFO, "run", "a trainer and scorers trainer=%d scorers=%d", (int)roles.child[0].pid,
           (int)roles.child[1].pid);
    while (ended_take(is_limited, &first)) {
        const int number = sigtimedwait(set, NULL, &tick);
        const int64_t now_ns = mr_clock_ns();
        if (number > 0) children_signal(signal_count++ ? MR_ROLES_LEAVE : number);
        if (is_any_stopped() && !kill_due_ns) kill_due_ns = now_ns + STOP_LIMIT_NS;
        if (number > 0 && signal_count == 2 && kill_due_ns > now_ns + LEAVE_LIMIT_NS)
            kill_due_ns = now_ns + LEAVE_LIMIT_NS;
        if (kill_due_ns && now_ns >= kill_due_ns) {
            children_kill();
            kill_due_ns = INT64_MAX;
        }
        if (is_live && now_ns >= live_due_ns) {
            live_print(false);
            live_due_ns = now_ns + LIVE_NS;
        }
    }
    if (is_live) live_print(true);
    if (first.status && err) *err = first;
    return first.status;
}
