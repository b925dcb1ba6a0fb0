package group

import (
	"errors"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// One more tells the slots of so many members, and not of more.
func TestOneMoreLimit(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	array := reordered(t, 65, "tcp6", "[::1]:9999")
	for _, n := range []int{65, 64} {
		if n == 64 && testnet.Slowness() > 1 {
			break // 130,000 questions
		}
		for len(array) > n {
			array[n].close()
			array = array[:n]
		}
		slots, err := array[0].slotsByOneMore(t.Context(), diag, array[0].members(t, diag), array[0].ways()[0])
		if n == 65 && !errors.Is(err, errInconsistent) || n == 64 && (err != nil || !slices.Equal(slots, cookies(array))) {
			t.Errorf("%d members: %v, %v, want %v", n, slots, err, cookies(array))
		}
	}
}

// Connections that begin while one more socket is in the group come to the members.
func TestOneMoreConnections(t *testing.T) {
	testnet.NeedRoot(t)
	for _, address := range []string{"[::1]:9999", "[::]:9999"} {
		testnet.Namespace(t)
		diag := diagConn(t)
		ns, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		array := reordered(t, 3, "tcp6", address)
		var began atomic.Int64
		stop, stopped := make(chan struct{}), make(chan error, 1)
		go func() {
			runtime.LockOSThread() // and never unlocked
			defer unix.Close(ns)
			stopped <- connectAll(ns, stop, &began)
		}()
		learnt, came := 0, 0
		take := func() {
			for _, m := range array {
				n, err := m.Queue()
				if err != nil {
					t.Fatal(err)
				}
				for range n {
					conn, err := m.Listener.Accept()
					if err != nil {
						t.Fatal(err)
					}
					conn.Close() // without a reset, which could come while the client connects
					came++
				}
			}
		}
		for began.Load() < int64(rounds(2000)) && len(stopped) == 0 {
			slots, err := array[0].slotsByOneMore(t.Context(), diag, array[0].members(t, diag), array[0].ways()[0])
			if err != nil || !slices.Equal(slots, cookies(array)) {
				t.Errorf("%v, %v, want %v", slots, err, cookies(array))
				break
			}
			learnt++
			take()
		}
		close(stop)
		if err := <-stopped; err != nil {
			t.Errorf("%s: connection %d: %v", address, began.Load(), err)
		}
		for deadline := time.Now().Add(testnet.Slow(10 * time.Second)); came < int(began.Load()) && time.Now().Before(deadline); {
			take()
		}
		if n := int(began.Load()); came != n || learnt == 0 {
			t.Errorf("%s: %d of %d connections came, while the slots were learnt %d times", address, came, n, learnt)
		}
		// The control: one more that is not steered away from gets some.
		more := open(t, "tcp6", address)
		if err := array[0].Detach(); err != nil {
			t.Fatal(err)
		}
		if total, own := connect(t, more); own == 0 {
			t.Errorf("%s: the control: one more gets none of %d", address, total)
		}
		closeAll(append(array, more))
	}
}

// connectAll makes connections to [::1]:9999 and closes them.
func connectAll(ns int, stop <-chan struct{}, began *atomic.Int64) error {
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return err
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		conn, err := net.Dial("tcp6", "[::1]:9999")
		if err != nil {
			return err
		}
		began.Add(1)
		if err := conn.Close(); err != nil {
			return err
		}
	}
}
