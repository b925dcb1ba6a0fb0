package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/reuse/inuse"
)

// The keys of the schema, in order, with the kinds of their values.
var (
	objectKeys = "network:string address:string free:bool? cause:string holders:holder remedies:remedy unseen:strings hints:strings error:string text:string"
	holderKeys = "name:string network:string local:string remote:string path:string device:string v6_only:bool state:string count:number uid:number " +
		"user:string unit:string container:string options:strings expires:number processes:process"
	processKeys = "pid:number name:string command:string started:string state:string parent:number supervisor:string tracer:number inherited:bool"
	remedyKeys  = "kind:string text:string command:string needs_root:bool"
	listingKeys = "listening:listener unseen:strings error:string text:string"
	schemas     = map[string]string{
		"object": objectKeys, "holder": holderKeys, "process": processKeys, "remedy": remedyKeys, "listing": listingKeys,
		"listener": holderKeys + " remedy:one-remedy",
	}
)

// checkSchema checks that text is one line with an object of the schema.
func checkSchema(t testing.TB, text string) {
	t.Helper()
	text = strings.TrimSuffix(text, "\n")
	if strings.Contains(text, "\n") || strings.ContainsFunc(text, func(r rune) bool { return clean(string(r)) != string(r) }) {
		t.Errorf("it is not one line: %q", text)
	}
	name := "object"
	if strings.HasPrefix(text, `{"listening"`) {
		name = "listing"
	}
	checkObject(t, name, json.RawMessage(text))
}

