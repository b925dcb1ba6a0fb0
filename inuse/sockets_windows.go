package inuse

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// socketRows asks Windows for all sockets of TCP and UDP. It tells everybody which
// process has each.
func socketRows() (all []row, err error) {
	iphlpapi := windows.NewLazySystemDLL("iphlpapi.dll")
	const (
		tcpWithOwners = 5 // TCP_TABLE_OWNER_PID_ALL
		udpWithOwners = 1 // UDP_TABLE_OWNER_PID
	)
	for _, table := range winTables {
		name, class := "GetExtendedTcpTable", uintptr(tcpWithOwners)
		if strings.HasPrefix(table.network, "udp") {
			name, class = "GetExtendedUdpTable", udpWithOwners
		}
		family := uintptr(windows.AF_INET)
		if strings.HasSuffix(table.network, "6") {
			family = windows.AF_INET6
		}
		proc := iphlpapi.NewProc(name)
		if err := proc.Find(); err != nil {
			return nil, err
		}
		out, err := ownerTable(proc, family, class)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, table.parse(out)...)
	}
	return all, nil
}

// ownerTable calls a function that fills a table, which may grow from call to call.
func ownerTable(proc *windows.LazyProc, family, class uintptr) ([]byte, error) {
	const tries, room = 5, 1 << 10
	size := uint32(1 << 14)
	for range tries {
		// Whole words, as the table is read where the system has written it.
		table := make([]uint64, size/8+1)
		bytes := unsafe.Slice((*byte)(unsafe.Pointer(&table[0])), len(table)*8)
		size = uint32(len(bytes))
		code, _, _ := proc.Call(uintptr(unsafe.Pointer(&table[0])), uintptr(unsafe.Pointer(&size)), 0, family, class, 0)
		switch err := windows.Errno(code); err {
		case windows.NO_ERROR:
			return bytes, nil
		case windows.ERROR_INSUFFICIENT_BUFFER:
			size += room
		case windows.ERROR_NOT_SUPPORTED, windows.ERROR_INVALID_PARAMETER: // no such IP version here
			return nil, nil
		default:
			return nil, err
		}
	}
	return nil, windows.ERROR_INSUFFICIENT_BUFFER
}
