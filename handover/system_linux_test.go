package handover_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"example.com/reuse"
	"example.com/reuse/handover"
)

// lacks returns what this package says that the system lacks: nil, or an error for
// which errors.Is(err, errors.ErrUnsupported) holds.
func lacks(t testing.TB) error {
	t.Helper()
	ln, err := reuse.Port.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own, err := handover.New(ln)
	if err != nil {
		ln.Close()
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Fatalf("New: %v, want errors.ErrUnsupported", err)
		}
		return err
	}
	own.Close()
	return nil
}

// needDrain skips the test where the system cannot drain, and says so.
func needDrain(t testing.TB) {
	t.Helper()
	if err := lacks(t); err != nil {
		t.Skipf("needs what TestUnsupportedSystem is about: %v", err)
	}
}

// A system that accepts the options and does nothing (gVisor), or does not have them
// (emulation of user mode), serves as ever, and nothing pretends to have drained.
func TestUnsupportedSystem(t *testing.T) {
	if lacks(t) == nil {
		return // the other tests are about such a system
	}
	ln, err := handover.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	other, err := handover.Listen("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	if err := ln.Drain(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Drain: %v, want errors.ErrUnsupported", err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if accepted, err := ln.Accept(); err != nil {
		t.Error(err)
	} else {
		accepted.Close()
	}

	pc, err := handover.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if err := pc.Drain(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Drain of UDP: %v, want errors.ErrUnsupported", err)
	}

	srv := &handover.HTTPServer{Server: &http.Server{}, NeedSuccessor: true}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	resp, err := http.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := srv.Shutdown(context.Background()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Shutdown: %v, want errors.ErrUnsupported", err)
	}
	resp, err = http.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal("after Shutdown that failed:", err)
	}
	resp.Body.Close()
	// Without a successor it stops as gracefully.
	http.DefaultClient.CloseIdleConnections()
	srv.NeedSuccessor = false
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