func checkObject(t testing.TB, name string, raw json.RawMessage) {
	t.Helper()
	var keys []string
	for _, field := range strings.Fields(schemas[name]) {
		key, _, _ := strings.Cut(field, ":")
		keys = append(keys, key)
	}
	if got := keysOf(t, raw); !slices.Equal(got, keys) {
		t.Errorf("%s has the keys %q, want %q", name, got, keys)
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(schemas[name]) {
		key, kind, _ := strings.Cut(field, ":")
		value := values[key]
		var into any
		switch kind {
		case "string":
			into = new(string)
		case "number":
			into = new(float64)
		case "bool", "bool?":
			into = new(bool)
		case "strings":
			into = new([]string)
		case "one-remedy":
			checkObject(t, "remedy", value)
			continue
		default:
			var all []json.RawMessage
			if json.Unmarshal(value, &all) != nil || all == nil {
				t.Errorf("%s: %s is %s", name, key, value)
			}
			for _, one := range all {
				checkObject(t, kind, one)
			}
			continue
		}
		null := string(value) == "null" && kind != "bool?"
		if err := json.Unmarshal(value, into); err != nil || null {
			t.Errorf("%s: %s is %s", name, key, value)
		}
	}
}

// keysOf returns the keys of an object in order.
func keysOf(t testing.TB, raw json.RawMessage) (keys []string) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		t.Fatalf("%v, %v: %s", token, err, raw)
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// What the schema makes of an explanation, to the byte.
func TestJSON(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	for _, test := range []struct {
		target target
		e      *inuse.Error
		want   string
	}{
		{target{"tcp", ":8080"}, &inuse.Error{Cause: inuse.CauseFree},
			`{"network":"tcp","address":":8080","free":true,"cause":"free","holders":[],"remedies":[],"unseen":[],"hints":[],"error":"","text":"\n"}`},
		{target{"tcp", ":8080"}, &inuse.Error{Cause: inuse.CauseUnknown, Unseen: []string{"a"}, Hints: []string{"b", "<&>"}},
			`{"network":"tcp","address":":8080","free":null,"cause":"unknown","holders":[],"remedies":[],"unseen":["a"],"hints":["b","<&>"],"error":"","text":"TEXT"}`},
		{target{"tcp", ":5000"}, &inuse.Error{Cause: inuse.CauseListener,
			Holders: []inuse.Holder{{Name: "python3 app.py", Network: "tcp4", Local: at("0.0.0.0:5000"), State: "LISTEN", Count: 1, UID: 1000, User: "alice",
				Options: inuse.Options{Known: true, ReuseAddr: true},
				Processes: []inuse.Process{{PID: 26439, Name: "python3 app.py", Command: "python3",
					Started: time.Date(2026, 11, 27, 0, 41, 2, 3, time.FixedZone("", 3600)), State: "stopped", Parent: 812}}}},
			Remedies: []inuse.Remedy{{Kind: "resume-and-stop", Text: "end the process and wake it, as it cannot end while suspended", Command: "kill 26439 && kill -CONT 26439"}}},
			`{"network":"tcp","address":":5000","free":false,"cause":"listener","holders":[{"name":"python3 app.py","network":"tcp4","local":"0.0.0.0:5000","remote":"","path":"","device":"","v6_only":false,` +
				`"state":"LISTEN","count":1,"uid":1000,"user":"alice","unit":"","container":"","options":["SO_REUSEADDR"],"expires":0,"processes":[{"pid":26439,"name":"python3 app.py","command":"python3",` +
				`"started":"2026-11-26T23:41:02Z","state":"stopped","parent":812,"supervisor":"","tracer":0,"inherited":false}]}],"remedies":[{"kind":"resume-and-stop","text":"end the process and wake it, as it cannot end while suspended",` +
				`"command":"kill 26439 && kill -CONT 26439","needs_root":false}],"unseen":[],"hints":[],"error":"","text":"TEXT"}`},
		{target{"unix", "/run/\x1b[2J"}, &inuse.Error{Cause: inuse.CauseLeftover,
			Holders: []inuse.Holder{{Name: "x", Network: "tcp6", Local: at("[::1]:1"), Remote: at("[::1]:2"), Path: "p", Device: "lo", V6Only: true, State: "TIME_WAIT", Count: 7, UID: -1,
				Unit: "u", Container: "c", Options: inuse.Options{Known: true, ReusePort: true, ReuseAddr: true}, Expires: 1500 * time.Millisecond}}},
			`{"network":"unix","address":"/run/?[2J","free":false,"cause":"leftover","holders":[{"name":"x","network":"tcp6","local":"[::1]:1","remote":"[::1]:2","path":"p","device":"lo","v6_only":true,` +
				`"state":"TIME_WAIT","count":7,"uid":-1,"user":"","unit":"u","container":"c","options":["SO_REUSEADDR","SO_REUSEPORT"],"expires":1.5,"processes":[]}],"remedies":[],"unseen":[],"hints":[],"error":"","text":"TEXT"}`},
	} {
		var out bytes.Buffer
		if err := writeJSON(&out, objectOf(test.target, test.e)); err != nil {
			t.Fatal(err)
		}
		checkSchema(t, out.String())
		got, _, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), `"text":"\n`) // an explanation of these fields alone has no headline
		want, _, _ := strings.Cut(test.want, `"text":"TEXT"}`)
		want, _, _ = strings.Cut(want, `"text":"\n"}`)
		if got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	var out bytes.Buffer
	writeJSON(&out, wrongObject(target{}, "no host is called \"x\x1b\""))
	if want := `{"network":"","address":"","free":null,"cause":"","holders":[],"remedies":[],"unseen":[],"hints":[],"error":"no host is called \"x?\"","text":""}` + "\n"; out.String() != want {
		t.Errorf("%s want\n%s", out.String(), want)
	}
	out.Reset()
	writeJSON(&out, listingOf(&inuse.Listeners{Sockets: []inuse.Listener{{Holder: inuse.Holder{Name: "x", Network: "tcp4", Local: at("0.0.0.0:22"), State: "LISTEN", Count: 1},
		Remedy: inuse.Remedy{Kind: "stop-process", Command: "kill 7"}}}}))
	checkSchema(t, out.String())
}
