// The known workload for facts beside calls and paths: exactly 23 of each.
//
//   workload_facts traffic DIR     operations and bytes through files, pipes, sockets, an eventfd
//   workload_facts listen DIR      a TCP and a Unix socket with a queue of 7 before it accepts
//   workload_facts privileges DIR  capabilities asked for as root and as nobody, identities
//   workload_facts starts          threads, processes, and one program
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 23
#define QUEUED 7
#define NOBODY 65534
#define REPEAT for (int i = 0; i < TIMES; i++)
#define CHECK(expression)                                                                          \
	do {                                                                                       \
		if (!(expression)) {                                                               \
			perror(#expression);                                                       \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static void use_file(void)
{
	int file = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
	char bytes[10] = "";

	REPEAT CHECK(write(file, bytes, 10) == 10);
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	REPEAT CHECK(read(file, bytes, 5) == 5); // the first jumps back
	REPEAT CHECK(pread(file, bytes, 3, 200 - 7 * i) == 3); // each jumps
	REPEAT CHECK(fsync(file) == 0);
	REPEAT CHECK(flock(file, i & 1 ? LOCK_UN : LOCK_EX) == 0);
	REPEAT CHECK(fcntl(file, F_SETLK, &lock) == 0);
	CHECK(read(file, bytes, 0) == 0);
	close(file);
}

static void use_log(void)
{
	int file = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);

	REPEAT CHECK(write(file, "line\n", 5) == 5);
	close(file);
}

static void use_others(void)
{
	int ends[2], pair[2], counter = eventfd(0, 0), file = open("data", O_RDONLY);
	unsigned long long one = 1;
	char bytes[16];

	CHECK(pipe(ends) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	REPEAT CHECK(write(ends[1], "seven..", 7) == 7 && read(ends[0], bytes, 7) == 7);
	REPEAT CHECK(send(pair[0], "five.", 5, 0) == 5 && recv(pair[1], bytes, 16, 0) == 5);
	REPEAT CHECK(write(counter, &one, 8) == 8);
	REPEAT {
		off_t start = 0;

		CHECK(sendfile(ends[1], file, &start, 4) == 4 && read(ends[0], bytes, 4) == 4);
	}
	CHECK(send(pair[0], "", 1, 0) == 1 && read(-1, bytes, 1) == -1); // what fails is no traffic
}

static void fill_queue(int listener, struct sockaddr *address, socklen_t size)
{
	int clients[QUEUED];

	for (int i = 0; i < QUEUED; i++) {
		clients[i] = socket(address->sa_family, SOCK_STREAM, 0);
		CHECK(connect(clients[i], address, size) == 0);
	}
	for (int i = 0; i < QUEUED; i++)
		CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0);
}

static void listen_all(void)
{
	struct sockaddr_in inet = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un unix_ = { .sun_family = AF_UNIX, .sun_path = "listener" };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t size = sizeof(inet);

	CHECK(bind(tcp, (struct sockaddr *)&inet, size) == 0 && listen(tcp, TIMES) == 0);
	CHECK(getsockname(tcp, (struct sockaddr *)&inet, &size) == 0);
	CHECK(bind(local, (struct sockaddr *)&unix_, sizeof(unix_)) == 0 && listen(local, TIMES) == 0);
	printf("%d\n", ntohs(inet.sin_port));
	fill_queue(tcp, (struct sockaddr *)&inet, sizeof(inet));
	fill_queue(local, (struct sockaddr *)&unix_, sizeof(unix_));
}

static void change_privileges(void)
{
	close(open("mine", O_WRONLY | O_CREAT, 0600));
	REPEAT CHECK(chown("mine", 1, 1) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) == 0);
	CHECK(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0);
	REPEAT CHECK(chown("mine", 2, 2) == -1);
}

static void *end_at_once(void *nothing)
{
	return nothing;
}

static void start_all(void)
{
	REPEAT {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, end_at_once, NULL) == 0);
		pthread_join(thread, NULL);
	}
	REPEAT {
		if (fork() == 0)
			_exit(0);
		wait(NULL);
	}
	execlp("true", "true", (char *)NULL);
	exit(1);
}

int main(int count, char **words)
{
	const char *way = count > 1 ? words[1] : "";

	CHECK(count < 3 || chdir(words[2]) == 0);
	if (!strcmp(way, "traffic")) {
		use_file();
		use_log();
		use_others();
	} else if (!strcmp(way, "listen")) {
		listen_all();
	} else if (!strcmp(way, "privileges")) {
		change_privileges();
	} else if (!strcmp(way, "starts")) {
		start_all();
	} else {
		return 2;
	}
	return 0;
}
