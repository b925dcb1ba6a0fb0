package bench_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/reuse/internal/testnet"
)

var large = flag.Bool("large", false, "run BenchmarkWhyInUse with 102,000 connections, too")

// BenchmarkWhyInUse takes the CPU time of the whyinuse command for a port that a
// server listens on which has a crowd of clients, of ss, and of lsof.
//
// The small crowd is there to be run each time. What a busy host has takes
// minutes, and has to be asked for.
func BenchmarkWhyInUse(b *testing.B) {
	crowds := []crowd{{1, 1500}}
	if *large {
		crowds = append(crowds, crowd{3, 17000})
	}
	for _, c := range crowds {
		b.Run(fmt.Sprintf("established=%d", 2*c.pairs*c.connections), func(b *testing.B) { c.benchmark(b) })
	}
}

// A crowd is pairs of processes with connections between the two, so that each
// stays below the usual limits of open files and of ephemeral ports.
type crowd struct{ pairs, connections int }

const crowdPort = 9000

func (c crowd) benchmark(b *testing.B) {
	testnet.Namespace(b)
	allowFiles(b, uint64(c.connections)+100)
	whyinuse := filepath.Join(b.TempDir(), "whyinuse")
	if out, err := exec.Command("go", "build", "-o", whyinuse, "example.com/reuse/cmd/whyinuse").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for i := range c.pairs {
		address := fmt.Sprintf("127.0.0.%d:%d", i+1, crowdPort+i)
		startCrowd(b, "server", address, c.connections)
		startCrowd(b, "client", address, c.connections)
	}
	established := 0
	for _, s := range testnet.Sockets(b) {
		if s.State == testnet.Established {
			established++
		}
	}
	if want := 2 * c.pairs * c.connections; established != want {
		b.Fatalf("%d connections are established, want %d", established, want)
	}

	commands := []struct {
		name string
		args []string
		code int
		says string
	}{
		{"whyinuse", []string{whyinuse, "tcp4", fmt.Sprint("127.0.0.1:", crowdPort)}, 1, "(pid "},
		{"ss", []string{"ss", "-lntp"}, 0, "pid="},
		{"lsof", []string{"lsof", "-i", fmt.Sprint(":", crowdPort)}, 0, "LISTEN"},
	}
	times := map[string][]float64{}
	var ratios []float64
	for i := 0; b.Loop(); i++ {
		// One after the other, each first at some time: whatever slows the
		// machine down for a while slows all.
		for j := range commands {
			command := commands[(i+j)%len(commands)]
			if _, err := exec.LookPath(command.args[0]); err != nil {
				if i == 0 {
					b.Logf("without %s: %v", command.name, err)
				}
				continue
			}
			cmd := exec.Command(command.args[0], command.args[1:]...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != command.code || !strings.Contains(string(out), command.says) {
				b.Fatalf("%v: %v\n%s", cmd, err, out)
			}
			used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			times[command.name] = append(times[command.name], float64(used.Microseconds())/1000)
		}
		if n := len(times["ss"]); n > 0 {
			ratios = append(ratios, times["whyinuse"][n-1]/times["ss"][n-1])
		}
	}
	b.ReportMetric(0, "ns/op") // of all three, which means nothing
	for name, values := range times {
		b.ReportMetric(quantile(values, 0.5), name+"-cpu-ms")
		b.ReportMetric(quantile(values, 0.25), "q1-"+name+"-cpu-ms")
		b.ReportMetric(quantile(values, 0.75), "q3-"+name+"-cpu-ms")
	}
	if len(ratios) > 0 {
		b.ReportMetric(quantile(times["whyinuse"], 0.5)/quantile(times["ss"], 0.5), "times-ss")
		b.ReportMetric(quantile(ratios, 0.25), "q1-times-ss")
		b.ReportMetric(quantile(ratios, 0.75), "q3-times-ss")
	}
}

const crowdEnv = "BENCH_CROWD"

// startCrowd runs TestCrowd in a process of its own until the end of the
// benchmark. It returns when that has its connections, or, being a server,
// listens.
func startCrowd(b *testing.B, role, address string, connections int) {
	b.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestCrowd$", "-test.timeout", "0")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", crowdEnv, role, address, connections))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		b.Fatalf("%s: %q, %v", role, line, err)
	}
}

// TestCrowd is a process of BenchmarkWhyInUse's, and by itself no test at all.
func TestCrowd(t *testing.T) {
	arguments, ok := os.LookupEnv(crowdEnv)
	if !ok {
		return
	}
	var role, address string
	var connections int
	if _, err := fmt.Sscan(arguments, &role, &address, &connections); err != nil {
		t.Fatal(err)
	}
	allowFiles(t, uint64(connections)+100)
	if err := crowdOf(role, address, connections); err != nil {
		t.Fatal(err)
	}
}

// crowdOf has connections until standard input ends.
func crowdOf(role, address string, connections int) error {
	var held []net.Conn
	if role == "server" {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		fmt.Println("ready") // to be connected to
		for range connections {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			held = append(held, conn)
			if _, err := conn.Write([]byte("x")); err != nil {
				return err
			}
		}
		io.Copy(io.Discard, os.Stdin)
		return errors.Join(ln.Close(), held[0].Close())
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	for i := range connections {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host), Port: 10000 + i}}
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			return err
		}
		held = append(held, conn)
		// Then it is accepted.
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return held[0].Close()
}
