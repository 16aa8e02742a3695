/* A web application in small, with every hole: a request can name an attack and is obeyed.
 *
 * hello    asks the backend over TCP, and logs
 * cgi      has the helper program count the calls in a file of its own; and write to another one
 * else     what an attacker whose code runs in here would do, with one argument
 */
#include "victim.h"
#include <arpa/inet.h>
#include <libgen.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { PORT = 7007, BACKEND_PORT = 7008 };

char banner[32] = "hello";
int log_descriptor = -1;
static char folder[256], log_path[300], state_path[300];
static int log_renamed; /* an eventfd */

int put_file(const char *path, int flags, const void *bytes, size_t size, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0)
        return -1;
    int result = write(fd, bytes, size) == (ssize_t)size ? 0 : -1;
    return close(fd) || result ? -1 : 0;
}

ssize_t get_file(const char *path, char *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t count = read(fd, bytes, size - 1);
    close(fd);
    bytes[count < 0 ? 0 : count] = 0;
    return count;
}

/* What a program prints; by its path, or by `descriptor` where that is not negative. */
int answer_of(const char *program, char *const arguments[], int descriptor, char *proof)
{
    int ends[2], status;
    if (pipe(ends))
        return -1;
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        dup2(ends[1], 1);
        signal(SIGCHLD, SIG_DFL);
        if (descriptor < 0)
            execv(program, arguments);
        else
            syscall(SYS_execveat, descriptor, "", arguments, NULL, 0x1000 /* AT_EMPTY_PATH */);
        dprintf(1, "%s", strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    ssize_t count = read(ends[0], proof, PROOF - 1);
    close(ends[0]);
    proof[count < 0 ? 0 : count] = 0;
    proof[strcspn(proof, "\n")] = 0;
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static int listen_on(int family, int port)
{
    int yes = 1, server = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr *address = family == AF_INET ? (void *)&four : (void *)&six;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(server, address, family == AF_INET ? sizeof four : sizeof six) || listen(server, 8))
        exit(1);
    return server;
}

static void ask_backend(char *reply, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(BACKEND_PORT)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int backend = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t count = -1;
    if (!connect(backend, (struct sockaddr *)&address, sizeof address))
        count = read(backend, reply, size - 1);
    reply[count < 0 ? 0 : count] = 0;
    close(backend);
}

static void obey(const char *name, const char *argument, char *reply)
{
    const struct attack *lists[] = {file_attacks, process_attacks, kernel_attacks, memory_attacks,
                                    network_attacks};
    char proof[PROOF] = "";
    for (size_t list = 0; list < sizeof lists / sizeof *lists; list++)
        for (const struct attack *attack = lists[list]; attack->name; attack++)
            if (!strcmp(attack->name, name)) {
                errno = 0;
                int failed = attack->run(argument, proof);
                snprintf(reply, 500, "%s: %s", failed ? strerror(errno) : "done", proof);
                return;
            }
    snprintf(reply, 500, "there is no attack %s", name);
}

static void answer(int client)
{
    char line[600] = "", name[64] = "", argument[500] = "", reply[512] = "", said[128] = "";
    if (read(client, line, sizeof line - 1) <= 0)
        return;
    sscanf(line, "%63s %499s", name, argument);
    if (!strcmp(name, "hello")) {
        dprintf(log_descriptor, "hello from %d %s\n", getpid(), argument);
        ask_backend(said, sizeof said);
        snprintf(reply, sizeof reply, "%s %s", banner, said);
    } else if (!strcmp(name, "cgi")) {
        char helper[300];
        snprintf(helper, sizeof helper, "%s/helper", folder);
        char *other = *argument ? argument : NULL; /* the helper has a hole, too */
        answer_of(helper, (char *[]){helper, state_path, other, NULL}, -1, reply);
    } else {
        obey(name, argument, reply);
    }
    strcat(reply, "\n");
    if (write(client, reply, strlen(reply)) < 0)
        return;
}

/* Until the main process has gone, which its end of `alive` tells. */
static void serve_backend(int server, int alive)
{
    struct epoll_event event = {.events = EPOLLIN};
    int waiting = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = server;
    epoll_ctl(waiting, EPOLL_CTL_ADD, server, &event);
    event.data.fd = alive;
    epoll_ctl(waiting, EPOLL_CTL_ADD, alive, &event);
    while (epoll_wait(waiting, &event, 1, -1) < 1 || event.data.fd == server) {
        int client = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0 && write(client, "world", 5) < 0)
            perror("backend");
        close(client);
    }
    _exit(0);
}

static void reopen_log(void)
{
    unsigned long long times;
    int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0 && dup3(fd, log_descriptor, O_CLOEXEC) >= 0)
        close(fd);
    if (read(log_renamed, &times, sizeof times) < 0)
        perror("eventfd");
}

static void serve(int server)
{
    struct epoll_event event = {.events = EPOLLIN};
    int waiting = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = server;
    epoll_ctl(waiting, EPOLL_CTL_ADD, server, &event);
    event.data.fd = log_renamed;
    epoll_ctl(waiting, EPOLL_CTL_ADD, log_renamed, &event);
    for (;;) {
        if (epoll_wait(waiting, &event, 1, -1) < 1)
            continue;
        if (event.data.fd == log_renamed) {
            reopen_log();
            continue;
        }
        int client = accept4(server, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0 && fork() == 0) {
            signal(SIGCHLD, SIG_DFL);
            answer(client);
            _exit(0);
        }
        close(client);
    }
}

static void end(int number)
{
    (void)number;
    _exit(0);
}

static void note_renamed_log(int number)
{
    unsigned long long once = 1;
    (void)number;
    if (write(log_renamed, &once, sizeof once) < 0)
        _exit(1);
}

int main(int count, char **arguments)
{
    char path[300], word[32];
    int ends[2], server, backend;
    if (count < 3) {
        puts("42"); /* a copy of this program that was started as another one */
        return 0;
    }
    snprintf(folder, sizeof folder, "%s", dirname(strdup(arguments[0])));
    snprintf(log_path, sizeof log_path, "%s/access.log", arguments[1]);
    snprintf(state_path, sizeof state_path, "%s/count", arguments[2]);
    snprintf(path, sizeof path, "%s/service.conf", folder);
    if (get_file(path, word, sizeof word) > 0)
        snprintf(banner, sizeof banner, "%.*s", (int)strcspn(word, "\n"), word);
    log_descriptor = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    log_renamed = eventfd(0, EFD_CLOEXEC);
    signal(SIGTERM, end);
    signal(SIGUSR1, note_renamed_log);
    signal(SIGCHLD, SIG_IGN);
    server = listen_on(AF_INET6, PORT);
    backend = listen_on(AF_INET, BACKEND_PORT);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return 1;
    if (fork() == 0) {
        close(ends[1]);
        close(server); /* whose port must be free when the main process has ended */
        serve_backend(backend, ends[0]);
    }
    close(ends[0]);
    close(backend);
    serve(server);
}
