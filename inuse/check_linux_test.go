package inuse_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/reuse/internal/testnet"
	"example.com/reuse/inuse"
)

// Check says of an address what Explain says of the error of a socket without
// options, and cmd/whyinuse's tests what else.
func TestCheck(t *testing.T) {
	testnet.NeedTables(t)
	testnet.Namespace(t)
	path := filepath.Join(t.TempDir(), "x.socket")
	for _, test := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:9999"}, {"tcp4", ":9999"}, {"tcp6", ":9999"}, {"tcp", "localhost:9999"},
		{"udp", "127.0.0.1:9999"}, {"udp4", ":9999"}, {"udp6", ":9999"},
		{"unix", path}, {"unix", "@inuse-check"},
	} {
		check := func(want inuse.Cause) *inuse.Error {
			t.Helper()
			e, err := inuse.Check(t.Context(), test.network, test.address)
			if err != nil || e.Cause != want || (e.Advice == "") != (want == inuse.CauseFree) || e.Reason() == "" {
				t.Fatalf("%s %s: %v, %v, want %s", test.network, test.address, e, err, want)
			}
			return e
		}
		check(inuse.CauseFree)
		var sock interface{ Close() error }
		var err error
		if test.network[:3] == "udp" {
			sock, err = net.ListenPacket(test.network, test.address)
		} else {
			sock, err = net.Listen(test.network, test.address)
		}
		if err != nil {
			t.Fatal(err)
		}
		e := check(inuse.CauseSelf)
		if op, ok := errors.AsType[*net.OpError](e); !ok || op.Net != test.network || !errors.Is(e, syscall.EADDRINUSE) {
			t.Errorf("%s %s: %v is not what package net says", test.network, test.address, e)
		}
		sock.Close()
		check(inuse.CauseFree)
	}
}

func TestCheckFails(t *testing.T) {
	testnet.NeedTables(t)
	for _, test := range []struct{ network, address string }{
		{"tcp5", ":9999"}, {"", ":9999"}, {"ip4:1", "127.0.0.1"}, {"tcp", "127.0.0.1"}, {"tcp", ":99999"}, {"udp4", "[::1]:9"}, {"tcp", "name.invalid:9"},
	} {
		if e, err := inuse.Check(t.Context(), test.network, test.address); err == nil {
			t.Errorf("%s %s: %v, want an error", test.network, test.address, e)
		}
	}
	// Of what was not seen it does not say that it is free.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, network := range []string{"tcp", "udp"} {
		if e, err := inuse.Check(ended, network, "127.0.0.1:0"); err != nil || e.Cause == inuse.CauseFree {
			t.Errorf("%s, with an ended context: %v, %v", network, e, err)
		}
		if e, err := inuse.Check(t.Context(), network, "127.0.0.1:0"); err != nil || e.Cause != inuse.CauseFree {
			t.Errorf("%s: %v, %v", network, e, err)
		}
	}
}
