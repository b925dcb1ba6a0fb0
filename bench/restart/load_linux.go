package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A load is many clients that ask without end.
type load struct {
	counter *counter
	stopped atomic.Bool
	clients sync.WaitGroup
}

// startLoad starts a scenario's clients. What a client does when a request is
// lost is to pause, as a client that comes again would.
func startLoad(s scenario, seed uint64) *load {
	l := &load{counter: newCounter()}
	for i := range s.Clients {
		c := client{
			load: l, scenario: s, dial: s.Dial[i%len(s.Dial)],
			random: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		ask := c.tcp
		switch {
		case s.Kind == "udp":
			ask = c.udp
		case s.Kind == "http":
			ask = c.http
		}
		l.clients.Go(func() {
			defer c.close()
			for !l.stopped.Load() {
				if err := ask(); err != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// stop ends the load when every client has its answer.
func (l *load) stop() {
	l.stopped.Store(true)
	l.clients.Wait()
}

// A client asks one thing after the other. It is not safe for concurrent use.
type client struct {
	load     *load
	scenario scenario
	dial     string
	random   *rand.Rand
	kept     *keptConn // HTTP
}

// pause returns a random part of the scenario's pause.
func (c *client) pause() time.Duration {
	return time.Duration(c.random.Float64() * float64(c.scenario.Pause))
}

func dial(network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.Dial(network, address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

// tcp asks on a connection of its own.
func (c *client) tcp() error {
	began := time.Now()
	wait := c.pause()
	err := askTCP(c.dial, wait)
	c.load.counter.count(err, time.Since(began)-wait)
	return err
}

func askTCP(address string, wait time.Duration) error {
	conn, err := dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	time.Sleep(wait)
	if _, err := io.WriteString(conn, question); err != nil {
		return err
	}
	var buf [len(answer)]byte
	if _, err := io.ReadFull(conn, buf[:]); err != nil {
		return err
	}
	if string(buf[:]) != answer {
		return errors.New("another answer: " + string(buf[:]))
	}
	conn.Read(buf[:]) // the server closes first
	return nil
}

// burst is how many datagrams a client has in flight, and late when an answer
// passes for lost: slow machines pause for longer than a second.
const (
	burst = 8
	late  = 5 * time.Second
)

// udp sends a burst and counts the answers.
func (c *client) udp() error {
	began := time.Now()
	conn, err := dial("udp", c.dial)
	if err != nil {
		return err
	}
	defer conn.Close()
	sent := 0
	for range burst {
		if _, err := io.WriteString(conn, question); err != nil {
			c.load.counter.count(err, 0)
			continue
		}
		sent++
	}
	conn.SetReadDeadline(began.Add(late))
	var buf [64]byte
	for range sent {
		_, err = conn.Read(buf[:])
		c.load.counter.count(err, time.Since(began))
	}
	return err
}

// close closes what c keeps.
func (c *client) close() {
	if c.kept != nil {
		c.kept.conn.Close()
	}
}
