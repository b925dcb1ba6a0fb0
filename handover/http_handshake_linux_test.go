package handover_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/reuse/internal/testnet"
)

// A handshake that does not end keeps nobody waiting: clients are told meanwhile. It
// is in the error when the context ends. TestPendingHandshake is the control: Drain
// does wait.
func TestShutdownPendingHandshake(t *testing.T) {
	testnet.Parallel(t)
	testnet.NeedRoot(t)
	testnet.Namespace(t)
	server := start(t, os.Getuid(), "serve http", "-addr", ":9999")
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(guard))
	in := bufio.NewReader(conn)
	ask := func() (told bool) {
		t.Helper()
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		return resp.Close
	}
	if ask() {
		t.Error("told before Shutdown")
	}
	server.expect(t, "serving")
	synFrom(t, 40000)
	next := start(t, os.Getuid(), "serve", "-net", "tcp4", "-addr", ":9999")
	server.tell(t, "shutdown")
	for !ask() {
	}
	conn.Close()
	server.tell(t, "cancel")
	if line := server.expect(t, "handover:"); !strings.Contains(line, "1 handshakes under way") {
		t.Errorf("%q does not tell what was left", line)
	}
	next.end(t)
}
