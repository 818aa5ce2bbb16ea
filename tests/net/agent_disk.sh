#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The disk under the access log stalls (its file system is frozen): nobody waits for it.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
DISK='' LOOP='' # the mount, and the device below it
metrics() { node curl -sS --max-time 5 http://127.0.0.1:9909/metrics; } # it may hang, too
thaw() { [ -z "$DISK" ] || fsfreeze --unfreeze "$DISK" 2>/dev/null; }
disk_down() {
	thaw
	egret_down # a log that is open keeps the disk
	[ -z "$DISK" ] || umount "$DISK"
	[ -z "$LOOP" ] || losetup --detach "$LOOP"
	DISK='' LOOP=''
}
agent_prepare egdisk
T_BEFORE_DOWN=(disk_down "${T_BEFORE_DOWN[@]}")
truncate -s 64M "$T_RUN/disk"
LOOP=$(losetup --show --find "$T_RUN/disk" 2> "$T_RUN/losetup.err") || skip_all "no loop device to make a disk of: $(cat "$T_RUN/losetup.err")"
mkfs.ext4 -q "$LOOP" || t_die "no file system on $LOOP"
mkdir "$T_RUN/mount"
mount "$LOOP" "$T_RUN/mount" || t_die "$LOOP can't be mounted"
DISK=$T_RUN/mount
mkdir "$DISK/log"
LOG=$DISK/log/access.jsonl
written() { wc -l < "$LOG"; }
lost() { metric 'egret_access_records_lost_total{gateway="egret"}'; }
accounted() { [ $(($(written) + $(lost))) -ge "$1" ]; }
all_ended() { local n; n=$(metric 'egret_client_connections{gateway="egret"}'); [ "${n:-1}" = 0 ]; }
whole() { jq -es 'all(.[]; .type == "request" or .type == "connection")' "$LOG" > "$T_RUN/whole" 2>&1; }

egret_up --workers 2 --access-log "$LOG"
is "the disk is well" "$(ask podA)" 200
GATEWAY=$(pid_of gateway)
load 100000 16 --until "$T_RUN/until" > "$T_RUN/load" &
LOADER=$!
check "there is load" await 20 accounted 200
fsfreeze --freeze "$DISK" || t_die "$DISK can't be frozen"
BEFORE=$(written)
kill -HUP "$E_PID" # opens the log anew
sleep 4
is "frozen for 4 s: no line was written" "$(written)" "$BEFORE"
is "the gateway is the same, and counts as well" "$(pid_of gateway) $(metric egret_gateway_hangs_total)" "$GATEWAY 0"
is "a request is answered" "$(ask podA)" 200
thaw
sleep 1
touch "$T_RUN/until"
wait "$LOADER"
RESULT=$(cat "$T_RUN/load")
is "no request failed" "$(jq -c '[.failed, .errors]' <<< "$RESULT")" '[0,{}]'
check "each is in the log, or counted as lost" await 10 accounted "$(jq .requests <<< "$RESULT")"
check "each line is whole" whole
is "no gateway was replaced" "$(pid_of gateway) $(metric egret_gateway_hangs_total) $(metric egret_gateway_restarts_total)" "$GATEWAY 0 0"

# --- an end while it is frozen: what waits is written when it thaws in time, and nobody waits for ever
check "no connection is left" await 30 all_ended
BEFORE=$(written)
fsfreeze --freeze "$DISK"
is "one more, frozen" "$(ask podA)" 200
kill -TERM "$E_PID"
sleep 0.3
thaw
check "it ends" await 20 gone "$E_PID"
at_least "and its record was written first" $(($(written) - BEFORE)) 1
check "each line is whole" whole
E_PID=

egret_up --workers 1 --drain 1 --access-log "$LOG"
fsfreeze --freeze "$DISK"
is "one more, frozen" "$(ask podA)" 200
kill -TERM "$E_PID"
check "a disk that does not come back does not hold up the end" await 10 gone "$E_PID"
thaw
checks_done
