package inuse

import (
	"context"
	"example.com/reuse/internal/sockdiag"
	"net/netip"
)

func (a attempt) notPermitted(ctx context.Context, me asker) *finding { return nil }
func (a attempt) notAvailable(ctx context.Context) *finding           { return nil }
func (a attempt) invalid(ctx context.Context) *finding                { return nil }
func (a attempt) findPath(ctx context.Context, me asker) *finding     { return nil }
func (a attempt) exhausted(ctx context.Context, most func(context.Context, []sockdiag.Socket) string) *finding {
	return nil
}
func (a attempt) lowPort() (int, bool)                  { return 0, false }
func otherAddress(not ...netip.Addr) (netip.Addr, bool) { return netip.Addr{}, false }
