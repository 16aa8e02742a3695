/* Attacks on files: programs, libraries, configuration, logs, and whatever can be written at all. */
#include "victim.h"
#include <sys/mount.h>
#include <sys/stat.h>

static int append(const char *path, char *proof)
{
    (void)proof;
    return put_file(path, O_WRONLY | O_APPEND, MARK, strlen(MARK), 0);
}

/* As a package manager does: running programs cannot be written, but their names can be moved. */
static int replace(const char *path, char *proof)
{
    char other[PROOF];
    (void)proof;
    snprintf(other, sizeof other, "%s.new", path);
    if (put_file(other, O_WRONLY | O_CREAT, MARK, strlen(MARK), 0755))
        return -1;
    return rename(other, path);
}

static int delete_file(const char *path, char *proof)
{
    (void)proof;
    return unlink(path);
}

static int create(const char *folder, char *proof)
{
    char path[PROOF];
    (void)proof;
    snprintf(path, sizeof path, "%s/" MARK, folder);
    return put_file(path, O_WRONLY | O_CREAT, MARK, strlen(MARK), 0644);
}

static int mount_over(const char *path, char *proof)
{
    char folder[PROOF];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (mount("none", folder, "tmpfs", 0, ""))
        return -1;
    if (access(path, F_OK))
        snprintf(proof, PROOF, "what lay there is hidden");
    return 0;
}

static int remount(const char *path, char *proof)
{
    if (mount("none", "/", NULL, MS_REMOUNT | MS_BIND, NULL))
        return -1;
    return append(path, proof);
}

static int truncate_log(const char *path, char *proof)
{
    (void)proof;
    int by_descriptor = ftruncate(log_descriptor, 0);
    int fd = open(path, O_WRONLY | O_TRUNC);
    return fd < 0 ? by_descriptor : close(fd);
}

static int overwrite_log(const char *path, char *proof)
{
    (void)proof;
    return put_file(path, O_WRONLY, MARK "\n", strlen(MARK) + 1, 0);
}

/* Until nothing goes in any more, or `most` MiB are written. */
static int fill(const char *path, char *proof)
{
    static char block[1 << 20];
    enum { MOST = 128 };
    int count = 0, fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0)
        return -1;
    while (count < MOST && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        count++;
    while (write(fd, block, 4096) == 4096 && count++ < 2 * MOST)
        ;
    snprintf(proof, PROOF, "%d pieces", count);
    return close(fd);
}

static int set_user_id(const char *path, char *proof)
{
    struct stat state;
    if (chmod(path, 04755) || stat(path, &state))
        return -1;
    snprintf(proof, PROOF, "mode %o", state.st_mode & 07777);
    return 0;
}

/* Disks, memory and control lines of the machine; none that does something when it is opened. */
static int open_devices(const char *unused, char *proof)
{
    static const char *names[] = {"vda", "vdb", "sda", "nvme0n1", "dm-0", "mem", "port", "kmsg",
                                  "ttyS0", "ttyS1", "vport0p1", "loop-control", "fuse", "net/tun"};
    (void)unused;
    int count = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        snprintf(path, sizeof path, "/dev/%s", names[i]);
        int fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM))
            fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
            continue;
        count++;
        snprintf(proof + strlen(proof), PROOF - strlen(proof), "opened %s ", names[i]);
        close(fd);
    }
    errno = ENOENT;
    return count ? 0 : -1;
}

static int make_device(const char *folder, char *proof)
{
    char path[PROOF], byte;
    snprintf(path, sizeof path, "%s/made", folder);
    if (mknod(path, S_IFCHR | 0666, 1 << 8 | 5))
        return -1;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) != 1)
        return -1;
    snprintf(proof, PROOF, "a device was made and read");
    return close(fd);
}

/* PID/root/PATH: the root of another process */
static int read_outside(const char *path, char *proof)
{
    char outside[PROOF];
    snprintf(outside, sizeof outside, "/proc/%s", path);
    return get_file(outside, proof, PROOF) > 0 ? 0 : -1;
}

static int set_kernel(const char *unused, char *proof)
{
    static const char *path = "/proc/sys/net/ipv4/ip_default_ttl";
    char text[32] = "";
    (void)unused;
    if (put_file(path, O_WRONLY, "42", 2, 0) || get_file(path, text, sizeof text) < 0)
        return -1;
    snprintf(proof, PROOF, "time to live is %s", text);
    proof[strcspn(proof, "\n")] = 0;
    return 0;
}

const struct attack file_attacks[] = {
    {"append", append},
    {"replace", replace},
    {"delete", delete_file},
    {"create", create},
    {"mount", mount_over},
    {"remount", remount},
    {"truncate-log", truncate_log},
    {"overwrite-log", overwrite_log},
    {"fill", fill},
    {"set-user-id", set_user_id},
    {"open-devices", open_devices},
    {"make-device", make_device},
    {"read-outside", read_outside},
    {"set-kernel", set_kernel},
    {NULL, NULL},
};
