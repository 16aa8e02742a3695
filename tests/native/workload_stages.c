// A service whose calls by role and state are known: getpid(2), 1 to 64 times in each.
// Usage: workload_stages [end]
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int go[2], done[2];

static void call(int times)
{
	while (times--)
		syscall(SYS_getpid);
}

static void *second_thread(void *unused)
{
	char byte;

	call(2); // before its process settles
	write(done[1], "", 1);
	read(go[0], &byte, 1); // until the first thread has settled it
	call(16);
	return unused;
}

static void worker(void)
{
	pthread_t thread;
	char byte;

	call(4);
	if (pipe(go) || pipe(done))
		_exit(1);
	pthread_create(&thread, NULL, second_thread, NULL);
	read(done[0], &byte, 1);
	waitpid(-1, NULL, WNOHANG); // does not wait
	call(8);
	poll(NULL, 0, 0); // settles: whoever forked it listens
	write(go[1], "", 1);
	pthread_join(thread, NULL);
	call(32);
	_exit(0);
}

int main(int count, char **words)
{
	int socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr address = { .sa_family = AF_UNIX };
	pid_t child;

	if (count > 1) {
		call(64); // the program executed itself: unsettled again
		return 0;
	}
	child = fork();
	if (!child) {
		poll(NULL, 0, 0); // nobody listens yet
		call(1);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	call(1);
	bind(socket_, &address, sizeof(address.sa_family)); // the kernel chooses an abstract name
	listen(socket_, 7);
	call(2);
	child = fork();
	if (!child)
		worker();
	waitpid(child, NULL, 0); // settles
	call(4);
	execl("/proc/self/exe", words[0], "end", NULL);
	return 1;
}
