package group

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

var claimPlaces = []struct{ network, address string }{
	{"tcp4", "127.0.0.1:9999"}, {"tcp6", "[::1]:9999"}, {"tcp", ":9999"},
	{"udp4", "127.0.0.1:9999"}, {"udp6", "[::1]:9999"}, {"udp", ":9999"},
}

// claim is a program that joins a group, and does what each line that it reads
// says.
func claim(args []string) error {
	m, err := openMember(args[0], args[1])
	if err != nil {
		return err
	}
	defer m.close()
	diag, err := sockdiag.Open()
	if err != nil {
		return err
	}
	defer diag.Close()
	fmt.Println("joined")
	ctx := context.Background()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch command, arg, _ := strings.Cut(lines.Text(), " "); command {
		case "claim":
			err = m.Claim(ctx, diag)
		case "release":
			err = m.Release()
		case "alone":
			err = alone(ctx, m, diag, arg)
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

// alone claims several times, and returns an error if somebody else who does has a
// claim at the same time.
func alone(ctx context.Context, m *member, diag *sockdiag.Conn, file string) error {
	for range 5 {
		if err := m.Claim(ctx, diag); err != nil {
			return err
		}
		if err := os.Mkdir(file, 0o700); err != nil {
			return fmt.Errorf("claimed by another one, too: %w", err)
		}
		err := errors.Join(m.Attach(Among([]int{0})), Grace(ctx), m.Detach(), os.Remove(file))
		if err = errors.Join(err, m.Release()); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) tries(t *testing.T, diag *sockdiag.Conn, want bool) {
	t.Helper()
	if claimed, err := m.TryClaim(t.Context(), diag); claimed != want || err != nil {
		t.Errorf("%v: claimed: %v, %v, want %v", m.Key, claimed, err, want)
	}
}

// A claim excludes another process's until it is released, or the process ends.
func TestClaim(t *testing.T) {
	for _, place := range claimPlaces {
		testnet.Namespace(t)
		diag := diagConn(t)
		p := testnet.Start(t, os.Getuid(), "claim", place.network, place.address)
		tell := func(command string) {
			t.Helper()
			fmt.Fprintln(p.In, command)
			if line := p.Line(t); line != "done" {
				t.Fatalf("%s: %q", command, line)
			}
		}
		if line := p.Line(t); line != "joined" {
			t.Fatal(line)
		}
		m := open(t, place.network, place.address)
		m.tries(t, diag, true)
		m.tries(t, diag, true) // it has it
		if err := m.Release(); err != nil {
			t.Fatal(err)
		}
		tell("claim")
		m.tries(t, diag, false)
		tell("release")
		m.tries(t, diag, true)
		if err := m.Release(); err != nil {
			t.Fatal(err)
		}
		tell("claim")
		m.tries(t, diag, false)
		p.Stop(t)
		m.tries(t, diag, true)
		m.close()
	}
}

// Of several who claim at once, in one process and in others, one has it at a time,
// and all get on.
func TestClaimAtOnce(t *testing.T) {
	testnet.Namespace(t)
	diagConn(t) // or there are no claims
	file := filepath.Join(t.TempDir(), "claimed")
	var processes []*testnet.Process
	for range 2 {
		p := testnet.Start(t, os.Getuid(), "claim", "tcp4", "127.0.0.1:9999")
		if line := p.Line(t); line != "joined" {
			t.Fatal(line)
		}
		processes = append(processes, p)
	}
	var claimers sync.WaitGroup
	defer claimers.Wait()
	for range 2 {
		m, diag := open(t, "tcp4", "127.0.0.1:9999"), diagConn(t)
		claimers.Go(func() {
			if err := alone(context.Background(), m, diag, file); err != nil {
				t.Error(err)
			}
		})
	}
	for _, p := range processes {
		fmt.Fprintln(p.In, "alone "+file)
	}
	for _, p := range processes {
		if line := p.Line(t); line != "done" {
			t.Errorf("process %d: %q", p.Process.Pid, line)
		}
	}
}

// Another member's option is not a claim, but the one that is.
func TestClaimMark(t *testing.T) {
	for _, place := range claimPlaces {
		testnet.Namespace(t)
		diag := diagConn(t)
		for option, name := range map[int]string{
			unix.IP_BIND_ADDRESS_NO_PORT: "IP_BIND_ADDRESS_NO_PORT", unix.IP_RECVERR: "IP_RECVERR",
			unix.IP_FREEBIND: "IP_FREEBIND", unix.IP_RECVERR_RFC4884: "IP_RECVERR_RFC4884",
		} {
			foreign := open(t, place.network, place.address, func(fd int) error {
				return setsockopt(fd, unix.IPPROTO_IP, option, 1, name)
			})
			m := open(t, place.network, place.address)
			if claimed, err := m.TryClaim(t.Context(), diag); claimed == (option == unix.IP_RECVERR_RFC4884) || err != nil {
				t.Errorf("%v, another member has %s: claimed: %v, %v", place, name, claimed, err)
			}
			foreign.close()
			m.close()
		}
	}
}

// The error of a Claim that has to end names whom it waits for. Nothing is left of
// it.
func TestClaimEnds(t *testing.T) {
	testnet.Namespace(t)
	diag := diagConn(t)
	first, m := open(t, "tcp4", "127.0.0.1:9999"), open(t, "tcp4", "127.0.0.1:9999")
	third := open(t, "tcp4", "127.0.0.1:9999")
	first.tries(t, diag, true)
	var stat unix.Stat_t
	if err := control(first, func(fd int) error { return unix.Fstat(fd, &stat) }); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	err := m.Claim(ctx, diag)
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), fmt.Sprintf("inode %d,", stat.Ino)) {
		t.Errorf("%v, want %v and inode %d", err, cause, stat.Ino)
	}
	first.close()
	third.tries(t, diag, true)
	m.tries(t, diag, false)
	// Another member of the same owner can have it, too, and keeps it.
	if err := m.Share(); err != nil {
		t.Fatal(err)
	}
	third.close()
	last := open(t, "tcp4", "127.0.0.1:9999")
	last.tries(t, diag, false)
	if err := m.Release(); err != nil {
		t.Fatal(err)
	}
	last.tries(t, diag, true)
	// Without others, an end is none.
	last.close()
	if err := m.Claim(ctx, diag); err != nil {
		t.Error(err)
	}
}
