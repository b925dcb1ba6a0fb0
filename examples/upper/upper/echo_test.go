package upper_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"example.com/reuse/examples/upper/upper"
)

func ExampleEcho() {
	err := upper.Echo(os.Stdout, strings.NewReader("hello, world\n"))
	fmt.Println(err)
	// Output:
	// HELLO, WORLD
	// <nil>
}

// messages returns what is to be answered, by name. The tutorial's server fails
// on each.
func messages() map[string]string {
	return map[string]string{
		"text":         "hello, world",
		"NUL":          "before\x00after",
		"NULs":         "\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"above 127":    "\xe1\xe9\x80\xff na\xc3\xafve",
		"full buffer":  strings.Repeat("x", 1024),
		"64 KiB":       strings.Repeat("x", 64<<10),
		"all bytes":    string(everyByte(256)),
		"1 MiB":        string(everyByte(1 << 20)),
		"1 MiB, and 1": string(everyByte(1<<20 + 1)),
	}
}

func TestEcho(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"plain":   func(r io.Reader) io.Reader { return r },
		"OneByte": iotest.OneByteReader,
		"Half":    iotest.HalfReader,
		"DataErr": iotest.DataErrReader,
		"empty":   func(r io.Reader) io.Reader { return &emptyReads{Reader: r} },
	}
	tests := messages()
	tests["nothing"] = ""
	for name, message := range tests {
		for kind, reader := range readers {
			var got bytes.Buffer
			err := upper.Echo(&got, reader(strings.NewReader(message)))
			if err != nil || !bytes.Equal(got.Bytes(), oracle([]byte(message))) {
				t.Errorf("%s, %s: %.50q, %v", name, kind, got.Bytes(), err)
			}
		}
	}
}

// emptyReads is a reader whose every other Read returns 0, nil.
type emptyReads struct {
	io.Reader
	n int
}

func (r *emptyReads) Read(p []byte) (int, error) {
	r.n++
	if r.n%2 == 1 {
		return 0, nil
	}
	return r.Reader.Read(p)
}

// tutorial is the tutorial's server: toupper on a C string in a buffer of
// 1,024 bytes, and strlen+1 bytes back.
func tutorial(w io.Writer, r io.Reader) error {
	for {
		buf := make([]byte, 1024+1) // what follows the buffer in memory is NUL
		n, err := r.Read(buf[:1024])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		length := bytes.IndexByte(buf[:n+1], 0)
		upper.Upper(buf[:length])
		if _, err := w.Write(buf[:length+1]); err != nil {
			return err
		}
	}
}

func TestTutorialFails(t *testing.T) {
	for name, message := range messages() {
		var got bytes.Buffer
		if err := tutorial(&got, strings.NewReader(message)); err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(got.Bytes(), oracle([]byte(message))) {
			t.Errorf("%s: the tutorial's server answers as Echo does", name)
		}
	}
}

// Echo answers each read before the next: a client can wait for its answer.
func TestEchoAnswersEachRead(t *testing.T) {
	client, server := net.Pipe()
	done := make(chan error)
	go func() { done <- upper.Echo(server, server) }()
	got := make([]byte, 5)
	for range 3 {
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, got); err != nil || string(got) != "HELLO" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	client.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestEchoReadError(t *testing.T) {
	broken := errors.New("broken")
	for name, r := range map[string]io.Reader{
		"alone":     io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)),
		"with data": &lastRead{"abc", broken},
	} {
		var got bytes.Buffer
		if err := upper.Echo(&got, r); err != broken || got.String() != "ABC" {
			t.Errorf("%s: %q, %v", name, got.String(), err)
		}
	}
	if err := upper.Echo(io.Discard, iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc")))); err != iotest.ErrTimeout {
		t.Errorf("timeout: %v", err)
	}
}

// lastRead is a reader that returns data and err at once, and panics after that.
type lastRead struct {
	data string
	err  error
}

