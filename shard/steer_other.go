//go:build !linux

package shard

import (
	"errors"
	"fmt"
	"syscall"

	"example.com/reuse/internal/group"
)

var errSystem = fmt.Errorf("on this system: %w", errors.ErrUnsupported)

func noOthers([]syscall.RawConn) error { return nil }

func attach([]syscall.RawConn, []group.Instruction) error { return errSystem }

func detach(syscall.RawConn) error { return errSystem }
