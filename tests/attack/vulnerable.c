/* A TCP service that answers "hello", and can be taken over: each other line is an attacker's wish. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_to(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND);
    if (fd < 0)
        return -1;
    int result = write(fd, "", 0);
    close(fd);
    return result;
}

static int run(const char *path)
{
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        execl(path, path, "-c", "exit 0", (char *)NULL);
        _exit(127);
    }
    int status;
    if (waitpid(child, &status, 0) < 0)
        return -1;
    errno = ENOENT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int attack(const char *wish, const char *argument)
{
    if (!strcmp(wish, "write"))
        return write_to(argument);
    if (!strcmp(wish, "create"))
        return close(open(argument, O_CREAT | O_WRONLY, 0600));
    if (!strcmp(wish, "run"))
        return run(argument);
    if (!strcmp(wish, "chmod"))
        return chmod(argument, 04755);
    if (!strcmp(wish, "mount"))
        return mount("none", argument, "tmpfs", 0, "");
    if (!strcmp(wish, "unshare"))
        return unshare(CLONE_NEWNS);
    if (!strcmp(wish, "raw-socket"))
        return close(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    if (!strcmp(wish, "become"))
        return setuid(atoi(argument));
    if (!strcmp(wish, "trace"))
        return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    errno = EINVAL;
    return -1;
}

static void answer(int client)
{
    char line[512] = "", wish[32] = "", argument[400] = "", reply[64];
    if (read(client, line, sizeof line - 1) <= 0)
        return;
    sscanf(line, "%31s %399s", wish, argument);
    if (!strcmp(wish, "hello"))
        snprintf(reply, sizeof reply, "hello\n");
    else
        snprintf(reply, sizeof reply, "%s\n", attack(wish, argument) < 0 ? strerror(errno) : "done");
    if (write(client, reply, strlen(reply)) < 0)
        return;
}

static void end(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    int yes = 1, server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7007)};
    signal(SIGTERM, end);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 8))
        return 1;
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client >= 0) {
            answer(client);
            close(client);
        }
    }
}
