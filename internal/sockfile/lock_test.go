//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sockfile

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// One has the lock at a time, although each removes its file.
func TestLock(t *testing.T) {
	t.Chdir(t.TempDir())
	const rounds = 100
	var holders, had atomic.Int32
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range rounds {
				unlock, err := lock("socket")
				if err != nil {
					t.Error(err)
					return
				}
				if unlock == nil {
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				runtime.Gosched()
				had.Add(1)
				holders.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("locked %d times", had.Load())
	if had.Load() == 0 {
		t.Error("nobody had the lock")
	}
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) != 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}
