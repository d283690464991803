/* Preloaded into a process, it makes syncs fail as a broken disk does: with EIO, for every file whose
   path ends in the text that the file named by SYNC_FAILS holds; none, if that is not there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*sync_function)(int);

static int is_told_to_fail(int descriptor)
{
    char link[64], path[PATH_MAX], ending[256] = "";
    const char *told = getenv("SYNC_FAILS");
    FILE *file = told ? fopen(told, "r") : NULL;
    if (!file)
        return 0;
    if (fscanf(file, "%255s", ending) != 1)
        ending[0] = '\0';
    fclose(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    size_t wanted = strlen(ending);
    if (!wanted || length < (ssize_t)wanted)
        return 0;
    path[length] = '\0';
    return strcmp(path + length - wanted, ending) == 0;
}

static int sync_or_fail(const char *name, int descriptor)
{
    if (is_told_to_fail(descriptor)) {
        errno = EIO;
        return -1;
    }
    return ((sync_function)dlsym(RTLD_NEXT, name))(descriptor);
}

int fsync(int descriptor) { return sync_or_fail("fsync", descriptor); }

int fdatasync(int descriptor) { return sync_or_fail("fdatasync", descriptor); }
