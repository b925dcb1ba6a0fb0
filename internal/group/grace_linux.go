package group

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// graceSleep takes the place of a grace period where membarrier is refused. A
// packet passes from the choice of a socket to its queue without a break, which
// takes microseconds.
const graceSleep = 50 * time.Millisecond

// Grace returns when no packet is under way for which a socket was chosen before
// the call: when all RCU readers have ended that there were
// (MEMBARRIER_CMD_GLOBAL: synchronize_rcu). Where a kernel with nohz_full or a
// seccomp filter refuses membarrier, it sleeps.
func Grace(ctx context.Context) error {
	const global = 1
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno != 0 {
		return Sleep(ctx, graceSleep)
	}
	return ctx.Err()
}
