package group

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"example.com/reuse/internal/sockdiag"
	"example.com/reuse/internal/testnet"
	"golang.org/x/sys/unix"
)

// What a sandbox refuses while slots are learnt is in the error, and no descriptor
// is left.
func TestSlotsRefused(t *testing.T) {
	testnet.NeedArguments(t)
	learn := func(m *member, ctx context.Context, diag *sockdiag.Conn, members Members) ([]uint64, error) {
		return m.Slots(ctx, diag, members)
	}
	oneMore := func(m *member, ctx context.Context, diag *sockdiag.Conn, members Members) ([]uint64, error) {
		return m.slotsByOneMore(ctx, diag, members, m.ways()[0])
	}
	for _, test := range []struct {
		name, network, address string
		option                 uint32
		slots                  func(*member, context.Context, *sockdiag.Conn, Members) ([]uint64, error)
	}{
		{"SO_BINDTOIFINDEX", "tcp4", "127.0.0.1:9999", unix.SO_BINDTOIFINDEX, learn},
		{"SO_BINDTOIFINDEX", "udp4", "0.0.0.0:9999", unix.SO_BINDTOIFINDEX, learn},
		{"IPV6_FREEBIND", "udp6", "[::1]:9999", unix.IPV6_FREEBIND, learn},
		{"IPV6_V6ONLY", "udp6", "[::]:9999", unix.IPV6_V6ONLY, learn},
		{"SO_REUSEPORT", "udp4", "127.0.0.1:9999", unix.SO_REUSEPORT, learn},
		{"SO_ATTACH_REUSEPORT_CBPF", "tcp6", "[::1]:9999", unix.SO_ATTACH_REUSEPORT_CBPF, oneMore},
		{"IPV6_MINHOPCOUNT", "tcp6", "[::1]:9999", unix.IPV6_MINHOPCOUNT, oneMore},
		{"SO_REUSEPORT", "tcp6", "[::]:9999", unix.SO_REUSEPORT, oneMore},
	} {
		for _, errno := range []unix.Errno{unix.EPERM, unix.ENOPROTOOPT} {
			t.Run(test.network+" "+test.name+" "+errno.Error(), func(t *testing.T) {
				testnet.Namespace(t) // the thread, which the filter is for, stays this goroutine's
				diag := diagConn(t)
				array := reordered(t, 4, test.network, test.address)
				members := array[0].members(t, diag)
				if slots, err := test.slots(array[0], t.Context(), diag, members); err != nil || !slices.Equal(slots, cookies(array)) {
					t.Fatalf("the control: %v, %v, want %v", slots, err, cookies(array))
				}
				if err := refuse(test.option, errno); err != nil {
					t.Fatal(err)
				}
				before := testnet.Descriptors(t)
				slots, err := test.slots(array[0], t.Context(), diag, members)
				if !errors.Is(err, errno) || !strings.Contains(err.Error(), "setsockopt "+test.name) {
					t.Errorf("%v, %v, want %v and the option", slots, err, errno)
				}
				if errors.Is(err, errors.ErrUnsupported) != (errno == unix.ENOPROTOOPT) {
					t.Errorf("%v: unsupported or not", err)
				}
				if after := testnet.Descriptors(t); after != before {
					t.Errorf("%d descriptors before, %d after", before, after)
				}
				if now := array[0].members(t, diag); !now.Same(members.All) {
					t.Errorf("members %v, then %v", members.All, now.All)
				}
			})
		}
	}
}
