package reuse

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"example.com/reuse/internal/sockfile"
)

// removeStale returns nil if cause, the error of a listen on address, came from
// a stale socket file and another try has a chance. Otherwise it returns the
// error to report.
func (m Mode) removeStale(network, address string, cause error) error {
	var op *net.OpError
	if m&Addr == 0 || !strings.HasPrefix(network, "unix") || !sockfile.IsFile(address) || !inUse(cause) || !errors.As(cause, &op) {
		return cause
	}
	state, err := sockfile.Remove(address)
	switch {
	case state == sockfile.Gone:
		return nil
	case err != nil:
		failed := *op
		failed.Err = fmt.Errorf("%w, and its socket file cannot be replaced: %w", op.Err, err)
		return &failed
	}
	return cause
}
