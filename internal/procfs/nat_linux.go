package procfs

// TracksConnections reports whether the network namespace tracks connections
// (nf_conntrack), as translating addresses takes.
func (fs FS) TracksConnections() bool {
	_, err := fs.read("sys/net/netfilter/nf_conntrack_count")
	return err == nil
}
