// Package testnet makes the situations that tests of address reuse need: a
// network namespace of their own, connections in every TCP state, processes of
// other users.
package testnet
