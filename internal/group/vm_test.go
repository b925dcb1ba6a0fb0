package group

import (
	"encoding/binary"
	"errors"
)

// run interprets a program over a packet that begins with the IP header, on a CPU.
func run(p []Instruction, packet []byte, cpu uint32) (uint32, error) {
	var a, x uint32
	var m [16]uint32
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		switch in.Op {
		case opLoad:
			a = in.K
		case opLoadWord, opLoadByte:
			if in.K == offsetCPU {
				a = cpu
				break
			}
			size, off := int64(4), int64(in.K)-offsetNet
			if in.Op == opLoadByte {
				size = 1
			}
			if off < 0 || off+size > int64(len(packet)) {
				return 0, nil
			}
			a = 0
			for _, b := range packet[off : off+size] {
				a = a<<8 | uint32(b)
			}
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
		case opDiv:
			a /= in.K
		case opMod:
			a %= in.K
		case opXorX:
			a ^= x
		case opTax:
			x = a
		case opRsh:
			a >>= in.K
		case opIfEqual, opIfAtLeast:
			if in.Op == opIfEqual && a == in.K || in.Op == opIfAtLeast && a >= in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		case opJump:
			pc += int(in.K)
		case opReturn:
			return in.K, nil
		case opReturnA:
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
