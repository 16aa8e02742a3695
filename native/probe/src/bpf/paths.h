// Paths: read from user space or walked from the kernel's dentries, and counted by how they were used.
#pragma once

#include "tallies.h"

#define MAX_DEPTH 512

struct short_file {
	struct file_key key;
	char path[SHORT_PATH];
};

struct scratch {
	struct file_key key;
	char path[16384]; // LONG_PATH, and room for zeroes behind
};

// No program of ours can interrupt another on the same processor: see `missed` in control.rs.
MAP(scratch, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct scratch, 1, 0);

static const char zeroes[LONG_PATH];

static __always_inline struct scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

// Starts a new key. Only the short form is cleared: `store` clears the rest when it is needed.
static __always_inline struct scratch *start_key(struct thread *thread, __u32 nr, __u32 role,
						 __u32 flags, __u32 error)
{
	struct scratch *scratch = get_scratch();

	if (!scratch)
		return NULL;
	__builtin_memset(scratch, 0, SHORT_KEY);
	scratch->key.slot = thread->slot;
	scratch->key.nr = nr;
	scratch->key.role = role;
	scratch->key.flags = flags;
	scratch->key.error = error;
	return scratch;
}

// A key of the short form, of SHORT_KEY bytes: most paths are, and most are used again and again.
static __always_inline bool store_short(const void *key)
{
	struct tally one = { .count = 1 };
	const __u64 *words = key;
	struct memo *memo = get_memo();
	struct tallied *found;
	__u64 mixed = 0;
	__u32 at;

	if (!memo)
		return false;
#pragma unroll
	for (__u32 i = 0; i < SHORT_WORDS; i++)
		mixed ^= words[i] << i;
	at = mixed * 0x9e3779b97f4a7c15 >> 58; // multiplicative hashing: the upper 6 bits are the best
	if (memo->files[at].place && !differ(memo->files[at].key, key, SHORT_KEY)) {
		add_here(memo->files[at].place, one);
		return true;
	}
	found = find_tallied(&short_files, key);
	if (!found)
		return false;
	add_found(found, one);
	__builtin_memcpy(memo->files[at].key, key, SHORT_KEY);
	memo->files[at].place = found->place;
	return true;
}

static __always_inline bool store_longer(void *map, struct scratch *scratch)
{
	struct tallied *found = find_tallied(map, scratch);

	if (found)
		add_found(found, (struct tally){ .count = 1 });
	return found;
}

// Counts the key whose path takes `length` bytes. Three sizes of map, because hashing costs by size.
__noinline int store(__u32 length)
{
	struct scratch *scratch = get_scratch();
	bool kept;

	if (!scratch)
		return 0;
	if (length <= SHORT_PATH) {
		kept = store_short(scratch);
	} else if (length <= MEDIUM_PATH) {
		bpf_probe_read_kernel(scratch->path + length, MEDIUM_PATH, zeroes);
		kept = store_longer(&medium_files, scratch);
	} else if (length <= LONG_PATH) {
		bpf_probe_read_kernel(scratch->path + length, LONG_PATH, zeroes);
		kept = store_longer(&long_files, scratch);
	} else {
		LOSE(truncated);
		return 0;
	}
	if (!kept)
		LOSE(files);
	return 0;
}

struct walk {
	struct place at;
	__u32 length;
	__u32 finished;
};

// One step from a dentry to its parent; across a mount point, to where it is mounted.
static long walk_up(__u32 i, struct walk *walk)
{
	struct scratch *scratch = get_scratch();
	struct dentry *dentry = walk->at.dentry, *parent;
	struct vfsmount *mnt = walk->at.mnt;
	__u32 length = walk->length;
	long size;

	if (!scratch)
		return 1;
	if (dentry == walk->at.root && mnt == walk->at.root_mnt) {
		walk->finished = true;
		return 1;
	}
	parent = READ(dentry, d_parent);
	if (dentry == parent || dentry == READ(mnt, mnt_root)) {
		struct mount *mount = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
		struct mount *above = READ(mount, mnt_parent);

		walk->at.dentry = READ(mount, mnt_mountpoint);
		walk->at.mnt = (void *)above + bpf_core_field_offset(struct mount, mnt);
		walk->finished = above == mount; // the top of all mounts: outside the process's root
		return above == mount;
	}
	if (length >= LONG_PATH - 256)
		return 1;
	size = bpf_probe_read_kernel_str(scratch->path + length, 256,
					 READ(dentry, d_name.name));
	if (size <= 0)
		return 1;
	walk->length = length + size;
	walk->at.dentry = parent;
	return 0;
}

