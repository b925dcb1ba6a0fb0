//go:build long

package reuse_test

import "testing"

func TestStartersOften(t *testing.T) { startTogether(t, 30) }
