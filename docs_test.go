package reuse_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var documents = []string{"README.md", "docs/*.md"}

// Every block of Go code in the documents compiles, and what they name as the
// test of a claim exists.
func TestDocuments(t *testing.T) {
	blocks := map[string]string{}
	named := map[string]string{}
	for _, pattern := range documents {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(text, -1) {
				blocks[fmt.Sprintf("%s block %d", name, i+1)] = string(m[1])
			}
			for _, m := range regexp.MustCompile("`((?:Test|Benchmark)\\w+)`").FindAllSubmatch(text, -1) {
				named[string(m[1])] = name
			}
		}
	}
	if len(blocks) == 0 || len(named) == 0 {
		t.Fatalf("%d blocks of code and %d names of tests found", len(blocks), len(named))
	}

	if out, err := compile(t, blocks); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, block := range []string{"ln, err := reuse.Listen(9999)\n", "package main\n\nfunc main() { listen(9999) }\n"} {
		if _, err := compile(t, map[string]string{"control": block}); err == nil {
			t.Errorf("the control compiles: %s", block)
		}
	}

	defined := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllSubmatch(text, -1) {
			defined[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range named {
		if !defined[name] {
			t.Errorf("%s names %s, which is no test", document, name)
		}
	}
}

// compile compiles blocks: programs, or statements, each as a function of ctx.
func compile(t *testing.T, blocks map[string]string) (output []byte, err error) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs the go command: ", err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The files exist in the overlay only, but are of this module.
	overlay := map[string]map[string]string{"Replace": {}}
	dir := t.TempDir()
	args := []string{"build", "-o", os.DevNull, "-overlay", filepath.Join(dir, "overlay.json")}
	for name, block := range blocks {
		file := filepath.Join(dir, fmt.Sprintf("block%d.go", len(args)))
		if !strings.HasPrefix(block, "package ") {
			block = function(t, name, block)
		}
		if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		pkg := fmt.Sprintf("docs/block%d", len(args))
		overlay["Replace"][filepath.Join(root, pkg, "block.go")] = file
		args = append(args, "./"+pkg)
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return exec.Command("go", args...).CombinedOutput()
}

// function returns a file whose only function has block for its body. It imports
// what block uses, and uses what block defines.
func function(t *testing.T, name, block string) string {
	t.Helper()
	body := "package block\nfunc _(ctx context.Context) {\n" + block + "\n"
	file, err := parser.ParseFile(token.NewFileSet(), name, body+"}\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]bool{}
	for _, path := range []string{"context", "log", "net", "net/http", "syscall", "time", "example.com/reuse", "example.com/reuse/inuse", "example.com/reuse/handover", "example.com/reuse/shard"} {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == filepath.Base(path) {
					imports[path] = true
				}
			}
			return true
		})
	}
	main := file.Decls[0].(*ast.FuncDecl)
	for _, statement := range main.Body.List {
		if define, ok := statement.(*ast.AssignStmt); ok && define.Tok == token.DEFINE {
			for _, name := range define.Lhs {
				body += "_ = " + name.(*ast.Ident).Name + "\n"
			}
		}
	}
	header := "package block\n"
	for path := range imports {
		header += fmt.Sprintf("import %q\n", path)
	}
	return header + strings.TrimPrefix(body, "package block\n") + "}\n"
}
