package main

import (
	"encoding/json"
	"io"
	"net/netip"

	"example.com/reuse/inuse"
)

// An object is what -json prints.
type object struct {
	Network string      `json:"network"`
	Address string      `json:"address"`
	Free    bool        `json:"free"`
	Cause   inuse.Cause `json:"cause"`
	Advice  string      `json:"advice"`
	Holders []holder    `json:"holders"`
	Unseen  []string    `json:"unseen"`
	Changed bool        `json:"changed"`
	Text    string      `json:"text"`
}

type holder struct {
	Cause     inuse.Cause `json:"cause"`
	Network   string      `json:"network"`
	Local     string      `json:"local"`
	Remote    string      `json:"remote"`
	Path      string      `json:"path"`
	V6Only    bool        `json:"v6_only"`
	State     string      `json:"state"`
	Count     int         `json:"count"`
	UID       int         `json:"uid"`
	User      string      `json:"user"`
	Inode     uint32      `json:"inode"`
	Expires   float64     `json:"expires"`
	Processes []process   `json:"processes"`
	Cgroup    string      `json:"cgroup"`
	Options   []string    `json:"options"`
}

type process struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	Heir    bool   `json:"heir"`
}

// writeJSON writes e for programs.
func writeJSON(w io.Writer, t target, e *inuse.Error) error {
	o := object{
		Network: t.network,
		Address: t.address,
		Free:    free(e),
		Cause:   e.Cause,
		Advice:  e.Advice,
		Holders: []holder{},
		Unseen:  append([]string{}, e.Unseen...),
		Changed: e.Changed,
		Text:    text(t, e),
	}
	for _, h := range e.Holders {
		o.Holders = append(o.Holders, holderOf(h))
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(o)
}

func holderOf(h inuse.Holder) holder {
	j := holder{
		Cause:     h.Cause,
		Network:   h.Network,
		Local:     addrString(h.Local),
		Remote:    addrString(h.Remote),
		Path:      h.Path,
		V6Only:    h.V6Only,
		State:     h.State,
		Count:     h.Count,
		UID:       h.UID,
		User:      h.User,
		Inode:     h.Inode,
		Expires:   h.Expires.Seconds(),
		Processes: []process{},
		Cgroup:    h.Cgroup,
	}
	for _, p := range h.Processes {
		j.Processes = append(j.Processes, process(p))
	}
	if h.Options.Known {
		j.Options = []string{}
		if h.Options.ReuseAddr {
			j.Options = append(j.Options, "SO_REUSEADDR")
		}
		if h.Options.ReusePort {
			j.Options = append(j.Options, "SO_REUSEPORT")
		}
	}
	return j
}

// addrString returns "" for no address.
func addrString(addr netip.AddrPort) string {
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}
