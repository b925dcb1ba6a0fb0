//go:build linux && long

package reuse_test

import (
	"testing"

	"example.com/reuse/internal/testnet"
)

// Thousands of combinations: all kinds of addresses.
func TestAllRules(t *testing.T) { checkRules(t, testnet.FirstPlaces, testnet.SecondPlaces) }
