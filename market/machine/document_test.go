package machine_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const document = "../../docs/state-machines.md"

// parsed returns the syntax of the Go files of folders whose names end in a
// suffix; "_test.go" counts only where it is asked for.
func parsed(t *testing.T, suffix string, folders ...string) []*ast.File {
	t.Helper()
	var out []*ast.File
	for _, folder := range folders {
		names, err := filepath.Glob(filepath.Join(folder, "*"+suffix))
		require.NoError(t, err)
		require.NotEmpty(t, names)
		for _, name := range names {
			if suffix != "_test.go" && strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			require.NoError(t, err)
			out = append(out, f)
		}
	}
	return out
}

// rulesOf returns the names of the rules that a file refuses by.
func rulesOf(f *ast.File) (rules []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		name := ""
		switch fun := call.Fun.(type) {
		case *ast.Ident:
			name = fun.Name
		case *ast.SelectorExpr:
			name = fun.Sel.Name
		}
		arg, last := call.Args[1], call.Args[len(call.Args)-1]
		suffix := map[string]string{"need": "-unknown", "free": "-exists"}[name]
		if suffix != "" {
			arg = last
		} else if name != "Refuse" {
			return true
		}
		if lit, ok := arg.(*ast.BasicLit); ok {
			text, _ := strconv.Unquote(lit.Value)
			rules = append(rules, text+suffix)
		}
		return true
	})
	return rules
}

func TestTheDocumentNamesEveryRule(t *testing.T) {
	doc, err := os.ReadFile(document)
	require.NoError(t, err)
	count := 0
	for _, f := range parsed(t, ".go", ".", "..", "../../lease") {
		for _, rule := range rulesOf(f) {
			count++
			assert.Contains(t, string(doc), "`"+rule+"`")
		}
	}
	assert.Greater(t, count, 100)
}

// Every test that the document names is there.
func TestTheDocumentNamesTestsThatExist(t *testing.T) {
	doc, err := os.ReadFile(document)
	require.NoError(t, err)
	there := map[string]bool{}
	for _, f := range parsed(t, "_test.go", ".", "../../lease") {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				there[fn.Name.Name] = true
			}
		}
	}
	named := 0
	for _, word := range strings.Split(string(doc), "`") {
		if strings.HasPrefix(word, "Test") {
			named++
			assert.True(t, there[word], word)
		}
	}
	assert.GreaterOrEqual(t, named, 13)
}

// Every message of package market, known by its Signer, is in the document.
func TestTheDocumentNamesEveryMessage(t *testing.T) {
	doc, err := os.ReadFile(document)
	require.NoError(t, err)
	count := 0
	for _, f := range parsed(t, ".go", "..") {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "Signer" || fn.Recv == nil {
				continue
			}
			count++
			assert.Contains(t, string(doc), "`"+fn.Recv.List[0].Type.(*ast.Ident).Name)
		}
	}
	assert.GreaterOrEqual(t, count, 26)
}
