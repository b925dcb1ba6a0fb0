// Package group knows the group of sockets that share a port through
// SO_REUSEPORT on Linux: who is in it, which slot a member has, and the classic
// BPF program by which the kernel chooses among them.
//
// The members are in an array (struct sock_reuseport). Who joins is appended;
// when a member leaves, the last one moves into the hole (reuseport_add_sock,
// __reuseport_detach_sock). A program returns the index of the member that gets
// a packet; if that is out of range, the kernel goes by its hash.
package group
