package sockdiag

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"testing"

	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// A kernel that does not answer is given up, and the next request works.
func TestSilence(t *testing.T) {
	c := open1(t)
	r := Request{Protocol: unix.IPPROTO_UDP}
	if _, err := c.Sockets(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	before := testnet.Descriptors(t)
	// A filter that drops every answer.
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := &unix.SockFprog{Len: 1, Filter: &drop[0]}
	if err := unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program); err != nil {
		t.Skipf("needs socket filters: %v", err)
	}
	if _, err := c.Sockets(t.Context(), r); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silence: %v", err)
	}
	if _, err := c.Sockets(t.Context(), r); err != nil {
		t.Errorf("after that: %v", err)
	}
	if after := testnet.Descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// An answer that does not fit is an error, and the next request works.
func TestTooLong(t *testing.T) {
	descriptor(t, unix.AF_UNIX, unix.SOCK_STREAM) // there is at least one
	c := open1(t)
	whole := c.buf
	c.buf = whole[:8]
	if _, err := c.UnixSockets(t.Context()); !errors.Is(err, errMalformed) {
		t.Errorf("with a small buffer: %v", err)
	}
	c.buf = whole
	if sockets, err := c.UnixSockets(t.Context()); err != nil || len(sockets) == 0 {
		t.Errorf("after that: %v, %v", sockets, err)
	}
}

// TestForged: what others send is not taken for the kernel's answer. Only a
// privileged process can send anything.
func TestForged(t *testing.T) {
	testnet.NeedRoot(t) // the kernel lets nobody else send to another socket
	w := situation(t)
	c, stranger := open1(t), open1(t)
	r := Request{Protocol: unix.IPPROTO_TCP, States: unbound}
	if _, err := c.Sockets(t.Context(), r); err != nil { // which binds it to a port
		t.Fatal(err)
	}
	own, err := unix.Getsockname(c.fd)
	if err != nil {
		t.Fatal(err)
	}
	end := native.AppendUint32(nil, sizeHeader+4)
	end = native.AppendUint16(end, unix.NLMSG_DONE)
	end = native.AppendUint16(end, unix.NLM_F_MULTI)
	end = native.AppendUint32(end, c.seq+1)
	end = native.AppendUint32(end, 0)
	end = native.AppendUint32(end, 0)
	if done, err := eachMessage(end, native, c.seq+1, nil); !done || err != nil {
		t.Fatal("the forged message is no answer", done, err)
	}
	for _, message := range [][]byte{end, bytes.Repeat([]byte{1}, len(c.buf)+1)} {
		if err := unix.Sendto(stranger.fd, message, 0, own); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 32)
	n, _, err := unix.Recvfrom(c.fd, buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil || !bytes.Equal(buf[:n], end) {
		t.Fatalf("the forged message has not arrived: %v", err)
	}
	sockets, err := c.Sockets(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	check(t, sockets, w.select1(r))
}

// A process without privileges cannot send to the netlink socket of another.
func TestForgedUnprivileged(t *testing.T) {
	c, stranger := open1(t), open1(t)
	if _, err := c.UnixSockets(t.Context()); err != nil {
		t.Fatal(err)
	}
	own, err := unix.Getsockname(c.fd)
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // and never unlocked: the thread has no capabilities
	none := [2]unix.CapUserData{}
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(stranger.fd, []byte("forged"), 0, own); err != unix.EPERM {
		t.Errorf("%v, want EPERM", err)
	}
}
