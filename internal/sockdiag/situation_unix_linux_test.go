package sockdiag

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// oddNames break the lines of procfs, or look like something else in them.
var oddNames = []string{"with blank", " first", "two\nlines", "abc\ndef", "end\n", "return\r", "return\r\n", "\nfirst",
	"x\n0000000000000000: ", "01 1", "@packet 2", "@nul\x00inside"}

func (w *truth) unix(t testing.TB) {
	t.Helper()
	stream := listenUnix(t, "unix", "stream")
	w.fillUnix(t, stream, Listen, unix.SOCK_STREAM, "stream")
	client, server := connectUnix(t, "unix", "stream"), acceptUnix(t, stream)
	w.fillUnix(t, client, Established, unix.SOCK_STREAM, "")
	w.fillUnix(t, server, Established, unix.SOCK_STREAM, "stream")
	// One that nobody accepts has no inode.
	w.fillUnix(t, connectUnix(t, "unix", "stream"), Established, unix.SOCK_STREAM, "")
	accepted := w.Unix[len(w.Unix)-2]
	accepted.Inode = 0
	w.Unix = append(w.Unix, accepted)

	packet := listenUnix(t, "unixpacket", "@packet")
	w.fillUnix(t, packet, Listen, unix.SOCK_SEQPACKET, "@packet")
	client, server = connectUnix(t, "unixpacket", "@packet"), acceptUnix(t, packet)
	w.fillUnix(t, client, Established, unix.SOCK_SEQPACKET, "")
	w.fillUnix(t, server, Established, unix.SOCK_SEQPACKET, "@packet")

	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "datagrams", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { datagrams.Close() })
	w.fillUnix(t, datagrams, Close, unix.SOCK_DGRAM, "datagrams")
	w.fillUnix(t, connectUnix(t, "unixgram", "datagrams"), Established, unix.SOCK_DGRAM, "")

	for _, name := range oddNames {
		w.fillUnix(t, listenUnix(t, "unix", name), Listen, unix.SOCK_STREAM, name)
	}
	w.fillUnix(t, descriptor(t, unix.AF_UNIX, unix.SOCK_STREAM), Close, unix.SOCK_STREAM, "")
}

func listenUnix(t testing.TB, network, name string) *net.UnixListener {
	t.Helper()
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: name, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func connectUnix(t testing.TB, network, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix(network, nil, &net.UnixAddr{Name: name, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func acceptUnix(t testing.TB, ln *net.UnixListener) *net.UnixConn {
	t.Helper()
	conn, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *truth) fillUnix(t testing.TB, c syscall.Conn, state State, kind uint8, name string) {
	t.Helper()
	s := UnixSocket{Type: kind, State: state, Name: name, UIDKnown: true}
	control(t, c, func(fd int) {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			t.Fatal(err)
		}
		s.Inode, s.UID = uint32(stat.Ino), stat.Uid
	})
	if name != "" && !strings.HasPrefix(name, "@") {
		var stat unix.Stat_t
		if err := unix.Stat(name, &stat); err != nil {
			t.Fatal(err)
		}
		s.FileInode, s.FileDevice = uint32(stat.Ino), uint64(stat.Dev)
	}
	w.Unix = append(w.Unix, s)
}
