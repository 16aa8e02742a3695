// Programs: their numbers, and the files that exec used.
#pragma once

#include "paths.h"

// The number of the program that a file is: by its place, so that user space learns each path once.
static __noinline __u32 find_program(struct file *file, bool *fresh)
{
	struct dentry *dentry = BPF_CORE_READ(file, f_path.dentry);
	struct totals *totals = get_totals();
	struct program_key key = {
		.inode = BPF_CORE_READ(dentry, d_inode, i_ino),
		.device = BPF_CORE_READ(dentry, d_sb, s_dev),
		.parent = BPF_CORE_READ(dentry, d_parent, d_inode, i_ino),
		.name = BPF_CORE_READ(dentry, d_name.hash_len),
	};
	__u32 *known = bpf_map_lookup_elem(&programs, &key), program;

	if (known)
		return *known;
	*fresh = true;
	program = totals ? __sync_fetch_and_add(&totals->next_program, 1) : 0;
	bpf_map_update_elem(&programs, &key, &program, BPF_ANY);
	return program;
}

// The number of a program or library that is mapped, its path stored at first sight.
static __noinline __u32 find_object(struct task_struct *task, struct file *file)
{
	struct scratch *scratch;
	bool fresh = false;
	__u32 object = find_program(file, &fresh);

	if (!fresh)
		return object;
	scratch = get_scratch();
	if (!scratch)
		return object;
	__builtin_memset(scratch, 0, SHORT_KEY);
	scratch->key.role = ROLE_PROGRAM;
	scratch->key.flags = object;
	store_file(task, scratch, file);
	return object;
}

// Files by the names that exec used: the command's, and the interpreter's if it is a script.
static __noinline int store_executed(struct thread *thread, __u32 nr, struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const char *filename = BPF_CORE_READ(bprm, filename), *interp = BPF_CORE_READ(bprm, interp);
	struct scratch *scratch = start_key(thread, nr, ROLE_EXEC, 0, 0);
	struct file *file;

	if (!scratch)
		return 0;
	if (BPF_CORE_READ(bprm, fdpath)) { // execveat by descriptor: the name is /dev/fd/N
		file = BPF_CORE_READ(bprm, executable);
		store_file(task, scratch, file ?: BPF_CORE_READ(bprm, file));
	} else {
		store_kernel_string(task, thread, scratch, filename);
	}
	if (interp == filename)
		return 0;
	scratch = start_key(thread, nr, ROLE_EXEC, 0, 0);
	if (scratch)
		store_kernel_string(task, thread, scratch, interp);
	return 0;
}
