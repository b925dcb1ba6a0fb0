package main

import (
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"example.com/reuse/inuse"
)

// An object is what -json prints of an address.
type object struct {
	Network  string      `json:"network"`
	Address  string      `json:"address"`
	Free     *bool       `json:"free"`
	Cause    inuse.Cause `json:"cause"`
	Holders  []holder    `json:"holders"`
	Remedies []remedy    `json:"remedies"`
	Unseen   []string    `json:"unseen"`
	Hints    []string    `json:"hints"`
	Error    string      `json:"error"`
	Text     string      `json:"text"`
}

// A listing is what -json prints of everything that listens.
type listing struct {
	Listening []listener `json:"listening"`
	Unseen    []string   `json:"unseen"`
	Error     string     `json:"error"`
	Text      string     `json:"text"`
}

type listener struct {
	holder
	Remedy remedy `json:"remedy"`
}

type holder struct {
	Name      string    `json:"name"`
	Network   string    `json:"network"`
	Local     string    `json:"local"`
	Remote    string    `json:"remote"`
	Path      string    `json:"path"`
	Device    string    `json:"device"`
	V6Only    bool      `json:"v6_only"`
	State     string    `json:"state"`
	Count     int       `json:"count"`
	UID       int       `json:"uid"`
	User      string    `json:"user"`
	Unit      string    `json:"unit"`
	Container string    `json:"container"`
	Options   []string  `json:"options"`
	Expires   float64   `json:"expires"`
	Processes []process `json:"processes"`
}

type process struct {
	PID        int    `json:"pid"`
	Name       string `json:"name"`
	Command    string `json:"command"`
	Started    string `json:"started"`
	State      string `json:"state"`
	Parent     int    `json:"parent"`
	Supervisor string `json:"supervisor"`
	Tracer     int    `json:"tracer"`
	Inherited  bool   `json:"inherited"`
}

type remedy struct {
	Kind      string `json:"kind"`
	Text      string `json:"text"`
	Command   string `json:"command"`
	NeedsRoot bool   `json:"needs_root"`
}

// writeJSON writes v in one line.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// objectOf returns what is printed of the target.
func objectOf(t target, e *inuse.Error) object {
	o := wrongObject(t, "")
	o.Free, o.Cause, o.Text = free(e), e.Cause, e.Text()
	for _, h := range e.Holders {
		o.Holders = append(o.Holders, holderOf(h))
	}
	for _, r := range e.Remedies {
		o.Remedies = append(o.Remedies, remedy(r))
	}
	o.Unseen = append(o.Unseen, e.Unseen...)
	o.Hints = append(o.Hints, e.Hints...)
	return o
}

// wrongObject returns what is printed if nothing is known of the target.
func wrongObject(t target, problem string) object {
	return object{
		Network: t.network, Address: clean(t.address), Error: clean(problem),
		Holders: []holder{}, Remedies: []remedy{}, Unseen: []string{}, Hints: []string{},
	}
}

// free reports whether the address can be bound, nil if that is not known.
func free(e *inuse.Error) *bool {
	if e.Cause == inuse.CauseUnknown {
		return nil
	}
	is := e.Cause == inuse.CauseFree
	return &is
}

func holderOf(h inuse.Holder) holder {
	j := holder{
		Name:      h.Name,
		Network:   h.Network,
		Local:     addrString(h.Local),
		Remote:    addrString(h.Remote),
		Path:      h.Path,
		Device:    h.Device,
		V6Only:    h.V6Only,
		State:     h.State,
		Count:     h.Count,
		UID:       h.UID,
		User:      h.User,
		Unit:      h.Unit,
		Container: h.Container,
		Options:   []string{},
		Expires:   h.Expires.Seconds(),
		Processes: []process{},
	}
	if h.Options.ReuseAddr {
		j.Options = append(j.Options, "SO_REUSEADDR")
	}
	if h.Options.ReusePort {
		j.Options = append(j.Options, "SO_REUSEPORT")
	}
	for _, p := range h.Processes {
		q := process{PID: p.PID, Name: p.Name, Command: p.Command, State: p.State, Parent: p.Parent,
			Supervisor: p.Supervisor, Tracer: p.Tracer, Inherited: p.Inherited}
		if !p.Started.IsZero() {
			q.Started = p.Started.UTC().Format(time.RFC3339)
		}
		j.Processes = append(j.Processes, q)
	}
	return j
}

func listingOf(l *inuse.Listeners) listing {
	j := listing{Listening: []listener{}, Unseen: append([]string{}, l.Unseen...), Text: l.Text()}
	for _, s := range l.Sockets {
		j.Listening = append(j.Listening, listener{holderOf(s.Holder), remedy(s.Remedy)})
	}
	return j
}

// addrString returns "" for no address.
func addrString(addr netip.AddrPort) string {
	if !addr.IsValid() {
		return ""
	}
	return clean(addr.String())
}

// clean returns s with a question mark for each character that would not be seen, as
// package inuse does.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
