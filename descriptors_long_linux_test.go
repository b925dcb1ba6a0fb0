//go:build linux && long

package reuse_test

import "testing"

// Many children, and failures.

func TestCloseOnExecMany(t *testing.T) { closeOnExec(t, 1000) }

func TestLeakMany(t *testing.T) { leaks(t, 10_000) }

func TestLeakExhaustedMany(t *testing.T) { leaksExhausted(t, 10_000) }
