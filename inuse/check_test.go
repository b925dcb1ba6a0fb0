package inuse

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// looks is a look that finds what is said of each address, and else that it is free.
func looks(said map[string]Cause) func(attempt, context.Context) *finding {
	return func(a attempt, _ context.Context) *finding {
		cause, ok := said[a.local.Addr().String()]
		if !ok {
			cause = CauseFree
		}
		f := a.because(cause, nil)
		if cause.held() {
			p := Process{PID: 3120, Name: "node vite.js", Command: "node", State: "running", unit: unit{user: -1}}
			f.holders = []Holder{{Network: "tcp4", Local: a.local, State: "LISTEN", Count: 1, User: "alice", Processes: []Process{p}, unit: unit{user: -1}}}
		}
		f.asker.root = true
		return f
	}
}

// hosts is a checker that knows the addresses of some hosts.
func hosts(look func(attempt, context.Context) *finding) checker {
	known := map[string]string{"localhost": "127.0.0.1", "LOCALHOST": "127.0.0.1", "both": "127.0.0.1 ::1", "three": "192.0.2.1 2001:db8::1 192.0.2.1 192.0.2.2", "mapped": "::ffff:192.0.2.1"}
	return checker{look, func(ctx context.Context, network, host string) (all []netip.Addr, err error) {
		switch {
		case ctx.Err() != nil || host == "timeout":
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
		case known[host] == "":
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		for _, addr := range strings.Fields(known[host]) {
			all = append(all, netip.MustParseAddr(addr))
		}
		return all, nil
	}}
}

// A name for a host stands for all of its addresses.
func TestCheckHost(t *testing.T) {
	for _, test := range []struct {
		network, address string
		said             map[string]Cause
		cause            Cause
		first, hint      string // "" if there is none
	}{
		{"tcp", "localhost:5173", nil, CauseFree, "Port 5173 on localhost is free.", ""},
		{"tcp", "localhost:5173", map[string]Cause{"::1": CauseListener}, CauseListener,
			"Port 5173 on localhost is in use by node vite.js.", "127.0.0.1:5173 is free: localhost has two addresses"},
		{"tcp", "localhost:5173", map[string]Cause{"127.0.0.1": CauseListener}, CauseListener,
			"Port 5173 on localhost is in use by node vite.js.", ""}, // that it has ::1 is a guess
		{"tcp", "localhost:5173", map[string]Cause{"127.0.0.1": CauseListener, "::1": CauseListener}, CauseListener,
			"Port 5173 on localhost is in use by node vite.js.", "[::1]:5173 is in use as well: localhost has two addresses"},
		{"tcp", "localhost:5173", map[string]Cause{"::1": CauseIPv6Off}, CauseFree, "Port 5173 on localhost is free.", ""},
		{"tcp4", "localhost:5173", map[string]Cause{"::1": CauseListener}, CauseFree, "Port 5173 on localhost is free.", ""},
		{"tcp6", "localhost:5173", map[string]Cause{"::1": CauseListener}, CauseListener, "Port 5173 on localhost is in use by node vite.js.", ""},
		{"udp", "LOCALHOST:53", map[string]Cause{"::1": CauseListener}, CauseListener,
			"UDP port 53 on LOCALHOST is in use by node vite.js.", "127.0.0.1:53 is free: LOCALHOST has two addresses"},
		{"tcp", "both:5173", map[string]Cause{"127.0.0.1": CauseListener}, CauseListener,
			"Port 5173 on both is in use by node vite.js.", "[::1]:5173 is free: both has two addresses"},
		{"tcp", "both:5173", map[string]Cause{"::1": CauseIPv6Off}, CauseFree, "Port 5173 on both is free.", ""},
		{"tcp6", "both:5173", map[string]Cause{"::1": CauseIPv6Off}, CauseIPv6Off, "Port 5173 on both cannot be used: IPv6 is switched off here.", ""},
		{"tcp", "three:80", map[string]Cause{"192.0.2.2": CauseListener}, CauseListener,
			"Port 80 on three is in use by node vite.js.", "192.0.2.1:80 and [2001:db8::1]:80 are free: three has three addresses"},
		{"tcp4", "mapped:80", map[string]Cause{"192.0.2.1": CauseListener}, CauseListener, "Port 80 on mapped is in use by node vite.js.", ""},
		{"tcp", "127.0.0.1:5173", map[string]Cause{"::1": CauseListener}, CauseFree, "Port 5173 on 127.0.0.1 is free.", ""},
		{"tcp", "[::1]:5173", map[string]Cause{"::1": CauseListener}, CauseListener, "Port 5173 on ::1 is in use by node vite.js.", ""},
		{"tcp", ":5173", map[string]Cause{"::1": CauseListener}, CauseFree, "Port 5173 is free.", ""},
		{"tcp", ":http", nil, CauseFree, "Port 80 is free.", ""},
	} {
		e, err := hosts(looks(test.said)).check(t.Context(), test.network, test.address)
		if err != nil {
			t.Errorf("%s %s: %v", test.network, test.address, err)
			continue
		}
		first, _, _ := strings.Cut(e.Text(), "\n")
		hint := strings.Join(e.Hints, "; ")
		if e.Cause == CauseFree {
			hint = "" // what is said of a free port is not about the host
		}
		if e.Cause != test.cause || first != test.first || hint != test.hint {
			t.Errorf("%s %s: %s, %q, hint %q; want %s, %q, %q", test.network, test.address, e.Cause, first, hint, test.cause, test.first, test.hint)
		}
		if e.Cause == CauseFree || e.Cause == CauseUnknown {
			if e.Err != nil || !strings.HasPrefix(e.Text(), e.Error()) {
				t.Errorf("%s %s: nothing has failed, but %v", test.network, test.address, e)
			}
		} else if op, ok := errors.AsType[*net.OpError](e); !ok || op.Op != "listen" || op.Net != test.network {
			t.Errorf("%s %s: it wraps %v", test.network, test.address, e.Err)
		}
	}
}

// Which of several addresses decides.
func TestDecisive(t *testing.T) {
	for _, test := range []struct {
		causes, want, hint string
	}{
		{"free free", "free", ""},
		{"free listener free", "listener", "192.0.2.1:80 and 192.0.2.3:80 are free: h has three addresses"},
		{"free listener free free free", "listener", "192.0.2.1:80, 192.0.2.3:80, 192.0.2.4:80 and 192.0.2.5:80 are free: h has five addresses"},
		{"not-local listener", "listener", ""},
		{"unknown listener", "listener", ""},
		{"unknown not-local free", "not-local", "192.0.2.3:80 is free: h has three addresses"},
		{"free unknown", "unknown", "192.0.2.1:80 is free: h has two addresses"},
		{"ipv6-off free", "free", ""},
		{"ipv6-off ipv6-off", "ipv6-off", ""},
		{"ipv6-off listener", "listener", ""},
		{"listener listener leftover", "listener", "192.0.2.2:80 and 192.0.2.3:80 are in use as well: h has three addresses"},
	} {
		var all []*finding
		addr := netip.MustParseAddr("192.0.2.1")
		for _, cause := range strings.Fields(test.causes) {
			a := attempt{network: "tcp", host: "h", local: netip.AddrPortFrom(addr, 80)}
			all = append(all, looks(map[string]Cause{addr.String(): Cause(cause)})(a, t.Context()))
			addr = addr.Next()
		}
		f := decisive(all)
		if hint := strings.Join(f.hints, "; "); string(f.cause) != test.want || hint != test.hint {
			t.Errorf("%s: %s, %q; want %s, %q", test.causes, f.cause, hint, test.want, test.hint)
		}
	}
	// The same sockets are in the way of both.
	both := looks(map[string]Cause{"::": CauseListener})(attempt{network: "tcp", local: netip.MustParseAddrPort("[::]:80")}, t.Context())
	again := *both
	if f := decisive([]*finding{both, &again}); f.hints != nil {
		t.Errorf("hints %q", f.hints)
	}
}

// What is wrong with a call is a sentence.
func TestCheckWrong(t *testing.T) {
	for _, test := range []struct{ network, address, want string }{
		{"sctp", ":80", `"sctp" is not supported: tcp, udp and unix are`},
		{"", ":80", `"" is not supported: tcp, udp and unix are`},
		{"ip4:1", "127.0.0.1", `"ip4:1" is not supported: tcp, udp and unix are`},
		{"tcp", "127.0.0.1", `"127.0.0.1" is no address: a host, a colon and a port are`},
		{"tcp", ":99999", `"99999" is no port: ports go up to 65535`},
		{"tcp", ":99999999999999999999", `"99999999999999999999" is no port: ports go up to 65535`},
		{"tcp", ":-1", `"-1" is no port, nor the name of a service`},
		{"tcp", ":", `"" is no port, nor the name of a service`},
		{"udp", ":nosuch", `"nosuch" is no port, nor the name of a service`},
		{"udp4", "[::1]:9", `::1 is no IPv4 address`},
		{"tcp6", "127.0.0.1:9", `127.0.0.1 is no IPv6 address`},
		{"tcp6", "[::ffff:127.0.0.1]:9", `::ffff:127.0.0.1 is no IPv6 address`},
		{"tcp", "a b:9", `"a b" is no host`},
		{"tcp", "\x1b[2J:9", `"\x1b[2J:9" is no address: a host, a colon and a port are`},
		{"tcp", "nosuchhost:80", `no host is called "nosuchhost"`},
		{"tcp6", "localhost4:80", `no host is called "localhost4"`},
		{"udp6", "mapped:80", "mapped has no IPv6 address"},
		{"unix", "", "the path is empty"},
	} {
		e, err := hosts(looks(nil)).check(t.Context(), test.network, test.address)
		if _, typed := errors.AsType[*AddressError](err); !typed || err.Error() != test.want {
			t.Errorf("%s %s: %v, %v, want %s", test.network, test.address, e, err, test.want)
		}
	}
}

// Not known is not free.
func TestCheckUnknown(t *testing.T) {
	free := looks(nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	slow := func(a attempt, ctx context.Context) *finding {
		<-ctx.Done()
		return free(a, ctx)
	}
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	for _, test := range []struct {
		what    string
		ctx     context.Context
		address string
		look    func(attempt, context.Context) *finding
		first   string
	}{
		{"interrupted", ended, ":8080", free, "Cannot tell whether port 8080 is free: not all sockets could be read before the look was interrupted."},
		{"no reason", t.Context(), ":8080", func(attempt, context.Context) *finding { return nil },
			"Cannot tell whether port 8080 is free: the system refuses it without a reason that it shows."},
		{"time up", short, ":8080", slow, "Cannot tell whether port 8080 is free: not all sockets could be read in "},
		{"no answer", t.Context(), "timeout:80", free, "Cannot tell whether port 80 on timeout is free: the addresses of timeout could not be looked up."},
		{"ended look-up", ended, "name.invalid:80", free, "Cannot tell whether port 80 on name.invalid is free: the addresses of name.invalid could not be looked up"},
	} {
		e, err := hosts(test.look).check(test.ctx, "tcp", test.address)
		if err != nil || e.Cause != CauseUnknown || !strings.HasPrefix(e.Text(), test.first) {
			t.Errorf("%s: %v, %v", test.what, e.Text(), err)
			continue
		}
		if strings.Contains(e.Text(), "context") || strings.Contains(e.Text(), "deadline") {
			t.Errorf("%s: Go's words: %s", test.what, e.Text())
		}
		if kinds := kindsOf(e); !slices.Equal(kinds, []string{"look-again"}) {
			t.Errorf("%s: remedies %q", test.what, kinds)
		}
	}
	past, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for d, want := range map[time.Duration]string{10 * time.Second: " in 10 s", 9999*time.Millisecond + 900*time.Microsecond: " in 10 s", 200 * time.Millisecond: " in 200 ms", 0: ""} {
		if got := limit(d).suffix(past); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if e, err := hosts(free).check(t.Context(), "tcp", ":8080"); err != nil || e.Cause != CauseFree {
		t.Errorf("control: %v, %v", e, err)
	}
}

func kindsOf(e *Error) (kinds []string) {
	for _, r := range e.Remedies {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}
