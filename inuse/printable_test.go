package inuse

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// TestPrintable fills every text of an explanation with what writes to a terminal.
// A field that is added later is found here.
func TestPrintable(t *testing.T) {
	const hostile = "\x1b]0;\a\x00\r\nä\u202e"
	e := &Error{Err: errors.New("x"), Unseen: []string{"", ""}, Holders: []Holder{{Processes: make([]Process, 2)}, {}}}
	eachText(reflect.ValueOf(e).Elem(), func(v reflect.Value) { v.SetString(hostile) })
	e.reason = hostile
	texts := []string{e.Error(), e.Reason()}
	if !strings.Contains(texts[0], hostile) {
		t.Errorf("the control: %q", texts[0])
	}
	e.printable()
	eachText(reflect.ValueOf(e).Elem(), func(v reflect.Value) { texts = append(texts, v.String()) })
	texts = append(texts[2:], e.Error(), e.Explanation(), e.Reason())
	for _, text := range texts {
		if !strings.Contains(text, "ä") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q", text)
		}
	}
	if len(texts) < 10 {
		t.Errorf("%d texts are too few", len(texts))
	}
}

// eachText calls f with the exported texts in v that are not this package's own.
func eachText(v reflect.Value, f func(reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		f(v)
	case reflect.Slice:
		for i := range v.Len() {
			eachText(v.Index(i), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch {
			case !field.IsExported(), field.Type == reflect.TypeFor[Cause](), field.Name == "Network", field.Name == "State":
			case field.Type.PkgPath() != "" && field.Type.PkgPath() != v.Type().PkgPath(): // netip.AddrPort
			default:
				eachText(v.Field(i), f)
			}
		}
	}
}
