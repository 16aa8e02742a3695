// The known workload: does exactly 23 of each thing, so that a probe can be held to it.
//
//   workload_known counts DIR    23 of each of many calls, of files below DIR, and of live things
//   workload_known threads       23 threads alive at once beside the first
//   workload_known bursts        23 getppid on each SIGUSR1, each answered by a line "burst"
//   workload_known daemon        a doubly forked daemon in its own session calls getppid 23 times
//   workload_known crowd N       N children that live one call long, each tenth executes "true"
//   workload_known places DIR    relative paths from odd places: deep, removed, chroot
//   workload_known hammer        6 threads call getppid and open a missing file 10,000 times each
//   workload_known thread-exec   a thread that is not the first executes "true"
//   workload_known sockets       23 sockets at most, through dup2, close_range, exec, SCM_RIGHTS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 23
#define REPEAT for (int i = 0; i < TIMES; i++)

static void check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

// One plain system call; libc would choose newer ones (open becomes openat).
#define CALL(name, ...)                                                                            \
	({                                                                                         \
		long outcome = syscall(SYS_##name, ##__VA_ARGS__);                                 \
		check(outcome, #name);                                                             \
		outcome;                                                                           \
	})

static void say(const char *text)
{
	check(write(1, text, strlen(text)), "write");
}

static char *name_of(const char *letter, int number)
{
	static char names[2][64];
	static int turn;
	char *name = names[turn++ & 1];

	snprintf(name, sizeof(names[0]), "%s%02d", letter, number);
	return name;
}

static void use_files(const char *folder)
{
	char path[4096];
	int dirfd;

	REPEAT {
		snprintf(path, sizeof(path), "%s/absolute%02d", folder, i);
		close(CALL(openat, AT_FDCWD, path, O_WRONLY | O_CREAT, 0600));
		close(CALL(openat, AT_FDCWD, path, O_WRONLY | O_CREAT, 0600)); // exists by now
	}
	CALL(chdir, folder);
	CALL(mkdir, "sub", 0700);
	REPEAT CALL(mkdir, name_of("sub/folder", i), 0700);
	CALL(chdir, "sub");
	dirfd = CALL(open, "folder00", O_RDONLY | O_DIRECTORY);
	REPEAT close(CALL(openat, dirfd, name_of("inside", i), O_RDWR | O_CREAT | O_EXCL, 0600));
	REPEAT CALL(renameat2, dirfd, name_of("inside", i), AT_FDCWD, name_of("moved", i), 0);
	REPEAT CALL(unlinkat, AT_FDCWD, name_of("moved", i), 0);
	REPEAT syscall(SYS_openat, AT_FDCWD, "missing", O_RDONLY);
	REPEAT CALL(symlink, "nowhere", name_of("link", i));
	REPEAT CALL(rename, name_of("link", i), name_of("renamed", i));
	REPEAT CALL(rmdir, name_of("folder", i));
	close(dirfd);
}

static void map_files(const char *program)
{
	int fd = CALL(open, program, O_RDONLY);

	REPEAT {
		long address = CALL(mmap, NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

		CALL(munmap, address, 4096);
	}
	close(fd);
}

static void use_sockets(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int sockets[TIMES], pair[2], yes = 1;

	REPEAT {
		CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
		close(pair[0]);
		close(pair[1]);
	}
	for (int round = 0; round < 3; round++) {
		REPEAT sockets[i] = CALL(socket, AF_UNIX, SOCK_STREAM, 0);
		if (round == 0)
			REPEAT CALL(setsockopt, sockets[i], SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
		if (round == 1)
			CALL(bind, sockets[0], &address, sizeof(address));
		if (round == 2) // refused: nobody listens
			REPEAT syscall(SYS_connect, sockets[i], &address, sizeof(sa_family_t) + 6);
		REPEAT close(sockets[i]);
	}
}

static void use_pipes(void)
{
	int pipes[TIMES][2];

	REPEAT CALL(pipe2, pipes[i], O_CLOEXEC);
	REPEAT {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

static void use_children(void)
{
	pid_t children[TIMES];
	int go[2], word;

	CALL(pipe2, go, 0);
	REPEAT {
		children[i] = CALL(fork);
		if (children[i] == 0) {
			close(go[1]);
			_exit(read(go[0], &word, 1));
		}
	}
	close(go[1]);
	REPEAT CALL(wait4, children[i], NULL, 0, NULL);
	close(go[0]);
}

static void run_counts(const char *program, const char *folder)
{
	REPEAT CALL(getppid);
	REPEAT CALL(sched_yield);
	REPEAT CALL(access, "/", R_OK);
	REPEAT syscall(SYS_read, -1, NULL, 0);
	map_files(program);
	use_files(folder);
	use_sockets();
	use_pipes();
	use_children();
}

static pthread_barrier_t barrier;

static void *meet(void *unused)
{
	pthread_barrier_wait(&barrier);
	return unused;
}

static void run_threads(void)
{
	pthread_t threads[TIMES];

	pthread_barrier_init(&barrier, NULL, TIMES + 1);
	REPEAT check(-pthread_create(&threads[i], NULL, meet, NULL), "pthread_create");
	meet(NULL);
	REPEAT pthread_join(threads[i], NULL);
}

static void *hammer(void *name)
{
	for (int i = 0; i < 10000; i++) {
		syscall(SYS_getppid);
		syscall(SYS_openat, AT_FDCWD, name, O_RDONLY);
	}
	return NULL;
}

static void run_hammer(void)
{
	char names[6][300] = { "/missing/0", "missing-1", "missing-2", "./missing-3", "/missing/4" };
	pthread_t threads[6];

	memset(names[5], 'x', 200);
	for (int i = 0; i < 6; i++)
		check(-pthread_create(&threads[i], NULL, hammer, names[i]), "pthread_create");
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
}

static void *execute_true(void *unused)
{
	execlp("true", "true", NULL);
	return unused;
}

static void run_thread_exec(void)
{
	pthread_t thread;

	check(-pthread_create(&thread, NULL, execute_true, NULL), "pthread_create");
	pthread_join(thread, NULL);
}

static void run_bursts(void)
{
	sigset_t set;
	int signal;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	say("ready\n");
	while (sigwait(&set, &signal) == 0) {
		REPEAT CALL(getppid);
		say("burst\n");
	}
}

static void run_daemon(void)
{
	char text[32];

	if (CALL(fork))
		return;
	setsid();
	if (CALL(fork))
		_exit(0);
	REPEAT CALL(getppid);
	snprintf(text, sizeof(text), "daemon %d\n", getpid());
	say(text);
	pause();
}

static void run_crowd(int size)
{
	for (int i = 0; i < size; i++) {
		if (CALL(fork) == 0) {
			CALL(getppid);
			if (i % 10 == 0)
				execlp("true", "true", NULL);
			_exit(0);
		}
		if (i % 20 == 19)
			while (wait(NULL) > 0)
				;
	}
	while (wait(NULL) > 0)
		;
}

static void run_places(const char *folder)
{
	CALL(chdir, folder);
	for (int i = 0; i < 100; i++) {
		CALL(mkdir, "a-rather-long-name", 0700);
		CALL(chdir, "a-rather-long-name");
	}
	close(CALL(open, "deep", O_WRONLY | O_CREAT, 0600));
	CALL(chdir, folder);
	CALL(mkdir, "jail", 0700);
	CALL(chroot, "jail");
	CALL(chdir, "/");
	close(CALL(open, "jailed", O_WRONLY | O_CREAT, 0600));
	syscall(SYS_open, "", O_RDONLY);
	syscall(SYS_open, (char *)8, O_RDONLY);
}

static void pass_socket(void)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	int pair[2], passed = CALL(socket, AF_UNIX, SOCK_STREAM, 0);

	CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &passed, sizeof(int));
	check(sendmsg(pair[0], &message, 0), "sendmsg");
	close(passed);
	check(recvmsg(pair[1], &message, 0), "recvmsg");
	CALL(close_range, 3, ~0U, 0);
}

// Each step leaves no socket, by another way; so no step may add to another's.
static void run_sockets(const char *program)
{
	pass_socket();
	REPEAT CALL(socket, AF_UNIX, SOCK_STREAM, 0);
	CALL(close_range, 3, ~0U, 0);
	REPEAT CALL(socket, AF_UNIX, SOCK_STREAM, 0);
	for (int fd = 3; fd < 3 + TIMES; fd++)
		CALL(dup2, 0, fd);
	CALL(close_range, 3, ~0U, 0);
	if (CALL(fork) == 0) {
		REPEAT CALL(socket, AF_UNIX, SOCK_STREAM, 0);
		_exit(0);
	}
	wait(NULL);
	REPEAT CALL(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	execl(program, program, "sockets-again", NULL);
}

static void run_sockets_again(void)
{
	REPEAT CALL(socket, AF_UNIX, SOCK_STREAM, 0);
}

int main(int count, char **words)
{
	const char *mode = count > 1 ? words[1] : "", *word = count > 2 ? words[2] : "";

	if (!strcmp(mode, "counts"))
		run_counts(words[0], word);
	else if (!strcmp(mode, "threads"))
		run_threads();
	else if (!strcmp(mode, "bursts"))
		run_bursts();
	else if (!strcmp(mode, "daemon"))
		run_daemon();
	else if (!strcmp(mode, "crowd"))
		run_crowd(atoi(word));
	else if (!strcmp(mode, "places"))
		run_places(word);
	else if (!strcmp(mode, "hammer"))
		run_hammer();
	else if (!strcmp(mode, "thread-exec"))
		run_thread_exec();
	else if (!strcmp(mode, "sockets"))
		run_sockets(words[0]);
	else if (!strcmp(mode, "sockets-again"))
		run_sockets_again();
	else
		return 2;
	return 0;
}
