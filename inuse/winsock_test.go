//go:build unix || windows

package inuse

import (
	"encoding/binary"
	"testing"
)

// FuzzWindowsTable writes a table as Windows does, and reads it.
func FuzzWindowsTable(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint16(80), uint32(2), uint32(4711))
	f.Fuzz(func(t *testing.T, broken []byte, port uint16, state, pid uint32) {
		for _, table := range winTables {
			for _, r := range table.parse(broken) {
				if r.network != table.network {
					t.Fatalf("%+v", r)
				}
			}
			b := make([]byte, 4+2*table.size)
			binary.NativeEndian.PutUint32(b, 2)
			second := b[4+table.size:]
			binary.BigEndian.PutUint16(second[table.port:], port)
			binary.NativeEndian.PutUint32(second[table.pid:], pid)
			if table.state >= 0 {
				binary.NativeEndian.PutUint32(second[table.state:], state)
			}
			rows := table.parse(b)
			if len(rows) != 2 || rows[1].local.Port() != port || rows[1].pid != int(pid) || !rows[1].local.Addr().IsUnspecified() {
				t.Errorf("%s: %+v", table.network, rows)
			}
			if len(table.parse(b[:len(b)-1])) != 1 {
				t.Errorf("%s: a row that is cut off", table.network)
			}
		}
	})
}
