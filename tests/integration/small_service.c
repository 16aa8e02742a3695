/* A service for the run tests: one worker, a log, signals. Statically linked, so that its root is tiny.
 *
 * small PORT: answers GET / with 200; /config with 200 or 404 as its configuration can be opened;
 * /forbidden after a call that no plan of the tests allows. TERM ends it with status 0, USR1 opens the
 * log anew. small fails: ends with status 3 before it listens. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG "/var/log/small/access.log"
#define CONFIGURATION "/etc/small.conf"

static volatile sig_atomic_t leave, reopen;

static void note(int number) {
    if (number == SIGTERM) leave = 1;
    if (number == SIGUSR1) reopen = 1;
}

static void take(int number) {
    struct sigaction action = {.sa_handler = note};
    sigaction(number, &action, NULL);
}

static int open_log(void) { return open(LOG, O_WRONLY | O_APPEND | O_CREAT, 0644); }

static const char *status_for(const char *request) {
    if (strstr(request, "/config")) {
        int found = open(CONFIGURATION, O_RDONLY);
        if (found < 0) return "404 Not Found";
        close(found);
    }
    if (strstr(request, "/forbidden")) getpgid(0);
    return "200 OK";
}

static void answer(int connection, int log) {
    char request[8192], reply[256];
    size_t length = 0;
    while (length < sizeof request - 1) {
        ssize_t got = read(connection, request + length, sizeof request - 1 - length);
        if (got <= 0) return;
        length += got;
        request[length] = 0;
        if (strstr(request, "\r\n\r\n")) break;
    }
    char *end = strpbrk(request, "\r\n");
    if (end) {
        write(log, request, end - request);
        write(log, "\n", 1);
    }
    int size = snprintf(reply, sizeof reply, "HTTP/1.1 %s\r\nContent-Length: 6\r\n\r\nhello\n", status_for(request));
    write(connection, reply, size);
}

static void work(int listening) {
    int log = open_log();
    while (!leave) {
        if (reopen) {
            reopen = 0;
            close(log);
            log = open_log();
        }
        int connection = accept(listening, NULL, NULL);
        if (connection < 0) continue;
        answer(connection, log);
        close(connection);
    }
    _exit(0);
}

int main(int count, char **arguments) {
    if (count < 2 || strcmp(arguments[1], "fails") == 0) {
        puts("small: no such port");
        return 3;
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    int listening = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listening, (struct sockaddr *)&here, sizeof here) || listen(listening, 64)) {
        perror("small: listen");
        return 1;
    }
    take(SIGTERM);
    take(SIGUSR1);
    signal(SIGPIPE, SIG_IGN);
    pid_t worker = fork();
    if (worker == 0) work(listening);
    puts("small: serving");
    fflush(stdout);
    int status;
    while (waitpid(worker, &status, 0) < 0) {
        if (reopen) kill(worker, SIGUSR1), reopen = 0;
        if (leave) kill(worker, SIGTERM);
    }
    return leave ? 0 : 1;
}
