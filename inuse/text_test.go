package inuse_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"example.com/reuse/inuse"
)

func TestHolderString(t *testing.T) {
	local, remote := netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("192.0.2.1:4711")
	for _, test := range []struct {
		holder inuse.Holder
		want   string
	}{
		{inuse.Holder{State: "LISTEN", Local: local, Count: 1, User: "www", UID: 33, Processes: []inuse.Process{{PID: 8, Command: "httpd"}}},
			"httpd (pid 8), user www, LISTEN on 127.0.0.1:80"},
		{inuse.Holder{State: "LISTEN", Local: local, Count: 1, UID: 33, Cgroup: "/system.slice/httpd.service"},
			"user 33, cgroup /system.slice/httpd.service, LISTEN on 127.0.0.1:80"},
		{inuse.Holder{State: "LISTEN", Local: local, Count: 1, UID: 0, Cgroup: "/", Processes: []inuse.Process{{PID: 8, Command: "a"}, {PID: 9, Command: "b", Heir: true}}},
			"a (pid 8), b (pid 9), its heir, user 0, LISTEN on 127.0.0.1:80"},
		{inuse.Holder{State: "TIME_WAIT", Local: local, Remote: remote, Count: 1, UID: -1, Expires: 1500 * time.Millisecond},
			"nobody's, TIME_WAIT on 127.0.0.1:80 to 192.0.2.1:4711, gone in 2 s"},
		{inuse.Holder{State: "TIME_WAIT", Local: local, Remote: remote, Count: 3, UID: -1},
			"nobody's, 3 x TIME_WAIT on 127.0.0.1:80"},
		{inuse.Holder{State: "LISTEN", Local: netip.MustParseAddrPort("[::]:80"), V6Only: true, Count: 1, UID: -1},
			"nobody's, LISTEN on [::]:80 (IPv6 only)"},
		{inuse.Holder{State: "LISTEN", Path: "/run/x", Count: 1, UID: -1, Processes: []inuse.Process{{PID: 8, Command: "x"}}},
			"x (pid 8), LISTEN on /run/x"},
	} {
		if got := test.holder.String(); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

func TestInUseErrorString(t *testing.T) {
	e := &inuse.Error{
		Err: errors.New("listen tcp :80"), Cause: inuse.CauseStale, Advice: "remove it",
		Unseen: []string{"this", "that"}, Changed: true,
	}
	for range 6 {
		e.Holders = append(e.Holders, inuse.Holder{State: "LISTEN", Path: "x", Count: 1, UID: 7})
	}
	const holder = "user 7, LISTEN on x; "
	want := "listen tcp :80: the file of a socket that nobody has any more is in the way; " + holder + holder + holder + holder +
		"and 2 more; remove it; not seen: this, that; sockets came and went meanwhile, look again"
	if e.Error() != want {
		t.Errorf("got  %q\nwant %q", e, want)
	}
	if !errors.Is(e, e.Err) {
		t.Error("it does not wrap its error")
	}
}
