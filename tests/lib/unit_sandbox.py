#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: unit_sandbox.py UNIT [--write DIR]... -- COMMAND...

Runs a command under the restrictions of a systemd unit, without systemd: its capability bounding set, no_new_privs, the mount namespace
with its read-only places, and its system call filter, made from the unit's own lines. A directive that is in neither of the lists
below ends it, so that none is taken for tested that is not. --write: a directory that stands for one that systemd would make.
"""
import ctypes
import os
import resource
import subprocess
import sys

# Not part of what a process may do, or not to be had here: PrivateTmp and ProtectHome would hide the test's own files, PrivateDevices
# needs a /dev to be made; clocks, modules, the kernel's log and the host's name go by capabilities, which are dropped; nothing of egretd
# gives a file another's rights (RestrictSUIDSGID).
NOT_MADE = {
    "Type", "EnvironmentFile", "ExecStart", "ExecReload", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "Delegate",
    "RuntimeDirectory", "RuntimeDirectoryPreserve", "LogsDirectory", "PrivateTmp", "ProtectHome", "PrivateDevices",
    "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "ProtectHostname", "SystemCallArchitectures", "RestrictSUIDSGID",
}
MADE = {
    "LimitNOFILE", "LimitCORE", "CapabilityBoundingSet", "NoNewPrivileges", "ProtectSystem", "ProtectKernelTunables", "ProtectControlGroups",
    "ReadWritePaths", "RestrictNamespaces", "RestrictAddressFamilies", "RestrictRealtime", "LockPersonality",
    "MemoryDenyWriteExecute", "SystemCallFilter", "SystemCallErrorNumber",
}
CAPABILITIES = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21,
                "CAP_PERFMON": 38, "CAP_BPF": 39}
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
NAMESPACES = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
EPERM, EAFNOSUPPORT = 1, 97
ALLOW, ERRNO = 0x7FFF0000, 0x50000
NE, EQ, MASKED_EQ, GE = 1, 4, 7, 5
MS_REC, MS_SLAVE, MS_BIND, MS_REMOUNT = 0x4000, 0x80000, 0x1000, 0x20
AT_RECURSIVE, RDONLY = 0x8000, 1

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2")


def sure(result, what):
    if result < 0:
        sys.exit(f"unit_sandbox: {what}: {os.strerror(ctypes.get_errno())}")


class Argument(ctypes.Structure):
    _fields_ = [("index", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Attributes(ctypes.Structure):
    _fields_ = [("set", ctypes.c_uint64), ("clear", ctypes.c_uint64), ("propagation", ctypes.c_uint64), ("userns", ctypes.c_uint64)]


def service(path):
    """{directive: [values]} of [Service], as often as each stands there."""
    found, section = {}, None
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def read_only(path, on, flags=AT_RECURSIVE):
    attributes = Attributes(set=RDONLY if on else 0, clear=0 if on else RDONLY)
    sure(libc.syscall(442, -100, path.encode(), flags, ctypes.byref(attributes), ctypes.sizeof(attributes)), f"mount_setattr {path}")


def mounts(unit, writable):
    sure(libc.unshare(NAMESPACES["mnt"]), "unshare")
    sure(libc.mount(None, b"/", None, MS_REC | MS_SLAVE, None), "slave mounts")
    for value in unit["ReadWritePaths"]:
        writable += value.split()
    for path in ["/proc/sys", *writable]:
        sure(libc.mount(path.encode(), path.encode(), None, MS_BIND | MS_REC, None), f"bind {path}")
    # strict: everything but /dev, /proc and /sys, of which ProtectKernelTunables and ProtectControlGroups take /sys and /proc/sys.
    read_only("/", True)
    read_only("/proc", False, 0)
    for path in ["/dev", *writable]:
        read_only(path, False)


def filter_of(unit):
    """Allowed is what the unit names; of that, what its Restrict... take away is judged by arguments."""
    context = seccomp.seccomp_init
    context.restype = ctypes.c_void_p
    context = context(ERRNO | EPERM)
    number = {}

    def rule(action, name, *arguments):
        call = number.setdefault(name, seccomp.seccomp_syscall_resolve_name(name.encode()))
        if call < 0:
            return  # not of this architecture
        array = (Argument * len(arguments))(*arguments)
        r = seccomp.seccomp_rule_add_array(ctypes.c_void_p(context), action, call, len(arguments), array)
        if r:
            sys.exit(f"unit_sandbox: rule for {name}: {r}")

    judged = {"socket", "clone", "clone3", "unshare", "setns", "mmap", "mprotect", "pkey_mprotect", "personality", "sched_setscheduler"}
    for name in names_of(unit["SystemCallFilter"][0].split()):
        if name not in judged:
            rule(ALLOW, name)
    for family in unit["RestrictAddressFamilies"][0].split():
        rule(ALLOW, "socket", Argument(0, EQ, FAMILIES[family]))
    forbidden = sum(flag for name, flag in NAMESPACES.items() if name not in unit["RestrictNamespaces"][0].split())
    for name, index in (("unshare", 0), ("clone", 0)):
        rule(ALLOW, name, Argument(index, MASKED_EQ, forbidden, 0))
    # setns of no kind in particular could be any.
    for kind in unit["RestrictNamespaces"][0].split():
        rule(ALLOW, "setns", Argument(1, EQ, NAMESPACES[kind]))
    # clone3's flags can't be seen: it is said not to exist (ENOSYS), as systemd does.
    rule(ERRNO | 38, "clone3")
    # Memory that is written and executed, or becomes executable.
    for both in (0, 2, 4):
        rule(ALLOW, "mmap", Argument(2, MASKED_EQ, 6, both))
    for name in ("mprotect", "pkey_mprotect"):
        rule(ALLOW, name, Argument(2, MASKED_EQ, 4, 0))
    rule(ALLOW, "personality", Argument(0, EQ, 0))
    # The policies that are not of real time: 0 other, 3 batch, 5 idle.
    for policy in (0, 3, 5):
        rule(ALLOW, "sched_setscheduler", Argument(1, EQ, policy))
    if seccomp.seccomp_load(ctypes.c_void_p(context)):
        sys.exit("unit_sandbox: the filter was not taken")


def names_of(items):
    out = set()
    for item in items:
        if item.startswith("@"):
            lines = subprocess.run(("systemd-analyze", "syscall-filter", item), capture_output=True, text=True, check=True).stdout.splitlines()
            out |= names_of(line.strip() for line in lines[1:] if line.startswith("    ") and not line.strip().startswith("#"))
        else:
            out.add(item)
    return out


def main():
    words = sys.argv[1:]
    command = words[words.index("--") + 1:]
    path, writable = words[0], words[2:words.index("--"):2]
    unit = service(path)
    unknown = set(unit) - MADE - NOT_MADE
    if unknown:
        sys.exit(f"unit_sandbox: {path}: nothing is known here of {', '.join(sorted(unknown))}")
    for key in ("NoNewPrivileges", "ProtectKernelTunables", "ProtectControlGroups", "RestrictRealtime", "LockPersonality",
                "MemoryDenyWriteExecute"):
        if unit[key] != ["yes"]:
            sys.exit(f"unit_sandbox: {key} is not yes")
    if unit["ProtectSystem"] != ["strict"] or unit["SystemCallErrorNumber"] != ["EPERM"]:
        sys.exit("unit_sandbox: ProtectSystem or SystemCallErrorNumber is another than is made here")
    for limit, key in ((resource.RLIMIT_NOFILE, "LimitNOFILE"), (resource.RLIMIT_CORE, "LimitCORE")):
        resource.setrlimit(limit, (min(int(unit[key][0]), resource.getrlimit(limit)[1] % (1 << 64)),) * 2)
    mounts(unit, writable)
    keep = {CAPABILITIES[name] for name in unit["CapabilityBoundingSet"][0].split()}
    for capability in range(int(open("/proc/sys/kernel/cap_last_cap", encoding="ascii").read()) + 1):
        if capability not in keep:
            sure(libc.prctl(24, capability, 0, 0, 0), f"PR_CAPBSET_DROP {capability}")
    sure(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    filter_of(unit)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
