//go:build linux && long

package reuse_test

import "testing"

// Thousands of combinations: all kinds of addresses.
func TestAllRules(t *testing.T) { checkRules(t, firstPlaces, secondPlaces) }
