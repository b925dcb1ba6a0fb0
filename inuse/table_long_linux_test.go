//go:build linux && long

package inuse_test

import (
	"testing"

	"example.com/reuse/internal/testnet"
)

// Thousands of combinations: all kinds of addresses.
func TestExplainWholeTable(t *testing.T) {
	checkTable(t, testnet.FirstPlaces, testnet.SecondPlaces, 50)
}
