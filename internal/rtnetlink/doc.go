// Package rtnetlink asks Linux for the network interfaces that have a UDP port of their
// own: tunnels, whose sockets belong to no process (rtnetlink(7), include/uapi/linux/
// {if_link,wireguard}.h).
package rtnetlink
