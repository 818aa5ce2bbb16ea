#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody else's program before all others at a link's TCX ingress, for as long as this runs.

Usage: datapath_tcx.py IFINDEX PINNED_PROGRAM; prints `ready`. iproute2 and bpftool of Debian 12 know no TCX.
"""
import ctypes
import os
import signal
import struct
import sys

BPF = 321  # __NR_bpf of x86_64
if os.uname().machine == "aarch64":
    BPF = 280
OBJ_GET, LINK_CREATE, TCX_INGRESS, BEFORE = 7, 28, 46, 1 << 3
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attribute):
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    fd = libc.syscall(BPF, command, buffer, len(attribute))
    if fd < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    return fd


path = ctypes.create_string_buffer(sys.argv[2].encode())
program = bpf(OBJ_GET, struct.pack("<QII", ctypes.addressof(path), 0, 0))
link = bpf(LINK_CREATE, struct.pack("<IIIIIIQ", program, int(sys.argv[1]), TCX_INGRESS, BEFORE, 0, 0, 0) + bytes(24))
print("ready", flush=True)
signal.pause()
