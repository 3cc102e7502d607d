#include "cli/demo_work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define COPY_BYTES 65536

static int one_remove(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

/* Waits until nobody holds the other end of the pipe any more, then removes the folder. No signal ends it before. */
_Noreturn static void cleaner_main(const char *path, int ended)
{
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t all;
    char byte;
    setsid(); /* Ctrl-C is for those of the terminal */
    prctl(PR_SET_NAME, "demo-cleaner");
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++) dup2(nothing, fd);
    if (chdir("/")) _exit(1);
    while (read(ended, &byte, 1) < 0 && errno == EINTR) {
    }
    nftw(path, one_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    _exit(0);
}

static mr_status folder_make(struct mr_demo_work *work, struct mr_err *err)
{
    const char *const named = getenv("TMPDIR"), *const top = named && *named ? named : "/tmp";
    char *full = NULL;
    int end[2];
    if (asprintf(&work->path, "%s/millrace-demo-XXXXXX", top) < 0) {
        work->path = NULL;
        return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    if (!mkdtemp(work->path) || !(full = realpath(work->path, NULL)))
        return mr_fail(err, MR_EIO, "%s: %s: TMPDIR may name another folder for temporary files", top, strerror(errno));
    free(work->path);
    work->path = full;
    if (!pipe2(end, O_CLOEXEC)) {
        work->cleaner = fork();
        if (!work->cleaner) {
            close(end[1]);
            cleaner_main(work->path, end[0]);
        }
        close(end[0]);
        work->alive = end[1];
        if (work->cleaner > 0) return MR_OK;
        close(end[1]);
    }
    const mr_status status = mr_fail(err, MR_EIO, "could not start a process: %s", strerror(errno));
    rmdir(work->path);
    return status;
}

/* Copies what is read from a file, decompressed where it is compressed and `unpacks`. False: errno says why. */
static bool file_copy(int from, const char *to, bool unpacks)
{
    char bytes[COPY_BYTES];
    const int fd = dup(from);
    gzFile packed = unpacks && fd >= 0 && !lseek(fd, 0, SEEK_SET) ? gzdopen(fd, "rb") : NULL;
    const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_done = out >= 0 && (packed || !unpacks);
    for (ssize_t count = 1; is_done && count;) {
        count = packed ? gzread(packed, bytes, sizeof bytes) : read(from, bytes, sizeof bytes);
        is_done = count >= 0 && write(out, bytes, (size_t)count) == count;
    }
    const int error = errno;
    if (packed)
        gzclose(packed);
    else if (fd >= 0)
        close(fd);
    if (out >= 0 && close(out)) is_done = false;
    errno = error;
    return is_done;
}

static mr_status entry_copy(const struct mr_demo_work *work, const char *data_set, const char *name, struct mr_err *err)
{
    const size_t bytes = strlen(name);
    char *from = NULL, *to = NULL;
    struct stat info;
    bool is_done = asprintf(&from, "%s/%s", data_set, name) >= 0 && asprintf(&to, "%s/%s", work->path, name) >= 0;
    const int fd = is_done ? open(from, O_RDONLY | O_CLOEXEC) : -1;
    is_done = fd >= 0 && !fstat(fd, &info);
    if (is_done && S_ISREG(info.st_mode)) {
        is_done = file_copy(fd, to, false);
        if (is_done && bytes > 3 && !strcmp(name + bytes - 3, ".gz")) {
            to[strlen(to) - 3] = '\0';
            is_done = file_copy(fd, to, true);
        }
    }
    const mr_status status = is_done ? MR_OK : mr_fail(err, MR_EIO, "%s/%s: %s", data_set, name, strerror(errno));
    if (fd >= 0) close(fd);
    free(from);
    free(to);
    return status;
}

mr_status mr_demo_work_begin(struct mr_demo_work *work, const char *data_set, struct mr_err *err)
{
    *work = (struct mr_demo_work){0};
    mr_status status = folder_make(work, err);
    if (status) return status;
    DIR *const folder = opendir(data_set);
    if (!folder) return mr_fail(err, MR_EINPUT, "%s: %s", data_set, strerror(errno));
    for (const struct dirent *entry; !status && (entry = readdir(folder));)
        if (entry->d_name[0] != '.') status = entry_copy(work, data_set, entry->d_name, err);
    closedir(folder);
    return status;
}

void mr_demo_work_end(struct mr_demo_work *work)
{
    if (work->cleaner > 0) {
        close(work->alive);
        while (waitpid(work->cleaner, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    free(work->path);
    *work = (struct mr_demo_work){0};
}
