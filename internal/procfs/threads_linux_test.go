package procfs

import (
	"context"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket that is not in the table of the first thread is found, until it is closed.
func TestOdd(t *testing.T) {
	for _, how := range []string{"plain", "table", "ended", "ring"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, line := start(t, nil, "odd", how, "127.0.0.1:0")
			if how == "ring" && line == "none" {
				t.Skip("needs io_uring")
			}
			number, err := strconv.ParseUint(line, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			if how == "ended" {
				for state := byte(0); state != 'Z'; {
					now, ok := proc.Process(p.Process.Pid)
					if !ok {
						t.Fatal("the process has ended")
					}
					state = now.State
				}
			}
			inode := uint32(number)
			find := func(worth bool) []Descriptor {
				o := proc.FindOwners(t.Context(), new(Guard), map[uint32]bool{inode: worth}, []int{p.Process.Pid})
				if len(o.rings) > 0 && worth && how == "ring" {
					t.Errorf("left %v", o.rings)
				}
				return o.Found[inode]
			}
			found := find(true)
			if len(found) != 1 || found[0].PID != p.Process.Pid {
				t.Fatalf("found %+v, want one of process %d", found, p.Process.Pid)
			}
			d := found[0]
			if (d.Thread != 0) != (how == "table" || how == "ended") || (d.FD < 0) != (how == "ring") {
				t.Errorf("found %+v", d)
			}
			if how != "plain" && len(find(false)) != 0 {
				t.Error("found though it is not worth it")
			}
			_, _, err = Options(d, inode)
			if (err == nil) != (how != "ring") && err != unix.EINVAL { // Linux 6.8 has no PIDFD_THREAD
				t.Errorf("options: %v", err)
			}
			guard := new(Guard)
			if args := proc.Arguments(t.Context(), guard, d.PID, d.Thread); len(args) != 3 || args[1] != how {
				t.Errorf("arguments %q", args)
			}
			if how == "ended" {
				if args := proc.Arguments(t.Context(), guard, d.PID, 0); args != nil {
					t.Errorf("arguments by its first thread: %q", args)
				}
			}
			if o := (&Owners{Found: map[uint32][]Descriptor{}}); how == "table" {
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				o.lookInThreads(ended, guard, proc, []int{p.Process.Pid}, map[uint32]bool{inode: true})
				if o.Skipped != 1 || len(o.Found) != 0 {
					t.Errorf("with an ended context: %+v", o)
				}
				// Where tables cannot be compared, all threads are looked through.
				o.Skipped = 0
				o.lookInThreads(t.Context(), &Guard{stuck: true}, proc, []int{p.Process.Pid}, map[uint32]bool{inode: true})
				if len(o.Found[inode]) == 0 || o.Skipped != 0 {
					t.Errorf("without a comparison: %+v", o)
				}
			}
			p.Process.Kill()
			p.Wait()
			if found := find(true); len(found) != 0 {
				t.Errorf("after its end: %+v", found)
			}
		})
	}
}

// One thread stands for all that have the same table.
func TestDifferentTables(t *testing.T) {
	p, _ := start(t, nil, "odd", "table", "127.0.0.1:0")
	pid := p.Process.Pid
	threads := proc.threads(pid)
	different, ok := differentTables(pid, threads)
	if !ok {
		t.Skip("needs kcmp")
	}
	if len(threads) < 2 || len(different) != 1 {
		t.Errorf("of threads %v: %v", threads, different)
	}
	p, _ = start(t, nil, "odd", "plain", "127.0.0.1:0")
	if different, ok := differentTables(p.Process.Pid, proc.threads(p.Process.Pid)); !ok || len(different) != 0 {
		t.Errorf("of one table: %v, %v", different, ok)
	}
	if different, ok := differentTables(1<<30, []int{1<<30 + 1}); !ok || len(different) != 1 {
		t.Errorf("of threads that are not there: %v, %v", different, ok)
	}
}
