// Who the service is, what it may, and what it starts: facts beside those of calls' arguments.
#pragma once

#include "counting.h"

static __noinline int note_identity(struct task_struct *task, struct thread *thread)
{
	struct fact_key key = { .nr = FACT_IDENTITY };

	key.args[0] = BPF_CORE_READ(task, cred, euid.val);
	key.args[1] = BPF_CORE_READ(task, cred, egid.val);
	key.args[2] = BPF_CORE_READ(task, atomic_flags) >> PFA_NO_NEW_PRIVS_BIT & 1;
	return note_fact_apart(thread, &key, false); // iterators note it, too
}

static __noinline int note_start(struct thread *thread, __u32 child, __u32 how)
{
	struct fact_key key = { .nr = FACT_START, .args = { child, how } };

	return note_fact(thread, &key, true, false);
}

static __noinline int note_capability(struct thread *thread, __u32 capability, bool refused)
{
	struct fact_key key = { .nr = FACT_CAPABILITY, .args = { capability } };

	return note_fact_apart(thread, &key, refused);
}
