/* The service of test_init_files.py: tries what its arguments say, in pairs of verb and path, then serves. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
static void on_signal(int number) { if (number == SIGQUIT) _exit(0); }
static int opened(const char *path, int flags) {
    int file = open(path, flags, 0644);
    if (file < 0) return -1;
    int result = write(file, "x", 1) == 1 ? 0 : -1, error = errno;
    close(file); errno = error;
    return result;
}
static int bound(const char *path) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name);
}
static int shortened(const char *path) {
    int file = open(path, O_WRONLY);
    int result = file < 0 ? -1 : ftruncate(file, 0), error = errno;
    close(file); errno = error;
    return result;
}
static int moved(const char *path, const char *to) {
    char other[256]; snprintf(other, sizeof other, "%s%s", to, strrchr(path, '/') + 1);
    return rename(path, other);
}
static int attempt(const char *verb, const char *path) {
    if (!strcmp(verb, "append")) return opened(path, O_WRONLY | O_CREAT | O_APPEND);
    if (!strcmp(verb, "write")) return opened(path, O_WRONLY);
    if (!strcmp(verb, "empty")) return opened(path, O_WRONLY | O_TRUNC);
    if (!strcmp(verb, "shorten")) return shortened(path);
    if (!strcmp(verb, "read")) return open(path, O_RDONLY) < 0 ? -1 : 0;
    if (!strcmp(verb, "remove")) return unlink(path);
    if (!strcmp(verb, "to-run")) return moved(path, "/run/");
    if (!strcmp(verb, "to-old")) return moved(path, "/var/log/job/old-");
    if (!strcmp(verb, "mkdir")) return mkdir(path, 0755);
    if (!strcmp(verb, "symlink")) return symlink("/etc", path);
    if (!strcmp(verb, "fifo")) return mknod(path, S_IFIFO | 0600, 0);
    if (!strcmp(verb, "socket")) return bound(path);
    if (!strcmp(verb, "mount")) return mount("tmpfs", path, "tmpfs", 0, NULL);
    if (!strcmp(verb, "bind-mount")) return mount("/run", path, NULL, MS_BIND, NULL);
    errno = ENOSYS;
    return -1;
}
int main(int count, char **words) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (int n = 1; n + 1 < count; n += 2) {
        int result = strcmp(words[n], "execute") ? attempt(words[n], words[n + 1])
            : execv(words[n + 1], &words[n + 1]); /* with the words that are left */
        printf("%s %s %s: %s\n", words[0], words[n], words[n + 1], result ? strerror(errno) : "done");
    }
    int descriptors = 0;
    for (int n = 3; n < 64; n++) descriptors += fcntl(n, F_GETFD) >= 0;
    printf("ready, %d descriptors\n", descriptors);
    signal(SIGQUIT, on_signal);
    for (;;) pause();
}
