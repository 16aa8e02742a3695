// A service that never listens for clients: a signal tells it that there is work.
//
// It waits early, on a socket that listens (as a service does that asks a helper of its own), prepares,
// and only then serves: SIGUSR1 has it write "done" and how often so far to its log. SIGTERM ends it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	struct sockaddr name = { .sa_family = AF_UNIX }; // the kernel chooses an abstract name
	int number, done = 0, helper = socket(AF_UNIX, SOCK_STREAM, 0);
	struct pollfd asked = { .fd = helper, .events = POLLIN };
	sigset_t work;
	char line[32];

	if (count < 2 || helper < 0 || bind(helper, &name, sizeof name.sa_family) || listen(helper, 1))
		return 1;
	poll(&asked, 1, 1);
	umask(027);
	for (int i = 0; i < 23; i++)
		syscall(SYS_getppid);
	sigemptyset(&work);
	sigaddset(&work, SIGUSR1);
	sigaddset(&work, SIGTERM);
	sigprocmask(SIG_BLOCK, &work, NULL);
	write(1, "spooling\n", 9);
	while (!sigwait(&work, &number) && number == SIGUSR1) {
		int log = open(words[1], O_WRONLY | O_CREAT | O_APPEND, 0640);

		if (log < 0 || write(log, line, snprintf(line, sizeof line, "done %d\n", ++done)) < 0)
			return 1;
		close(log);
	}
	return 0;
}
