// What is noted when a call returns: files, addresses, new descriptors.
#pragma once

#include "counting.h"
#include "paths.h"
#include "processes.h"
#include "listeners.h"
#include "privileges.h"
#include "sockets.h"
#include "traffic.h"

// Reads a word of a structure that a pointer argument points to.
static __always_inline __u64 user_word(__u64 address)
{
	__u64 word = 0;

	bpf_probe_read_user(&word, sizeof(word), (void *)address);
	return word;
}

__noinline int note_open(struct thread *thread, __u32 nr, struct rule *rule, long result)
{
	__u32 error = result < 0 ? -result : 0;
	struct task_struct *task = bpf_get_current_task_btf();
	struct short_file opened = { .key = { .nr = nr, .role = ROLE_PATH, .error = error } };
	__u32 flags = 0;

	if (!thread || !rule)
		return 0;
	if (rule->special == SPECIAL_OPENAT2)
		flags = user_word(thread->args[2]); // struct open_how starts with its flags
	else if (rule->flags >= 0)
		flags = thread->args[rule->flags & 7];
	else
		flags = O_CREAT | 01 | 01000; // creat(2): O_CREAT, O_WRONLY, O_TRUNC
	opened.key.slot = thread->slot;
	opened.key.flags = flags;
	if (!error) {
		struct file *file = file_of(task, result);

		forget_position(file);
		if (flags & O_CREAT)
			opened.key.created = !!(READ(file, f_mode) & FMODE_CREATED);
	}
	return store_argument(thread, &opened, thread->args[rule->path & 7],
			      rule->dirfd < 0 ? (__u32)AT_FDCWD
					      : (__u32)thread->args[rule->dirfd & 7]);
}

__noinline int note_path(struct thread *thread, __u32 nr, struct rule *rule, __u32 error,
				bool second)
{
	struct short_file used = { .key = { .nr = nr, .error = error } };
	__s8 path, dirfd;
	__u64 how;

	if (!thread || !rule)
		return 0;
	path = second ? rule->path2 : rule->path;
	dirfd = second ? rule->dirfd2 : rule->dirfd;
	if (path < 0)
		return 0;
	used.key.slot = thread->slot;
	used.key.role = second ? rule->role2 : rule->role;
	used.key.flags = rule->flags < 0 ? 0 : thread->args[rule->flags & 7];
	how = dirfd < 0 ? (__u32)AT_FDCWD : (__u32)thread->args[dirfd & 7];
	if (rule->special == SPECIAL_CHDIR)
		how |= 1ULL << 32;
	return store_argument(thread, &used, thread->args[path & 7], how);
}

__noinline int note_map(struct thread *thread, __u32 nr, __u32 error)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch;

	if (!thread || thread->args[3] & MAP_ANONYMOUS)
		return 0;
	scratch = start_key(thread, nr, ROLE_MAP, thread->args[2], error);
	if (scratch)
		store_file(task, scratch, file_of(task, thread->args[4]));
	return 0;
}

// The path in a Unix socket's address, which is argument `first`, its length the next.
__noinline int note_unix_path(struct thread *thread, __u32 nr, __u32 role, __u32 error,
				     __u32 first)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch;
	__u32 length;
	long size;

	if (!thread)
		return 0;
	length = thread->args[(first + 1) & 7] - 1;
	scratch = start_key(thread, nr, role, 0, error);
	asm volatile("" : "+r"(length)); // keeps clang from testing a copy, which the verifier misses
	if (!scratch || length < 2 || length > 109)
		return 0;
	// The path need not end in NUL: `length` ends it (unix(7)). An abstract name starts with NUL.
	size = bpf_probe_read_user_str(scratch->path, length, (void *)thread->args[first & 7] + 2);
	store_from(task, thread, scratch, size, AT_FDCWD, false);
	return 0;
}

// An address argument: the family and port are facts, a Unix socket's path is a path.
__noinline int note_address(struct thread *thread, __u32 nr, struct rule *rule, __u32 error)
{
	struct fact_key key = { .nr = nr };
	__u32 first, role;
	__u64 word;

	if (!thread || !rule)
		return 0;
	first = rule->special == SPECIAL_SENDTO ? 4 : 1;
	role = rule->special == SPECIAL_BIND ? ROLE_BIND : ROLE_CONNECT;
	if (!thread->args[first])
		return 0;
	word = user_word(thread->args[first]);
	key.args[0] = word & 0xffff;
	if (key.args[0] == AF_INET || key.args[0] == AF_INET6)
		key.args[1] = __builtin_bswap16(word >> 16);
	if (rule->special != SPECIAL_SENDTO)
		note_fact(thread, &key, true, error);
	if (key.args[0] == AF_UNIX)
		note_unix_path(thread, nr, role, error, first);
	return 0;
}

__noinline int note_pair(__u64 address, __u32 kind)
{
	__u64 both = user_word(address);

	live_descriptor((__u32)both, kind);
	live_descriptor(both >> 32, kind);
	return 0;
}

__noinline int note_clone3(struct thread *thread, __u32 nr, bool failed)
{
	struct fact_key key = { .nr = nr };

	if (!thread)
		return 0;
	key.args[0] = user_word(thread->args[0]); // struct clone_args starts with its flags
	return note_fact(thread, &key, true, failed);
}

// `number` is open in the process of `thread`; its program's peak is told only when it rises.
static __noinline int raise_descriptors(struct thread *thread, __u64 number)
{
	struct totals *totals = get_totals();
	struct crowd *crowd;

	if (!thread || number < thread->descriptors)
		return 0;
	thread->descriptors = number + 1;
	if (totals)
		raise_peak(&totals->peak_descriptors, number + 1);
	crowd = crowd_of(thread->program);
	if (crowd)
		raise_peak(&crowd->peak_descriptors, number + 1);
	return 0;
}

static __always_inline void pair_descriptors(struct thread *thread, __u64 address)
{
	__u64 both = user_word(address);
	__u32 low = both, high = both >> 32;

	raise_descriptors(thread, low > high ? low : high);
}

// mount(2) names the type of file system in its third argument, fsopen(2) in its first.
__noinline int note_filesystem(struct thread *thread, __u32 nr, __u64 name)
{
	struct scratch *scratch;
	long size;

	if (!thread || !name)
		return 0;
	scratch = start_key(thread, nr, ROLE_FILESYSTEM, 0, 0);
	if (!scratch)
		return 0;
	size = bpf_probe_read_user_str(scratch->path, 64, (void *)name);
	if (size > 1)
		store(size);
	return 0;
}
