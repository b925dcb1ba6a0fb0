// Package sockdiag asks Linux for the sockets of a network namespace: through
// netlink (sock_diag(7)), and where that is missing, through procfs.
package sockdiag
