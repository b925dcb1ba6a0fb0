// Package group knows the group of sockets that share a port through SO_REUSEPORT
// on Linux: who is in it, which slot each member has, and the classic BPF program
// by which the kernel chooses among them.
//
// # The array and the hole
//
// The kernel has the members of a group in an array (struct sock_reuseport). Who
// joins is appended. When a member leaves, the last one moves into the hole
// (reuseport_add_sock, reuseport_detach_sock):
//
//	slot       0   1   2   3            0   1   2
//	         ┌───┬───┬───┬───┐        ┌───┬───┬───┐
//	         │ a │ b │ c │ d │        │ a │ d │ c │
//	         └───┴───┴───┴───┘        └───┴───┴───┘
//	               b leaves             d has slot 1
//
// A program returns the slot of the member that gets a packet. The kernel reads
// the number of members first, runs the program then, and takes the member out of
// the array at last (reuseport_select_sock). If the slot is out of range it goes by
// a hash of the addresses and ports: a part of the array for each member, in order.
//
// So who wants that a member gets nothing has to know every slot, and a program is
// right or wrong together with the array that it was made for. What is right before
// and after b leaves: slots 0 and 2, of a and c. Slot 3 is d before, and out of
// range after.
package group
