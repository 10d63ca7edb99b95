"""Runs a program to which the kernel refuses io_uring, as containers' seccomp profiles do.

refuse_io_uring.py ERRNO PROGRAM [ARGUMENT...]: io_uring_setup(2) answers ERRNO.
"""

import ctypes
import os
import struct
import sys

SYS_IO_URING_SETUP = 425  # the same on every architecture
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
RET_ERRNO, RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06

filters = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in [
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, SYS_IO_URING_SETUP),
        (RETURN, 0, 0, RET_ERRNO | int(sys.argv[1])),
        (RETURN, 0, 0, RET_ALLOW),
    ]
)
memory = ctypes.create_string_buffer(filters)
program = struct.pack("HxxxxxxP", len(filters) // 8, ctypes.addressof(memory))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
    PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program), 0, 0
):
    sys.exit("seccomp filter refused: " + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
