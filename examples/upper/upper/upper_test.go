package upper_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"example.com/reuse/examples/upper/upper"
)

// oracle is Upper as its documentation puts it, byte by byte.
func oracle(p []byte) []byte {
	q := make([]byte, len(p))
	for i, c := range p {
		if c >= 'a' && c <= 'z' {
			c = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[c-'a']
		}
		q[i] = c
	}
	return q
}

// everyByte returns all 256 bytes, so often that they are n.
func everyByte(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}

func TestUpper(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"", ""},
		{"a", "A"},
		{"hello, world", "HELLO, WORLD"},
		{"@AZ[`az{", "@AZ[`AZ{"},
		{"a\x00b\x00\x00c", "A\x00B\x00\x00C"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"\xe1\xfa\xff\x80aaaa", "\xe1\xfa\xff\x80AAAA"},
		{"grüße, ñandú", "GRüßE, ñANDú"},
	} {
		got := []byte(test.in)
		if upper.Upper(got); string(got) != test.want {
			t.Errorf("Upper(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

// Each byte stands at every place of a word, next to every other byte.
func TestUpperPairs(t *testing.T) {
	got := make([]byte, 16)
	for pair := range 1 << 16 {
		in := bytes.Repeat([]byte{byte(pair), byte(pair >> 8)}, 8)
		copy(got, in)
		if upper.Upper(got); !bytes.Equal(got, oracle(in)) {
			t.Fatalf("Upper(%q) = %q", in, got)
		}
	}
}

func TestUpperLengthsAndAlignments(t *testing.T) {
	for length := range 101 {
		for offset := range 16 {
			for first := 0; first < 256; first += 64 {
				all := everyByte(first + 128 + length)[first:]
				want := bytes.Clone(all)
				copy(want[offset:], oracle(all[offset:offset+length]))
				upper.Upper(all[offset : offset+length])
				if !bytes.Equal(all, want) {
					t.Fatalf("length %d, offset %d, from byte %d: %q, want %q", length, offset, first, all, want)
				}
			}
		}
	}
}

// What package bytes does is something else: it reads UTF-8.
func TestToUpperDiffers(t *testing.T) {
	for _, in := range []string{"\xff", "ü", "ß\x80"} {
		if got := bytes.ToUpper([]byte(in)); bytes.Equal(got, oracle([]byte(in))) {
			t.Errorf("bytes.ToUpper(%q) = %q, as Upper has it", in, got)
		}
	}
}

func TestUpperAllocs(t *testing.T) {
	p := everyByte(1000)
	if n := testing.AllocsPerRun(100, func() { upper.Upper(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzUpper(f *testing.F) {
	f.Add([]byte(nil), uint8(0))
	f.Add([]byte("hello, world"), uint8(1))
	f.Add(everyByte(256), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, offset uint8) {
		got := bytes.Clone(in)[min(int(offset), len(in)):]
		want := oracle(got)
		if upper.Upper(got); !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// BenchmarkUpper reports how long Upper takes by itself, and as a share of what
// bytes.ToUpper takes for the same text. The two alternate, so that whatever
// else the machine does slows both down.
func BenchmarkUpper(b *testing.B) {
	const chunk = 4096 // calls of Upper at a stretch
	const fewer = 16   // calls of Upper for one of bytes.ToUpper
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			const words = "The quick brown fox jumps over the lazy dog. "
			text := bytes.Repeat([]byte(words), size/len(words)+1)[:size]
			p := bytes.Clone(text)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var other time.Duration
			var calls int
			for left := b.N; left > 0; left -= chunk {
				for range min(left, chunk) {
					upper.Upper(p)
				}
				b.StopTimer()
				start := time.Now()
				for range chunk / fewer {
					bytes.ToUpper(text)
				}
				other += time.Since(start)
				calls += chunk / fewer
				b.StartTimer()
			}
			perCall := float64(b.Elapsed()) / float64(b.N)
			b.ReportMetric(perCall/(float64(other)/float64(calls)), "of-bytes.ToUpper")
		})
	}
}
