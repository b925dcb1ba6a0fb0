package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// mostWatched is how many processes are watched; of a server with more the rest
// ends with these, or is seen at the next tick.
const mostWatched = 64

// pause returns after d, when ctx ends, or when one of the processes does.
func pause(ctx context.Context, pids []int, d time.Duration) {
	deadline := time.Now().Add(d)
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		sleep(ctx, d)
		return
	}
	defer unix.Close(wake)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		unix.Write(wake, []byte{1, 1, 1, 1, 1, 1, 1, 1})
	})
	defer func() {
		if !stop() {
			<-done
		}
	}()
	fds := []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}
	for _, pid := range pids[:min(len(pids), mostWatched)] {
		// One that has ended meanwhile, or that another pid namespace calls by
		// this number, is left to the tick.
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer unix.Close(fd)
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
	}
	for {
		left := time.Until(deadline)
		// Rounded up: poll counts milliseconds.
		n, err := unix.Poll(fds, int(max(0, (left+time.Millisecond-1)/time.Millisecond)))
		if err != unix.EINTR || n > 0 || left <= 0 {
			return
		}
	}
}
