//go:build !long

package testnet

// Long says whether tests run at length: they have the build tag long. Without it
// they do everything at least once.
const Long = false
