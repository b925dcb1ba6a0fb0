package handover_test

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"example.com/reuse/handover"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

var networks = []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"}

// Sockets can be drained where the tests of that run, also by a user without
// privileges. In a sandbox Supported says what to do.
func TestSupported(t *testing.T) {
	needNobody(t)
	testnet.NeedArguments(t)
	testnet.Namespace(t)
	ask1(addr, 0) // so that the runtime has what it keeps
	descriptors := testnet.Descriptors(t)
	for _, network := range networks {
		if err := handover.Supported(network); err != nil {
			t.Error(err)
		}
	}
	if n := testnet.Descriptors(t); n != descriptors {
		t.Errorf("%d descriptors, before %d", n, descriptors)
	}
	for _, network := range []string{"", "unix", "ip", "tcp5"} {
		var unknown net.UnknownNetworkError
		if err := handover.Supported(network); !errors.As(err, &unknown) || errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%q: %v", network, err)
		}
	}
	for _, test := range []struct {
		errno unix.Errno
		cure  string
	}{
		{0, ""},
		{unix.EPERM, "has to allow netlink's NETLINK_SOCK_DIAG"},
		{unix.EAFNOSUPPORT, "add AF_NETLINK to RestrictAddressFamilies="},
	} {
		p := testnet.Start(t, nobody, "supported", strconv.Itoa(int(test.errno)))
		for _, network := range networks {
			line := p.Line(t)
			switch {
			case test.errno == 0 && line != "true <nil>":
				t.Errorf("%s, as nobody: %q", network, line)
			case test.errno != 0 && (!strings.HasPrefix(line, "false true ") || !strings.Contains(line, test.cure)):
				t.Errorf("%s, with %v: %q does not tell the cure", network, test.errno, line)
			}
		}
		p.End(t)
	}
}

// supportedHere prints what Supported says, without netlink if its argument is an
// error number.
func supportedHere(args []string) error {
	if args[0] != "0" {
		errno, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		if err := forbid("netlink", unix.Errno(errno)); err != nil {
			return err
		}
	}
	for _, network := range networks {
		err := handover.Supported(network)
		if err == nil {
			fmt.Println(true, err)
		} else {
			fmt.Println(false, errors.Is(err, errors.ErrUnsupported), err)
		}
	}
	return nil
}
