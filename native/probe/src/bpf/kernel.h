// The few kernel structures that the probe reads; CO-RE finds the true offsets when it is loaded.
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define PATH_MAX 4096
#define AT_FDCWD (-100)
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define EEXIST 17
#define EFAULT 14
#define EBADF 9
#define EINTR 4
#define ERESTARTSYS 512 // 512 to 516 are the kernel's private "restart me" (include/linux/errno.h)
#define ERESTART_LAST 516
#define MAX_ERRNO 4095
#define O_CREAT 0100
#define MAP_ANONYMOUS 0x20
#define FMODE_CREATED (1 << 20) // include/linux/fs.h: this very open made the file
#define SB_KERNMOUNT (1 << 22)  // a mount nobody can name: memfd, sockets, pipes
#define TS_COMPAT 2             // arch/x86/include/asm/thread_info.h: 32-bit call in progress
#define CLOSE_RANGE_CLOEXEC 4

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct pt_regs {
	unsigned long r10, r9, r8, dx, si, di;
};

struct super_block {
	unsigned long s_flags;
	__u32 s_dev;
};

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct qstr {
	__u64 hash_len;
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct atomic64 {
	__s64 counter;
};

struct file_ref {
	struct atomic64 refcnt;
};

struct file {
	unsigned int f_mode;
	struct inode *f_inode;
	struct path f_path;
	struct file_ref f_ref; // since 6.13: 0 means one reference, negative means gone
};

struct file___before_6_13 {
	struct atomic64 f_count;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root, pwd;
};

struct thread_info {
	__u32 status;
};

struct upid {
	int nr;
	void *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	struct thread_info thread_info;
	int pid, tgid;
	struct pid *thread_pid;
	struct fs_struct *fs;
	struct files_struct *files;
};

struct linux_binprm {
	struct file *executable, *file;
	const char *filename, *interp, *fdpath;
};

#pragma clang attribute pop

// The file behind a descriptor of `task`, or NULL.
static __always_inline struct file *file_of(struct task_struct *task, __u32 descriptor)
{
	struct file **table, *file = NULL;
	struct fdtable *fdt;

	if (!task->files)
		return NULL;
	fdt = task->files->fdt;
	if (descriptor >= fdt->max_fds)
		return NULL;
	table = fdt->fd;
	bpf_probe_read_kernel(&file, sizeof(file), &table[descriptor]);
	return file;
}
