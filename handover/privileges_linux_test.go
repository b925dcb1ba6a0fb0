package handover_test

import (
	"testing"

	"example.com/reuse/internal/testnet"
)

// Servers that root starts give up their privileges when the port is open, so that
// they cannot open a socket there any more. They are replaced all the same.
func TestDroppedPrivileges(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	for _, test := range []struct{ name, serve, load, network, addr string }{
		{"TCP", "serve", "load", "tcp", "127.0.0.1:80"},
		{"TCP, a port that is anybody's", "serve", "load", "tcp", "127.0.0.1:9999"},
		{"UDP", "serve udp", "load udp", "udp4", "127.0.0.1:53"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testnet.Namespace(t)
			at := []string{"-net", test.network, "-addr", test.addr}
			lossless(t, func(drain bool) (lost int) {
				begin := func() process { return start(t, 0, test.serve, append(at, "-drop")...) }
				server := begin()
				clients := start(t, nobody, test.load, "-addr", test.addr)
				for range times(6) {
					next := begin()
					if drain {
						server.tell(t, "drain")
						server.expect(t, "drained")
					}
					server.end(t)
					server = next
				}
				ok, lost, slow := clients.finish(t, drain, server)
				t.Logf("drain %v: %d answers, %d lost, %d slow", drain, ok, lost, slow)
				return lost
			})
		})
	}
}
