package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// scarceClose drains two of three listeners together, and has no descriptor left
// while it closes the first. Then clients come, and some of them to the second,
// which accepts slowly and is closed. It prints how many it got, and how many
// clients were lost. Its argument is how many descriptors are left.
func scarceClose(args []string) error {
	if err := limit(highest); err != nil {
		return err
	}
	var lns [2]*handover.Listener
	for i := range lns {
		var err error
		if lns[i], err = handover.Listen("tcp4", addr); err != nil {
			return err
		}
		if err := listenNow(lns[i]); err != nil {
			return err
		}
	}
	stay, err := serveScarce(handover.Listen("tcp4", addr))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	if err := handover.DrainAll(ctx, lns[0], lns[1]); err != nil {
		return err
	}
	var left int
	if _, err := fmt.Sscan(args[0], &left); err != nil {
		return err
	}
	if err := scarcely(left, lns[0].Close); err != nil {
		return err
	}
	var conns []net.Conn
	for range 60 {
		conn, err := net.Dial("tcp4", addr)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	accepted := make(chan int)
	go func() {
		n := 0
		for {
			time.Sleep(3 * time.Millisecond) // much longer in all than Close takes by itself
			conn, err := lns[1].Accept()
			if err != nil {
				accepted <- n
				return
			}
			n++
			go answer(conn)
		}
	}()
	if err := lns[1].Close(); err != nil {
		return err
	}
	lost := 0
	for _, conn := range conns {
		conn.SetDeadline(time.Now().Add(guard))
		_, err1 := conn.Write([]byte("x"))
		_, err2 := conn.Read(make([]byte, 1))
		if errors.Join(err1, err2) != nil {
			lost++
		}
		conn.Close()
	}
	fmt.Println("accepted", <-accepted, "lost", lost)
	return stay.close()
}

// Close cannot look at the group for want of descriptors: what the rest of those
// that were drained together get then is not lost.
func TestScarceClose(t *testing.T) {
	testnet.Parallel(t)
	testnet.Namespace(t)
	needDrain(t)
	for _, left := range []string{"0", "10"} {
		p := testnet.Start(t, os.Getuid(), "scarce close", left)
		var accepted, lost int
		line := p.Line(t)
		if _, err := fmt.Sscanf(line, "accepted %d lost %d", &accepted, &lost); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		t.Logf("%s descriptors: the second got %d, %d lost", left, accepted, lost)
		if lost > 0 {
			t.Errorf("%s descriptors: %d lost", left, lost)
		}
		p.End(t)
	}
}
