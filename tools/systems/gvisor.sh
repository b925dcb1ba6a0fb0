# shellcheck shell=bash disable=SC2154
# The part of run for gVisor, a kernel in user space.

gvisor() { "$cache/runsc" -root "$tmp/runsc" -network none -ignore-cgroups "$@"; }

# json prints a list of strings.
json() {
	local separator='' s
	printf '['
	for s; do
		s=${s//\\/\\\\}
		printf '%s"%s"' "$separator" "${s//\"/\\\"}"
		separator=,
	done
	printf ']'
}

start() {
	local bundle=$tmp/bundle capabilities ended=0 set
	stage "$bundle/rootfs"
	mkdir -p "$bundle"/rootfs/{proc,sys,test/tmp,dev,etc,bin} "$tmp/runsc"
	cp "$cache/busybox" "$bundle/rootfs/bin"
	"$cache/busybox" --list | grep -vx busybox |
		(cd "$bundle/rootfs/bin" && xargs -I{} ln -s busybox {})
	echo $'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false' >"$bundle/rootfs/etc/passwd"
	if [[ $uid = 0 ]]; then
		capabilities=$(json CAP_{CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,FOWNER,KILL,SETGID,SETUID,SETPCAP} \
			CAP_{NET_BIND_SERVICE,NET_ADMIN,NET_RAW,SYS_CHROOT,SYS_PTRACE,SYS_ADMIN,SYS_RESOURCE})
	else
		capabilities='[]'
		chown -R "$uid:$uid" "$bundle/rootfs$PWD"
	fi
	for set in bounding effective permitted; do
		echo "\"$set\": $capabilities,"
	done >"$tmp/sets"
	mapfile -t environment < <(env | grep '^TESTNET_')
	cat >"$bundle/config.json" <<-EOF
		{
			"ociVersion": "1.0.0",
			"process": {
				"user": {"uid": $uid, "gid": $uid},
				"args": $(json "/test/${binary##*/}" "$@"),
				"env": $(json PATH=/bin HOME=/test/tmp TMPDIR=/test/tmp "${environment[@]}"),
				"cwd": "$PWD",
				"capabilities": {$(cat "$tmp/sets") "ambient": []}
			},
			"root": {"path": "rootfs"},
			"hostname": "vm",
			"mounts": [
				{"destination": "/proc", "type": "proc", "source": "proc"},
				{"destination": "/sys", "type": "sysfs", "source": "sysfs"},
				{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
				{"destination": "/test/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}
			],
			"linux": {"namespaces": [
				{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
			]}
		}
	EOF
	# gVisor writes to a file at an offset of its own, so it gets a pipe. The
	# mount namespace is there so that its mounts go, however it ends.
	mkfifo "$tmp/output"
	cat "$tmp/output" &
	local output=$!
	setpriv --pdeathsig TERM timeout -k 5 "$limit" unshare --mount \
		"$cache/runsc" -root "$tmp/runsc" -network none -ignore-cgroups run -bundle "$bundle" test \
		</dev/null >"$tmp/output" 2>&1 &
	pid=$!
	wait "$pid" || ended=$?
	pid=''
	wait "$output"
	exit "$ended"
}
