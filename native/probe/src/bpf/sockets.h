// How many sockets and pipe ends are alive: each `struct file` is known from birth to its last close.
// Descriptors that arrive in SCM_RIGHTS messages are not looked for: a file that a watched process
// made stays known wherever it travels, one that comes from outside the service is not counted.
#pragma once

#include "shared.h"

enum live_kind { LIVE_SOCKET = 1, LIVE_PIPE_END = 2 };

#define MAX_DESCRIPTORS (1 << 20)
#define MAX_CLOSED 65536

static __always_inline __s64 references(struct file *file)
{
	struct file___before_6_13 *old = (void *)file;

	if (bpf_core_field_exists(file->f_ref))
		return READ(file, f_ref.refcnt.counter) + 1; // 0: one; a dead one is far below
	return READ(old, f_count.counter);
}

static __always_inline void forget_live(struct totals *totals, __u64 file, __u32 kind)
{
	if (bpf_map_delete_elem(&live_files, &file))
		return;
	__sync_fetch_and_add(kind == LIVE_SOCKET ? &totals->sockets : &totals->pipe_ends, -1);
}

// Whether an entry's file is gone: dead, or its memory is another file's by now.
static long sweep_one(void *map, const __u64 *address, struct live *live, struct totals **totals)
{
	struct file *file = (struct file *)*address;

	if (references(file) <= 0 || READ(file, f_inode, i_ino) != live->inode)
		forget_live(*totals, *address, live->kind);
	return 0;
}

// Before a new peak is believed: files whose last reference was not seen to go (a call in progress
// on another thread, close-on-exec, a message in flight) are looked at again.
__noinline int sweep(void)
{
	struct totals *totals = get_totals();

	if (!totals || !totals->doubts)
		return 0;
	totals->doubts = 0;
	bpf_for_each_map_elem(&live_files, sweep_one, &totals, 0);
	return 0;
}

__noinline int live_file(__u64 address, __u32 kind)
{
	struct file *file = (struct file *)address;
	struct totals *totals = get_totals();
	struct live entry = { .kind = kind };
	__s64 *live, before;
	__u64 *peak;
	long failed;

	if (!totals || !file)
		return 0;
	live = kind == LIVE_SOCKET ? &totals->sockets : &totals->pipe_ends;
	peak = kind == LIVE_SOCKET ? &totals->peak_sockets : &totals->peak_pipe_ends;
	entry.inode = READ(file, f_inode, i_ino);
	failed = bpf_map_update_elem(&live_files, &address, &entry, BPF_NOEXIST);
	if (failed == -EEXIST) // a stale entry of the same address: taken over, not counted again
		failed = bpf_map_update_elem(&live_files, &address, &entry, BPF_ANY) ?: -EEXIST;
	if (failed) {
		if (failed != -EEXIST)
			LOSE(sockets);
		return 0;
	}
	before = __sync_fetch_and_add(live, 1);
	if (before + 1 > (__s64)*peak) {
		sweep();
		raise_peak(peak, *(volatile __s64 *)live);
	}
	return 0;
}

static __always_inline void live_descriptor(int descriptor, __u32 kind)
{
	live_file((__u64)file_of(bpf_get_current_task_btf(), descriptor), kind);
}

// Spares all other files the look into the map.
static __always_inline bool may_live(struct file *file)
{
	__u32 kind = READ(file, f_inode, i_mode) & S_IFMT;

	return kind == S_IFSOCK || kind == S_IFIFO;
}

// A descriptor is about to be closed.
__noinline int closing_file(__u64 file)
{
	struct totals *totals = get_totals();
	struct live *live;

	if (!file || !totals || !may_live((struct file *)file))
		return 0;
	live = bpf_map_lookup_elem(&live_files, &file);
	if (!live)
		return 0;
	if (references((struct file *)file) > 1)
		totals->doubts = 1;
	else
		forget_live(totals, file, live->kind);
	return 0;
}

struct closing { __u32 first, last; };

static long close_one(__u32 i, struct closing *closing)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (closing->first + i > closing->last)
		return 1;
	closing_file((__u64)file_of(task, closing->first + i));
	return 0;
}

// All descriptors from `first` to `last` are about to be closed.
__noinline int closing_range(__u32 first, __u32 last)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct closing closing = { .first = first, .last = last };
	struct totals *totals = get_totals();
	__u32 end;

	if (!totals || totals->sockets + totals->pipe_ends <= 0 || !task->files)
		return 0;
	end = task->files->fdt->max_fds;
	if (closing.last >= end)
		closing.last = end - 1;
	bpf_loop(MAX_CLOSED, close_one, &closing, 0);
	return 0;
}
