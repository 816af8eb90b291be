/* Put before User Mode Linux with LD_PRELOAD, it lets it run on processors with a wide register file.
 *
 * The kernel takes a process's registers (PTRACE_SETREGSET, NT_X86_XSTATE) whole or not at all. User Mode Linux 6.1 keeps
 * 2,696 bytes of them; with AMX (Sapphire Rapids and later) there are 11,008, the kernel answers EFAULT, and the guest dies
 * with its first program ("put_fp_registers" on its console). Here a short area is laid over the beginning of what the
 * process has, and the whole is written. What lies beyond stays the process's: nothing in a guest may use it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef long (*ptrace_function)(int request, pid_t pid, void *address, void *data);

/* Not on the stack: User Mode Linux calls us from kernel stacks of 16 kB. It does so from one thread. */
static unsigned char whole[65536];

static long set_registers(ptrace_function next, pid_t pid, void *kind, struct iovec *given) {
    static size_t size; /* of the whole, once known: it is the processor's, the same for every process */
    if (size == 0 || given->iov_len < size) {
        struct iovec area = {whole, sizeof whole};
        if (next(PTRACE_GETREGSET, pid, kind, &area) != 0) return next(PTRACE_SETREGSET, pid, kind, given);
        size = area.iov_len;
        if (given->iov_len < size) {
            memcpy(whole, given->iov_base, given->iov_len);
            return next(PTRACE_SETREGSET, pid, kind, &area);
        }
    }
    return next(PTRACE_SETREGSET, pid, kind, given);
}

/* The C library's own is told everything else: it knows that PEEK's answer may be -1 without being an error. */
long ptrace(enum __ptrace_request request, ...) {
    static ptrace_function next;
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "ptrace");

    va_list arguments;
    va_start(arguments, request);
    const pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request == PTRACE_SETREGSET && (size_t)address == NT_X86_XSTATE) return set_registers(next, pid, address, data);
    return next((int)request, pid, address, data);
}
