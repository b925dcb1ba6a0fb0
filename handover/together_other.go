//go:build !linux

package handover

import "context"

func drainAll(context.Context, []socket) error { return errSystem }

func drainAllThen(context.Context, []socket, func()) error { return errSystem }
