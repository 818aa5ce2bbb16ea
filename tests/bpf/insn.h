/* SPDX-License-Identifier: Apache-2.0 */
/* BPF instructions, for the small programs that tests make of them. */
#ifndef EGRET_TESTS_BPF_INSN_H
#define EGRET_TESTS_BPF_INSN_H

#include <linux/bpf.h>

/* clang-format off */
#define LOAD32(to, from, at)	{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = from, .off = at}
#define LOAD8(to, from, at)	{.code = BPF_LDX | BPF_MEM | BPF_B, .dst_reg = to, .src_reg = from, .off = at}
#define LOAD64(to, from, at)	{.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = to, .src_reg = from, .off = at}
#define STORE32(to, at, value)	{.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = to, .off = at, .imm = value}
#define STORE32_REG(to, at, from) {.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = to, .src_reg = from, .off = at}
#define MOVE(to, from)		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = to, .src_reg = from}
#define SET(to, value)		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = to, .imm = value}
#define ADD(to, value)		{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = to, .imm = value}
#define IF_NOT_0(reg, skip)	{.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = reg, .off = skip}
#define IF_GREATER(a, b, skip)	{.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = a, .src_reg = b, .off = skip}
#define AND(to, value)		{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = to, .imm = value}
#define MAP_VALUE(to, fd)	{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = to, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = fd}, {0}
#define CALL(helper)		{.code = BPF_JMP | BPF_CALL, .imm = helper}
#define END			{.code = BPF_JMP | BPF_EXIT}
/* clang-format on */

#endif