// Appends the folders from `place` up to the process's root, and counts the path.
__noinline int store_walked(struct place *place, __u32 length)
{
	struct walk walk = { .length = length };
	struct scratch *scratch = get_scratch();

	if (!scratch || !place)
		return 0;
	walk.at = *place;
	scratch->key.base = length;
	bpf_loop(MAX_DEPTH, walk_up, &walk, 0);
	if (!walk.finished) {
		LOSE(truncated);
		return 0;
	}
	return store(walk.length);
}

static __always_inline void find_root(struct task_struct *task, struct place *place)
{
	place->root = task->fs->root.dentry;
	place->root_mnt = task->fs->root.mnt;
}

static __always_inline void find_cwd(struct task_struct *task, struct place *place)
{
	find_root(task, place);
	place->dentry = task->fs->pwd.dentry;
	place->mnt = task->fs->pwd.mnt;
}

static __always_inline bool find_file(struct task_struct *task, struct file *file,
				      struct place *place)
{
	if (!file)
		return false;
	find_root(task, place);
	place->dentry = READ(file, f_path.dentry);
	place->mnt = READ(file, f_path.mnt);
	return true;
}

// Where a relative path starts: `before` (chdir, chroot), the current folder, or a descriptor's.
static __always_inline bool find_base(struct task_struct *task, struct thread *thread, int dirfd,
				      bool before, struct place *place)
{
	if (before) {
		*place = thread->before;
		return true;
	}
	if (dirfd == AT_FDCWD) {
		find_cwd(task, place);
		return true;
	}
	return find_file(task, file_of(task, dirfd), place);
}

// Counts what `scratch->path` holds (`size` bytes with its NUL), completed if it is relative.
static __always_inline void store_from(struct task_struct *task, struct thread *thread,
				       struct scratch *scratch, long size, int dirfd, bool before)
{
	struct place place = {};

	if (size <= 1) // an empty path names no file (AT_EMPTY_PATH: the descriptor itself)
		return;
	if (scratch->path[0] == '/')
		store(size);
	else if (find_base(task, thread, dirfd, before, &place))
		store_walked(&place, size);
	else if (scratch->key.error != EBADF)
		LOSE(unreadable);
}

// A path that is not absolute, or too long for the short form that `file` has it in.
__noinline int store_other(struct thread *thread, struct short_file *file, __u64 address, __u64 how)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct scratch *scratch = get_scratch();
	long size;

	if (!scratch || !thread || !file)
		return 0;
	__builtin_memcpy(scratch, file, SHORT_KEY);
	size = bpf_probe_read_user_str(scratch->path, PATH_MAX, (void *)address);
	if (size < 0)
		LOSE(unreadable);
	else
		store_from(task, thread, scratch, size, (int)how, how >> 32);
	return 0;
}

// A path argument, read when the call returns: the kernel has faulted its page in by then. `file`
// is its key, still without a path.
__noinline int store_argument(struct thread *thread, struct short_file *file, __u64 address,
			      __u64 how)
{
	long size;

	if (!thread || !file || !address) // NULL: utimensat and friends mean the descriptor
		return 0;
	size = bpf_probe_read_user_str(file->path, SHORT_PATH, (void *)address);
	if (size < 0) {
		if (file->key.error != EFAULT)
			LOSE(unreadable);
		return 0;
	}
	if (size <= 1) // an empty one means the descriptor, whose path is known since it was opened
		return 0;
	if (file->path[0] != '/' || size == SHORT_PATH)
		return store_other(thread, file, address, how);
	if (!store_short(file))
		LOSE(files);
	return 0;
}

// The true path of a file, unless it has no name (memfd, deleted).
static __always_inline void store_file(struct task_struct *task, struct scratch *scratch,
				       struct file *file)
{
	struct place place = {};
	struct dentry *dentry;

	if (!find_file(task, file, &place))
		return;
	dentry = place.dentry;
	if (READ(dentry, d_sb, s_flags) & SB_KERNMOUNT)
		return;
	if (dentry != READ(dentry, d_parent) && !READ(dentry, d_hash.pprev))
		return;
	store_walked(&place, 1); // scratch->path[0] is the empty string
}

static __always_inline void store_kernel_string(struct task_struct *task, struct thread *thread,
						struct scratch *scratch, const char *text)
{
	long size = bpf_probe_read_kernel_str(scratch->path, PATH_MAX, text);

	store_from(task, thread, scratch, size, AT_FDCWD, false);
}
