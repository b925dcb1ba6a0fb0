package group

import (
	"encoding/binary"
	"errors"
	"testing"
)

// run interprets a program over a packet that begins with the IP header.
func run(p []Instruction, packet []byte) (uint32, error) {
	var a, x uint32
	var m [16]uint32
	load := func(k uint32, size int) ([]byte, bool) {
		off := int64(int32(k)) - int64(int32(-0x100000))
		if off < 0 || off+int64(size) > int64(len(packet)) {
			return nil, false
		}
		return packet[off : off+int64(size)], true
	}
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		switch in.Op {
		case opLoad:
			a = in.K
		case opLoadWord, opLoadByte:
			size := map[uint16]int{opLoadWord: 4, opLoadByte: 1}[in.Op]
			b, ok := load(in.K, size)
			if !ok {
				return 0, nil
			}
			a = binary.BigEndian.Uint32(append(make([]byte, 4-size, 4), b...))
		case opLoadScratch:
			a = m[in.K]
		case opStore:
			m[in.K] = a
		case opLoadX:
			x = m[in.K]
		case opAdd:
			a += in.K
		case opAddX:
			a += x
		case opMul:
			a *= in.K
		case opXorX:
			a ^= x
		case opTax:
			x = a
		case opRsh:
			a >>= in.K
		case opMod:
			a %= in.K
		case opJeq, opJge:
			if in.Op == opJeq && a == in.K || in.Op == opJge && a >= in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case opJa:
			pc += int(in.K)
		case opRet:
			return in.K, nil
		case opRetA:
			return a, nil
		default:
			return 0, errors.New("unknown instruction")
		}
	}
	return 0, errors.New("ran off the end")
}

// packet4 and packet6 return the headers of a packet up to the ports.
func packet4(source [4]byte, from uint16) []byte {
	p := make([]byte, 28)
	p[0], p[9] = 0x45, 6
	copy(p[12:], source[:])
	binary.BigEndian.PutUint16(p[20:], from)
	binary.BigEndian.PutUint16(p[22:], 9999)
	return p
}

func packet6(source [16]byte, from uint16) []byte {
	p := make([]byte, 48)
	p[0], p[6] = 0x60, 17
	copy(p[8:], source[:])
	binary.BigEndian.PutUint16(p[40:], from)
	binary.BigEndian.PutUint16(p[42:], 9999)
	return p
}

// All members but those excluded get about the same share, and the ports that
// are named go where they should.
func TestSteering(t *testing.T) {
	for _, s := range []Steering{
		{N: 2, Not: []int{0}}, {N: 2, Not: []int{1}}, {N: 1, Not: []int{0}}, {N: 5},
		{N: 5, Not: []int{2}}, {N: 7, Not: []int{6, 0, 3, 3}}, {N: 64, Not: []int{63}},
		{N: 3, Not: []int{1}, To: []PortSlot{{4711, 1}, {4712, 0}}},
	} {
		program := s.Program()
		for _, ipv6 := range []bool{false, true} {
			// The same client with many ports, and many with the same port.
			for _, byPort := range []bool{true, false} {
				counts := map[uint32]int{}
				const packets = 20000
				for i := range packets {
					from, host := uint16(4711), uint16(i)
					if byPort {
						from, host = uint16(i+10000), 7
					} else if s.To != nil {
						from = 5000
					}
					var packet []byte
					if ipv6 {
						packet = packet6([16]byte{0x20, 1, 14: byte(host >> 8), 15: byte(host)}, from)
					} else {
						packet = packet4([4]byte{10, 0, byte(host >> 8), byte(host)}, from)
					}
					slot, err := run(program, packet)
					if err != nil {
						t.Fatal(err)
					}
					counts[slot]++
				}
				excluded := map[uint32]bool{}
				for _, not := range s.Not {
					excluded[uint32(not)] = true
				}
				others := max(s.N-len(excluded), 1)
				if s.N == 1 {
					excluded = nil // there is no other
					counts = map[uint32]int{0: packets}
				}
				if len(counts) != others {
					t.Errorf("%+v: chosen: %v", s, counts)
				}
				for slot, n := range counts {
					if excluded[slot] || int(slot) >= s.N || n < packets/others*7/10 || n > packets/others*13/10 {
						t.Errorf("%+v, IPv6 %v, by port %v: slot %d got %d of %d", s, ipv6, byPort, slot, n, packets)
					}
				}
			}
			for _, to := range s.To {
				packet := packet4([4]byte{127, 0, 0, 1}, to.Port)
				if ipv6 {
					packet = packet6([16]byte{15: 1}, to.Port)
				}
				if slot, err := run(program, packet); slot != uint32(to.Slot) || err != nil {
					t.Errorf("%+v: port %d went to slot %d, %v", s, to.Port, slot, err)
				}
			}
		}
	}
	if slot, err := run(Only(3), nil); slot != 3 || err != nil {
		t.Errorf("Only: %d, %v", slot, err)
	}
}
