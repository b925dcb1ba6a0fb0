// Package rtnetlink asks Linux for network interfaces (rtnetlink(7), include/uapi/linux/
// {if_addr,if_link,wireguard}.h): those that have a UDP port of their own, as tunnels do,
// whose sockets belong to no process; and whether their addresses can be used.
package rtnetlink
