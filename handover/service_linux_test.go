package handover_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/reuse"
	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
)

// service is a process that does all that this package can do, with sockets of its
// own, and prints what came of it.
func service([]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	for _, network := range []string{"tcp", "udp"} {
		fmt.Println("Supported", network, outcome(handover.Supported(network)))
	}
	for _, addr := range []string{"127.0.0.1:9999", "[::1]:9999", ":9999"} {
		old, err := handover.Listen("tcp", addr)
		if err != nil {
			return err
		}
		next, err := handover.Listen("tcp", addr)
		if err != nil {
			return err
		}
		go next.Accept()
		if raw, err := next.SyscallConn(); err != nil {
			return err
		} else if err := untilListening(raw); err != nil {
			return err
		}
		fmt.Println("Drain", addr, outcome(old.Drain(ctx)))
		fmt.Println("Close", addr, old.Close(), next.Close())

		oldUDP, err := handover.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		nextUDP, err := handover.ListenPacket("udp", addr)
		if err != nil {
			return err
		}
		fmt.Println("Drain of UDP", addr, outcome(oldUDP.Drain(ctx)))
		fmt.Println("Close of UDP", addr, oldUDP.Close(), nextUDP.Close())
	}
	for _, step := range []struct {
		name string
		f    func(context.Context) error
	}{{"DrainAll", drainAllOfService}, {"Adopt", adoptOfService}, {"HTTPServer", httpOfService}} {
		fmt.Println(step.name, outcome(step.f(ctx)))
	}
	return nil
}

func drainAllOfService(ctx context.Context) error {
	const addr = "127.0.0.1:9996"
	var pcs []handover.Drainable
	for range 2 {
		pc, err := handover.ListenPacket("udp4", addr)
		if err != nil {
			return err
		}
		defer pc.Close()
		pcs = append(pcs, pc)
	}
	old, err := handover.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	defer old.Close()
	next, err := reuse.Port.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	defer next.Close()
	return handover.DrainAll(ctx, old, pcs[0])
}

func adoptOfService(ctx context.Context) error {
	var raws []syscall.RawConn
	for range 2 {
		ln, err := reuse.Port.Listen("tcp4", "127.0.0.1:9998")
		if err != nil {
			return err
		}
		defer ln.Close()
		raw, err := ln.(syscall.Conn).SyscallConn()
		if err != nil {
			return err
		}
		raws = append(raws, raw)
	}
	m, err := handover.Adopt(raws[0])
	if err != nil {
		return err
	}
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { return m.Hold(ctx, 0.5) }, m.Resume, m.Drain, m.Resume, m.Drain,
	} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return m.Close()
}

func httpOfService(ctx context.Context) error {
	ln, err := handover.Listen("tcp4", "127.0.0.1:9997")
	if err != nil {
		return err
	}
	srv := &handover.HTTPServer{Server: &http.Server{}}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://127.0.0.1:9997")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if err := srv.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// In a service that systemd has restricted, everything is as outside, or, without
// netlink, errors.ErrUnsupported.
func TestService(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	testnet.Namespace(t)
	run := func(t *testing.T, p *testnet.Process) (lines []string) {
		for line := p.Line(t); line != ""; line = p.Line(t) {
			lines = append(lines, line)
		}
		p.Survived(t)
		return lines
	}
	outside := run(t, testnet.Start(t, nobody, "service"))
	for _, want := range []string{"Supported tcp drained", "Drain 127.0.0.1:9999 drained", "DrainAll drained", "Adopt drained", "HTTPServer drained"} {
		if !slices.Contains(outside, want) {
			t.Fatalf("outside %q, want %q", outside, want)
		}
	}
	for _, s := range testnet.KillSandboxes() {
		inside := run(t, testnet.StartSandboxed(t, s, nobody, "service"))
		if len(inside) != len(outside) {
			t.Fatalf("%v: only %q", s, inside)
		}
		for i, line := range inside {
			want := outside[i]
			if s.NoNetlink && !strings.HasPrefix(want, "HTTPServer") {
				want = strings.Replace(want, "drained", "unsupported", 1)
			}
			if line != want {
				t.Errorf("%v: %q, want %q", s, line, want)
			}
		}
	}
}

// Services that systemd has restricted are replaced under load, and nothing is lost.
func TestRestartService(t *testing.T) {
	testnet.Parallel(t)
	needNobody(t)
	sandboxes := []testnet.Sandbox{{Unprivileged: true}, {}}
	if !testnet.Long {
		sandboxes = sandboxes[:1]
	}
	for _, s := range sandboxes {
		for _, test := range []struct{ server, load string }{{"serve", "load"}, {"serve udp", "load udp"}} {
			t.Run(fmt.Sprintf("%v, %s", s, test.server), func(t *testing.T) {
				testnet.Namespace(t)
				begin := func() process {
					p := process{testnet.StartSandboxed(t, s, nobody, test.server)}
					p.expect(t, "listening")
					return p
				}
				server := begin()
				clients := start(t, nobody, test.load)
				for range times(6) {
					next := begin()
					server.tell(t, "drain")
					server.expect(t, "drained")
					server.tell(t, "close")
					server.Survived(t)
					server = next
				}
				if _, lost, _ := clients.finish(t, true, server); lost > 0 {
					t.Errorf("%d lost", lost)
				}
			})
		}
		t.Run(fmt.Sprintf("%v, HTTP", s), func(t *testing.T) {
			testnet.Namespace(t)
			begin := func() process {
				p := process{testnet.StartSandboxed(t, s, nobody, "serve http", "-tls")}
				p.expect(t, "listening")
				return p
			}
			server := begin()
			clients := start(t, nobody, "load http", "-scheme", "https")
			for range times(5) {
				next := begin()
				server.expect(t, "serving")
				server.tell(t, "shutdown")
				server.Survived(t)
				server = next
			}
			if _, lost, _ := clients.counts(t); lost > 0 {
				t.Errorf("%d lost", lost)
			}
			server.tell(t, "close")
			server.Survived(t)
		})
	}
}

// foreign is a process that got its socket from root, as by a socket unit, and drains
// it when its standard input says so, after it has
// entered a sandbox if args[0] is "sandbox".
func foreign(args []string) error {
	ln, err := reuse.Port.Listen("tcp4", addr)
	if err == nil {
		err = errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody))
	}
	if err != nil {
		return err
	}
	if args[0] == "sandbox" {
		if err := (testnet.Sandbox{Unprivileged: true}).Enter(); err != nil {
			return err
		}
	}
	own, err := handover.New(ln)
	if err != nil {
		return err
	}
	go own.Accept()
	fmt.Println("listening", os.Getpid())
	fmt.Scanln()
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	defer cancel()
	err = own.Drain(ctx)
	fmt.Println(outcome(err), err)
	return nil
}

// A socket of another user makes no difference for the sandbox: nobody is killed for
// trying to open one beside it.
func TestServiceForeign(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	var outcomes []string
	for _, where := range []string{"", "sandbox"} {
		old := process{testnet.Start(t, 0, "foreign", where)}
		old.expect(t, "listening")
		next := start(t, 0, "serve")
		old.tell(t, "")
		outcomes = append(outcomes, old.Line(t))
		old.Survived(t)
		next.end(t)
	}
	if word, _, _ := strings.Cut(outcomes[0], " "); !strings.HasPrefix(outcomes[1], word+" ") {
		t.Errorf("outside %q, in the sandbox %q", outcomes[0], outcomes[1])
	}
	t.Log(outcomes)
}