func (r *lastRead) Read(p []byte) (int, error) {
	if r.data == "" {
		panic("read after an error")
	}
	n := copy(p, r.data)
	r.data = ""
	return n, r.err
}

// A writeFunc is a writer.
type writeFunc func(p []byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

func TestEchoWriteError(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name  string
		write writeFunc
		want  error
	}{
		{"whole", func(p []byte) (int, error) { return len(p), nil }, nil},
		{"short", func(p []byte) (int, error) { return len(p) - 1, nil }, io.ErrShortWrite},
		{"nothing", func(p []byte) (int, error) { return 0, nil }, io.ErrShortWrite},
		{"too much", func(p []byte) (int, error) { return len(p) + 1, nil }, io.ErrShortWrite},
		{"failed", func(p []byte) (int, error) { return 0, broken }, broken},
		{"failed halfway", func(p []byte) (int, error) { return len(p) / 2, broken }, broken},
		{"failed at the end", func(p []byte) (int, error) { return len(p), broken }, broken},
	} {
		writes := 0
		write := writeFunc(func(p []byte) (int, error) {
			writes++
			return test.write(p)
		})
		err := upper.Echo(write, iotest.OneByteReader(strings.NewReader("abc")))
		if err != test.want {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err != nil && writes != 1 {
			t.Errorf("%s: %d writes", test.name, writes)
		}
	}
}

// echoTCP returns the client's end of a connection whose other end Echo serves.
func echoTCP(t testing.TB) *net.TCPConn { return serveTCP(t, upper.Echo) }

// serveTCP returns the client's end of a connection whose other end echo serves.
func serveTCP(t testing.TB, echo func(io.Writer, io.Reader) error) *net.TCPConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- echo(server, server) }()
	t.Cleanup(func() {
		client.Close()
		if err := <-done; err != nil {
			t.Errorf("Echo: %v", err)
		}
		server.Close()
	})
	return client.(*net.TCPConn)
}

// exchange sends message and waits for an answer of the same length.
func exchange(t testing.TB, conn net.Conn, message, answer []byte) {
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
}

// AllocsPerRun counts what all goroutines allocate, the server's included.
func TestEchoAllocs(t *testing.T) {
	client := echoTCP(t)
	message, answer := everyByte(1000), make([]byte, 1000)
	if n := testing.AllocsPerRun(1000, func() { exchange(t, client, message, answer) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
	if !bytes.Equal(answer, oracle(message)) {
		t.Errorf("answer: %q", answer)
	}
}

// naiveEcho is the handler of the tutorials, with Echo's buffer. It is for text:
// other bytes become more.
func naiveEcho(w io.Writer, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(bytes.ToUpper(buf[:n])); err != nil {
			return err
		}
	}
}

// BenchmarkEcho reports how long a message and its answer take, and as a share of
// what they take with naiveEcho. The two alternate.
func BenchmarkEcho(b *testing.B) {
	const chunk = 16 // messages at a stretch
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			client, naive := echoTCP(b), serveTCP(b, naiveEcho)
			message, answer := bytes.Repeat([]byte("some text"), size)[:size], make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			var quotients []float64
			for left := b.N; left > 0; left -= chunk {
				n := min(left, chunk)
				before := b.Elapsed()
				for range n {
					exchange(b, client, message, answer)
				}
				b.StopTimer()
				ours := b.Elapsed() - before
				start := time.Now()
				for range n {
					exchange(b, naive, message, answer)
				}
				quotients = append(quotients, float64(ours)/float64(time.Since(start)))
				b.StartTimer()
			}
			slices.Sort(quotients)
			at := func(q float64) float64 { return quotients[int(q*float64(len(quotients)-1)+0.5)] }
			b.ReportMetric(at(0.25), "q1-of-naive")
			b.ReportMetric(at(0.5), "of-naive")
			b.ReportMetric(at(0.75), "q3-of-naive")
		})
	}
}
